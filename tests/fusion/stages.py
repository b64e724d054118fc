"""From a traced graph to the stages that fusion and scheduling start from."""

from __future__ import annotations

from graphc.ir import Graph, verify
from graphc.passes.autodiff import Autodiff
from graphc.passes.dce import Dce
from graphc.passes.enter_stage import EnterStage
from graphc.passes.fuse import Fuse
from graphc.passes.pass_manager import PassManager
from graphc.passes.pipeline import PIPELINE


def optimized(graph: Graph) -> Graph:
    """The optimized stage of a traced graph."""
    return PassManager((*PIPELINE["differentiated"], *PIPELINE["optimized"])).run(graph)


def plain(graph: Graph) -> Graph:
    """A graph without gradients, taken as it is for an optimized one."""
    return PassManager((Autodiff(), Dce(), EnterStage("optimized"))).run(graph)


def fused(graph: Graph) -> Graph:
    """The fused stage of a traced or an optimized graph."""
    result = Fuse().run(graph if graph.stage == "optimized" else optimized(graph))
    verify(result)
    return result
