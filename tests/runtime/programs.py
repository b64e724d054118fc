"""Takes graphs all the way to programs in this process, and compares them with the interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.codegen.compile import Emitted, emit
from graphc.codegen.host import find_target
from graphc.codegen.red_zones import ZONE
from graphc.ir import Graph, interpret, parse
from graphc.passes.pipeline import lower
from graphc.runtime.executor import Executor
from graphc.runtime.memory import aligned_empty
from tests.closeness import check_results

Array = np.ndarray[Any, Any]


def emitted(graph: Graph | str, debug: bool = False, target: str = "host") -> Emitted:
    """The kernels of a graph, or of a graph's text."""
    machine = find_target(target)
    graph = parse(graph) if isinstance(graph, str) else graph
    return emit(lower(graph, machine, red_zone=ZONE if debug else 0).schedule, machine, debug)


def state_arrays(states: Sequence[Any], graph: Graph) -> list[Array]:
    """Copies of states in memory that a program can work in."""
    found = []
    for value, array in zip(graph.states, states, strict=True):
        buffer = aligned_empty(value.type)
        buffer[...] = array
        found.append(buffer)
    return found


def executor(graph: Graph | str, states: Sequence[Any] = (), debug: bool = False) -> Executor:
    """A program of the graph, bound to copies of `states`."""
    code = emitted(graph, debug)
    return Executor(code.compile(), state_arrays(states, code.schedule.graph))


def check_against_interpreter(
    graph: Graph | str, inputs: Sequence[Array], states: Sequence[Array] = (), debug: bool = False, steps: int = 2
) -> Executor:
    """Run a program for some steps, each beside the interpreter. Between steps, the working memory is spoiled."""
    graph = parse(graph) if isinstance(graph, str) else graph
    program = executor(graph, states, debug)
    reference = graph if graph.stage != "traced" else lower(graph).graphs["differentiated"]
    expected_states = [np.array(state) for state in states]
    for _ in range(steps):
        program._arena[...] = 0xFF
        outputs = program.run(inputs)
        expected, expected_states = interpret(reference, inputs, expected_states)
        check_results(reference, (outputs, program.states), (expected, expected_states))
    return program
