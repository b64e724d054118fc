"""Brings a graph into canonical form by the rules of `graphc.passes.algebra`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from graphc.ir.builder import Builder
from graphc.ir.errors import GraphcError
from graphc.ir.graph import Graph, Op, Value
from graphc.passes.algebra import RULES, Rule
from graphc.passes.dce import drop_dead
from graphc.passes.preconditions import refuse_gradients
from graphc.passes.rewriter import rewrite

Notify = Callable[[Rule, Op], None]


@dataclass(frozen=True)
class Canonicalize:
    """Before: a graph without `gradient` ops.

    After: no rule of `graphc.passes.algebra` applies to any op, and no op is dead. The rules keep every result, NaN,
    infinities and the sign of zero included; only sums, products and small powers may round differently.

    Raises GraphcError if there still is something to rewrite after `max_sweeps` sweeps over the graph: rules that undo
    one another. `notify(rule, op)` is called for every rule that fires.
    """

    max_sweeps: int = 64
    notify: Notify | None = field(default=None, compare=False, repr=False)
    name: str = "canonicalize"

    def run(self, graph: Graph) -> Graph:
        refuse_gradients(graph, self.name)
        fired: list[tuple[Rule, Op]] = []

        def visit(builder: Builder, op: Op, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            for rule in RULES.get(op.name, ()):
                replacement = rule(builder, op, *operands)
                if replacement is not None:
                    fired.append((rule, op))
                    return [replacement]
            return None

        for _ in range(self.max_sweeps):
            fired.clear()
            graph = drop_dead(rewrite(graph, visit))
            if self.notify is not None:
                for rule, op in fired:
                    self.notify(rule, op)
            if not fired:
                return graph
        rule, op = fired[-1]
        raise GraphcError(
            f"canonicalize did not settle in {self.max_sweeps} sweeps; the last rule to fire was {rule.__name__}, "
            f"on {op.name}",
            op.location,
        )
