"""Dead code: what no output and no state update needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from graphc.ir.graph import Block, Graph, Op, Value
from graphc.ir.opdef import lookup
from graphc.passes.preconditions import refuse_gradients
from graphc.passes.rewriter import Rewriter


@dataclass(frozen=True)
class Dce:
    """Before: a graph without `gradient` ops (their meaning depends on ops that look dead).

    After: every op is needed by an output or a state update, or has the trait `has_side_effect`; no state is updated
    with its own old value. An op that only can fault (`OpDef.fault`) goes when its result is not used. Regions stay as
    they are.
    """

    name: str = "dce"

    def run(self, graph: Graph) -> Graph:
        refuse_gradients(graph, self.name)
        return drop_dead(graph)


def drop_dead(graph: Graph) -> Graph:
    """`graph` without its dead ops and dead stores."""
    live = live_ops(graph, graph.roots())
    rewriter = Rewriter(graph)
    for op in graph.ops:
        if op in live:
            rewriter.clone(op)
    new = rewriter.finish()
    new.updates = {state: value for state, value in new.updates.items() if value is not state}
    return new


def live_ops(block: Block, roots: Iterable[Value]) -> set[Op]:
    """The ops of `block` (not those inside regions) that `roots` depend on, and those with a side effect."""
    needed = set(roots)
    live: set[Op] = set()
    for op in reversed(block.ops):
        if any(v in needed for v in op.results) or "has_side_effect" in lookup(op.name).traits:
            live.add(op)
            needed.update(op.operands)
    return live
