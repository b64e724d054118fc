"""Brings a graph into canonical form by the rules of `graphc.passes.algebra`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from graphc.ir.builder import Builder
from graphc.ir.errors import GraphcError
from graphc.ir.graph import Graph, Op, Value
from graphc.passes.algebra import RULES, Rule
from graphc.passes.dce import drop_dead
from graphc.passes.preconditions import refuse_gradients
from graphc.passes.rewriter import Visit, rewrite

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
        return settle(graph, lambda _: RULES, self.name, self.max_sweeps, self.notify)


def settle(
    graph: Graph,
    rules_for: Callable[[Graph], Mapping[str, Sequence[Rule]]],
    pass_name: str,
    max_sweeps: int,
    notify: Notify | None = None,
) -> Graph:
    """Sweep over the graph with `rules_for(graph)`, and drop what is dead, until no rule fires. Raises GraphcError if
    that takes more than `max_sweeps` sweeps."""
    for _ in range(max_sweeps):
        fired: list[tuple[Rule, Op]] = []
        graph = drop_dead(rewrite(graph, _apply(rules_for(graph), fired)))
        if notify is not None:
            for rule, op in fired:
                notify(rule, op)
        if not fired:
            return graph
    rule, op = fired[-1]
    raise GraphcError(
        f"{pass_name} did not settle in {max_sweeps} sweeps; the last rule to fire was {rule.__name__}, on {op.name}",
        op.location,
    )


def _apply(rules: Mapping[str, Sequence[Rule]], fired: list[tuple[Rule, Op]]) -> Visit:
    def visit(builder: Builder, op: Op, operands: tuple[Value, ...]) -> Sequence[Value] | None:
        for rule in rules.get(op.name, ()):
            replacement = rule(builder, op, *operands)
            if replacement is not None:
                fired.append((rule, op))
                return [replacement]
        return None

    return visit
