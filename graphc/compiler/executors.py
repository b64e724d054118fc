"""What runs a graph: the one place where the front end meets code generation and the runtime.

Passes and code generation are imported when something is compiled, and only then: they bring Numba along, and a program
that the cache holds needs neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.codegen.compile_times import recorded, stage
from graphc.codegen.host import host_target
from graphc.compiler.collector import collector_paused
from graphc.compiler.options import DEFAULT, ProgramOptions
from graphc.compiler.programs import program_for
from graphc.ir.graph import Graph
from graphc.ir.schedule import Schedule
from graphc.ir.target import Target
from graphc.runtime.executor import Executor
from graphc.runtime.messages import log, wanted

if TYPE_CHECKING:
    from graphc.passes.pipeline import Lowered as Stages

Array = np.ndarray[Any, Any]


def build_executor(
    graph: Graph, states: Sequence[Array], options: ProgramOptions = DEFAULT, trace_seconds: float = 0.0
) -> Executor:
    """Compile a graph (of the stage `traced` or `differentiated`), or find its program in the cache, and bind it to the
    memory of its states. `trace_seconds` is what it took to trace it, for GRAPHC_LOG=compile."""
    with collector_paused(), recorded() as times:
        times.add("trace", trace_seconds)
        program = program_for(graph, options, times)
        with stage("load"):
            executor = Executor(program, states, options.threads)
    if wanted("compile"):
        log("compile", times.describe(graph.name))
    return executor


def staged(graph: Graph, target: Target | None) -> Stages:
    """Every stage of a graph up to its schedule."""
    stages: Stages = import_module("graphc.passes.pipeline").lower(graph, target_or_host(target))
    return stages


def emitted(schedule: Schedule, target: Target | None, options: ProgramOptions = DEFAULT) -> Any:
    """The kernels of a schedule (`graphc.codegen.compile.Emitted`)."""
    tuned = options.autotune and target is None
    return import_module("graphc.codegen.compile").emit(schedule, target_or_host(target), tuned=tuned)


def target_or_host(target: Target | None) -> Target:
    """The target given, or this machine."""
    return host_target() if target is None else target
