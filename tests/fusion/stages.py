"""From a traced graph to the stages that fusion and scheduling start from."""

from __future__ import annotations

from graphc.ir import Graph, verify
from graphc.passes.autodiff import Autodiff
from graphc.passes.canonicalize import Canonicalize
from graphc.passes.contract_layout import ContractLayout
from graphc.passes.cse import Cse
from graphc.passes.dce import Dce
from graphc.passes.fold import Fold
from graphc.passes.fuse import Fuse
from graphc.passes.rewriter import rewrite


def optimized(graph: Graph) -> Graph:
    for a_pass in (Autodiff(), Canonicalize(), Fold(), Cse(), ContractLayout(), Cse(), Dce()):
        graph = a_pass.run(graph)
    graph = rewrite(graph, lambda builder, op, operands: None, stage="optimized")
    verify(graph)
    return graph


def plain(graph: Graph) -> Graph:
    """A graph without gradients, taken as it is for an optimized one."""
    graph = Dce().run(Autodiff().run(graph))
    return rewrite(graph, lambda builder, op, operands: None, stage="optimized")


def fused(graph: Graph) -> Graph:
    """The fused stage of a traced graph."""
    result = Fuse().run(graph if graph.stage == "optimized" else optimized(graph))
    verify(result)
    return result
