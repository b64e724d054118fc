"""A look at the stages of a compile."""

from __future__ import annotations

import os
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphc.codegen.host import host_target
from graphc.compiler.ceilings import machine_ceilings
from graphc.compiler.executors import emitted, staged
from graphc.compiler.options import DEFAULT, ProgramOptions
from graphc.errors import GraphcError
from graphc.ir.graph import STAGES, Graph
from graphc.ir.schedule import Schedule
from graphc.ir.schedule_text import print_schedule
from graphc.ir.target import Target
from graphc.runtime.pool import checked_threads, get_num_threads
from graphc.tensors.storage import Storage
from graphc.tracing.capture import Captured

if TYPE_CHECKING:
    from graphc.passes.cost import Cost
    from graphc.passes.pipeline import Lowered as Stages

AFTER = ("scheduled", "source", "llvm", "asm")
ALL_STAGES = (*STAGES, *AFTER)


class Lowered:
    """The stages of one traced function: `traced`, `differentiated`, `optimized`, `fused`, `scheduled`, and per kernel
    `source`, `llvm`, `asm`, for `target` (None: this machine). Nothing of it has run."""

    def __init__(self, captured: Captured, target: Target | None = None, options: ProgramOptions = DEFAULT):
        self.captured = captured
        self.target = target
        self.options = options

    @property
    def name(self) -> str:
        """The function's name."""
        return self.captured.graph.name

    @property
    def states(self) -> list[Storage]:
        """The memory of each state of the graph."""
        return [state.storage for state in self.captured.states]

    @cached_property
    def _stages(self) -> Stages:
        return staged(self.captured.graph, self.target)

    @cached_property
    def _emitted(self) -> Any:
        return emitted(self._stages.schedule, self.target, self.options)

    @property
    def schedule(self) -> Schedule:
        """The schedule: kernels in order, how their work is shared out, and where every value lies."""
        schedule: Schedule = self._emitted.schedule
        return schedule

    def graph(self, stage: str = "fused") -> Graph:
        """The graph at one of the stages up to `fused`. Raises GraphcError for a stage that has none."""
        if stage == "traced":
            return self.captured.graph
        if stage not in STAGES:
            raise GraphcError(f"there is no graph at stage {stage!r}; use one of {', '.join(STAGES)}")
        return self._stages.graphs[stage]

    def text(self, stage: str = "fused") -> str:
        """A stage as text. Raises GraphcError for a name that is no stage."""
        if stage in STAGES:
            return str(self.graph(stage))
        if stage == "scheduled":
            return print_schedule(self.schedule)
        if stage not in AFTER:
            raise GraphcError(f"{stage!r} is not a stage; use one of {', '.join(ALL_STAGES)}")
        found = self._emitted
        return {"source": found.source_text, "llvm": found.llvm_text, "asm": found.assembly_text}[stage]()

    def cost(self, threads: int | None = None) -> Cost:
        """Scalar operations, memory traffic and peak memory of one run; and, unless it is for another target, the least
        time that this machine could take with `threads` threads (None: those that programs run on). Raises TypeError
        or ValueError for what is no number of threads."""
        count = get_num_threads() if threads is None else checked_threads(threads)
        ceilings = machine_ceilings(count) if self.target in (None, host_target()) else None
        found: Cost = import_module("graphc.passes.cost").cost(self.schedule, ceilings)
        return found

    def explain(self) -> str:
        """For each kernel of the schedule: what was fused into it, with the user's lines, and for each kernel next to
        it the rule that keeps them apart."""
        text: str = import_module("graphc.passes.fusion.explain").explain(self.graph("optimized"), self.schedule)
        return text

    def dump(self, folder: str | os.PathLike[str]) -> None:
        """Write every stage into a folder, one file each."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        base = next(n for i in range(10**6) if not list(place.glob(f"{(n := _numbered(self.name, i))}.0*")))
        for i, stage in enumerate(ALL_STAGES):
            ending = {"source": "py", "llvm": "ll", "asm": "s"}.get(stage, "gir")
            (place / f"{base}.{i}.{stage}.{ending}").write_text(self.text(stage) + "\n", encoding="utf-8")

    def __repr__(self) -> str:
        return f"<Lowered {self.name}: text(stage), graph(stage), explain(), cost()>"


def _numbered(name: str, i: int) -> str:
    return f"{name}.{i}"


def dump_folder(given: str | None) -> str | None:
    """Where to write stages: the folder asked for, or that of GRAPHC_DUMP."""
    return given or os.environ.get("GRAPHC_DUMP") or None
