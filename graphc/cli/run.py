"""Run IR text on arrays: compile each graph and call it once, or interpret it.

    graphc run file.gir --arrays values.npz

Arguments that the arrays do not name are drawn at random: floats normal, integers 0 or 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from graphc.cli.opt import read_graphs
from graphc.codegen.compile import emit
from graphc.codegen.host import host_target
from graphc.ir.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ir.interpret import interpret
from graphc.ir.text.lexer import name_text
from graphc.ir.types import TensorType
from graphc.passes.autodiff import Autodiff
from graphc.passes.pipeline import lower
from graphc.runtime.executor import Executor
from graphc.runtime.memory import aligned_empty

Array = np.ndarray[Any, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="IR text, one graph or more; - for standard input")
    parser.add_argument("--arrays", type=Path, help="an .npz file with arguments by name")
    parser.add_argument("--seed", type=int, default=0, help="of the arguments drawn (default: 0)")
    parser.add_argument("--interpret", action="store_true", help="evaluate op by op in NumPy instead of compiling")


def execute(options: argparse.Namespace) -> None:
    if options.seed < 0:
        raise GraphcError(f"a seed cannot be negative, got {options.seed}")
    arrays: Mapping[str, Array] = {} if options.arrays is None else _read_arrays(options.arrays)
    graphs = read_graphs(options.file)
    unknown = set(arrays) - {v.name for graph in graphs for v in graph.args}
    if unknown:
        raise GraphcError(f"no graph takes an array {min(unknown)!r}, which {options.arrays} holds")
    for graph in graphs:
        rng = np.random.default_rng(options.seed)
        arguments = [_argument(v.name or "", v.type, arrays, rng) for v in graph.args]
        inputs, states = arguments[: graph.n_inputs], arguments[graph.n_inputs :]
        outputs, new_states = (_interpreted if options.interpret else run_compiled)(graph, inputs, states)
        for i, (value, array) in enumerate(zip(graph.results, outputs, strict=True)):
            _show(name_text("%", value.name) if value.name else f"%{i}", value.type, array)
        for state, array in zip(graph.states, new_states, strict=True):
            if state in graph.updates:
                _show(f"update {name_text('%', state.name or '')}", state.type, array)


def _read_arrays(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return dict(arrays)
    except (ValueError, TypeError, AttributeError, EOFError, BadZipFile) as error:
        raise GraphcError(f"{path} is not an .npz file of arrays: {error}") from None


def run_compiled(graph: Graph, inputs: Sequence[Array], states: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """Outputs and new states of one run of the compiled graph, verified after every pass; `states` stay as they are."""
    target = host_target()
    program = emit(lower(graph, target, verify_each=True).schedule, target).compile()
    buffers = [aligned_empty(port.type) for port in program.states]
    for buffer, array in zip(buffers, states, strict=True):
        buffer[...] = array
    return Executor(program, buffers)(*inputs), buffers


def _interpreted(graph: Graph, inputs: list[Array], states: list[Array]) -> tuple[list[Array], list[Array]]:
    outputs, new_states = interpret(Autodiff().run(graph) if graph.stage == "traced" else graph, inputs, states)
    return list(outputs), list(new_states)


def _argument(name: str, type_: TensorType, arrays: Mapping[str, Array], rng: np.random.Generator) -> Array:
    if name in arrays:
        found = np.asarray(arrays[name])
        if found.shape != type_.shape or found.dtype != type_.dtype.numpy:
            raise GraphcError(f"array {name!r} is {found.dtype}{list(found.shape)}, the graph takes {type_}")
        return found
    drawn = rng.standard_normal(type_.shape) if type_.dtype.is_float else rng.integers(0, 2, type_.shape)
    return np.asarray(drawn).astype(type_.dtype.numpy)


def _show(name: str, type_: TensorType, array: Array) -> None:
    print(f"{name}: {type_} =\n{np.array2string(array, threshold=64)}")
