"""The pass that turns ops into kernels."""

from __future__ import annotations

from dataclasses import dataclass

from graphc.ir.graph import Graph
from graphc.passes.fusion.clusters import choose_kernels
from graphc.passes.fusion.regions import build_graph


@dataclass(frozen=True)
class Fuse:
    """Before: an `optimized` graph (without `gradient` and `stop_gradient`).

    After: a `fused` graph: kernels, aliases (`reshape`) and constant arrays, with the rules of that stage. Every output
    and every state update is computed by a result of its own, so that each can be written to its own memory; where the
    graph returned an argument, a constant array or one value twice, a kernel copies it.

    Costly ops are computed once. Splat constants, coordinates, layout ops, and cheap arithmetic on arguments are
    computed again by every kernel that needs them. A kernel never holds both an op that can fault and the new value of
    a state, unless one depends on nothing but the other.
    """

    name: str = "fuse"

    def run(self, graph: Graph) -> Graph:
        return build_graph(choose_kernels(graph))
