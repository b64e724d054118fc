"""A graph run as a native program, for comparison with the interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.codegen.compile import emit
from graphc.codegen.host import host_target
from graphc.ir import Graph
from graphc.passes.pipeline import lower
from graphc.runtime.executor import Executor
from graphc.runtime.memory import aligned_empty

Array = np.ndarray[Any, Any]


def run_compiled(graph: Graph, inputs: Sequence[Array], states: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """Outputs and new states of one run of the compiled program; `states` stay as they are."""
    target = host_target()
    program = emit(lower(graph, target, verify_each=True).schedule, target).compile()
    own = []
    for port, array in zip(program.states, states, strict=True):
        own.append(aligned_empty(port.type))
        own[-1][...] = array
    outputs = Executor(program, own)(*inputs)
    return outputs, own
