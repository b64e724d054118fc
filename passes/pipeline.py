"""The order of the passes, and the way of a graph through all stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphc.ir.graph import STAGES, Graph
from graphc.ir.schedule import Schedule
from graphc.ir.target import GENERIC_X86_64_V3, Target
from graphc.ir.verify_schedule import verify_schedule
from graphc.passes.autodiff import Autodiff
from graphc.passes.canonicalize import Canonicalize
from graphc.passes.contract_layout import ContractLayout
from graphc.passes.cse import Cse
from graphc.passes.dce import Dce
from graphc.passes.enter_stage import EnterStage
from graphc.passes.fold import Fold
from graphc.passes.fuse import Fuse
from graphc.passes.pass_manager import Observe, Pass, PassManager, Timing
from graphc.passes.schedule import schedule
from graphc.passes.split import Split

# Stage -> the passes that bring a graph of the stage before it there. Autodiff first: what a gradient means depends on
# the ops between its operands, and its zeros, ones and broadcasts are what the rest then simplifies. Folding and CSE go
# before contract-layout, which looks at how often a contraction is used, and after it, for what it exposes. Splitting
# comes last, for canonical form would join what it cuts.
PIPELINE: dict[str, tuple[Pass, ...]] = {
    "differentiated": (Autodiff(),),
    "optimized": (
        Dce(),
        Canonicalize(),
        Fold(),
        Cse(),
        ContractLayout(),
        Fold(),
        Cse(),
        Canonicalize(),
        Split(),
        EnterStage("optimized"),
    ),
    "fused": (Fuse(),),
}

_ALL: tuple[Pass, ...] = (
    Autodiff(),
    Canonicalize(),
    Fold(),
    Cse(),
    Dce(),
    ContractLayout(),
    Split(),
    *(EnterStage(stage) for stage in STAGES),
    Fuse(),
)

# Every pass by its name, with its default options.
PASSES: dict[str, Pass] = {one.name: one for one in _ALL}


@dataclass(frozen=True)
class Lowered:
    """What `lower` made: the graph at each stage by name, from the one it was given on, the schedule of the last, and
    what each pass took."""

    graphs: Mapping[str, Graph]
    schedule: Schedule
    timings: tuple[Timing, ...]


def lower(
    graph: Graph,
    target: Target = GENERIC_X86_64_V3,
    *,
    red_zone: int = 0,
    verify_each: bool = False,
    observe: Observe | None = None,
) -> Lowered:
    """Take `graph`, of any stage, through the rest of the stages. `verify_each` and `observe` are those of
    `PassManager` (the schedule is verified too), `red_zone` is that of `schedule`. Raises what the passes raise: above
    all DifferentiationError, for a gradient that does not exist."""
    graphs = {graph.stage: graph}
    timings: list[Timing] = []
    for stage in STAGES[STAGES.index(graph.stage) + 1 :]:
        graph, taken = PassManager(PIPELINE[stage], verify_each, observe).run_timed(graph)
        graphs[stage] = graph
        timings += taken
    planned = schedule(graph, target, red_zone)
    if verify_each:
        verify_schedule(planned)
    return Lowered(graphs, planned, tuple(timings))
