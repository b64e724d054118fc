"""What runs a graph: the one place where the front end meets code generation and the runtime.

Code generation is imported when something is compiled, and only then: it brings Numba along.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from graphc.ir.graph import Graph
from graphc.ir.schedule import Schedule
from graphc.ir.target import Target
from graphc.passes.pipeline import lower
from graphc.runtime.executor import Executor

Array = np.ndarray[Any, Any]


def build_executor(graph: Graph, states: Sequence[Array]) -> Executor:
    """Compile a graph (of the stage `traced` or `differentiated`) and bind it to the memory of its states. With
    GRAPHC_VERIFY=1 the graph is verified after every pass."""
    host = target_or_host(None)
    stages = lower(graph, host, verify_each=os.environ.get("GRAPHC_VERIFY", "0") not in ("", "0"))
    return Executor(emitted(stages.schedule, host).compile(), states)


def emitted(schedule: Schedule, target: Target | None) -> Any:
    """The kernels of a schedule (`graphc.codegen.compile.Emitted`)."""
    return import_module("graphc.codegen.compile").emit(schedule, target_or_host(target))


def target_or_host(target: Target | None) -> Target:
    """The target given, or this machine."""
    if target is not None:
        return target
    found: Target = import_module("graphc.codegen.host").host_target()
    return found
