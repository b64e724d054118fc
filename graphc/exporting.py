"""Export: a step as files that train with no Python."""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graphc.codegen.c_header import c_header, c_name
from graphc.codegen.compile import emit
from graphc.codegen.host import find_target, host_target
from graphc.codegen.red_zones import ZONE
from graphc.codegen.shared_library import find_compiler, link_shared_library
from graphc.compiler import compile
from graphc.ir.graph import Graph
from graphc.ir.target import Target
from graphc.passes.pipeline import lower
from graphc.pytree import Tree, paths
from graphc.runtime.artifact import artifact_file, encode_states, write_program
from graphc.runtime.checkpoint import write_atomically
from graphc.runtime.program import Program
from graphc.tracing.capture import Captured

Array = np.ndarray[Any, Any]


class ExportWarning(UserWarning):
    """Something that the exported files lack."""


@dataclass(frozen=True)
class Exported:
    """What was written. `shared_library` is None where no C compiler was found; `message` says how it went."""

    program: Program
    files: tuple[Path, ...]
    shared_library: Path | None
    message: str

    def __repr__(self) -> str:
        return f"<Exported {self.program.name}: {', '.join(map(str, self.files))}; {self.message}>"


def export(
    step: Any,
    example_args: Any,
    path_prefix: str | os.PathLike[str],
    target: str | Target = "host",
    debug: bool = False,
) -> Exported:
    """Write a step as a library: machine code, C header, states, and what `graphc.load_program` needs.

    step: a compiled function or module, or a function that is compiled for this. It is traced, and not run.
    example_args: its arguments (a tuple, or the only one): their shapes, dtypes and static values count.
    path_prefix: files are called PREFIX.o, .h, .gir, .json, .safetensors and, where a C compiler is found, .so; the
        last part of the prefix, as a C identifier, names the program. Folders are made.
    target: "host" (this machine), or a CPU baseline such as "x86-64-v3".
    debug: check after every kernel that it wrote nothing outside its buffers.

    Parameters, buffers and optimizer state as they are now become the initial states. What an optimizer reads from its
    groups at every call (lr, ...) becomes a state as well, such as `optimizer.lr`, which the program reads and the
    caller may set. Python values that the step read otherwise are as they were.

    PREFIX.gir is the graph at the stage `optimized`: forward, backward and update, before it is cut into kernels for
    one target, so that the interpreter runs it and any target can be compiled from it.

    Raises what tracing and compiling raise, GraphcError for an unknown target, OSError where files cannot be written.
    Warns with ExportWarning where there is no C compiler, or where the step sets Python attributes.
    """
    args = example_args if isinstance(example_args, (tuple, list)) else (example_args,)
    lowered = (step if hasattr(step, "lower") else compile(step)).lower(*args)
    captured, autotune = lowered.captured, lowered.options.autotune
    if captured.effects:
        names = ", ".join(sorted({f"{type(owner).__name__}.{name}" for owner, name, _ in captured.effects}))
        warnings.warn(f"the step sets {names}, which the exported program does not", ExportWarning, stacklevel=2)
    settings = [np.asarray(reading.getter(), np.float64) for reading in captured.scalars]
    graph = _with_states(captured.graph, len(settings))
    states = [state.storage.array for state in captured.states]
    return export_graph(graph, [*states, *settings], path_prefix, target, debug, _output_names(captured), autotune)


def export_graph(
    graph: Graph,
    states: Sequence[Array],
    path_prefix: str | os.PathLike[str],
    target: str | Target = "host",
    debug: bool = False,
    output_names: Sequence[str] = (),
    autotune: bool = False,
) -> Exported:
    """As `export`, of a graph (of a stage up to `optimized`) and an array for each of its states. autotune: as
    `graphc.compile` has it, where the target is this machine."""
    prefix = Path(path_prefix)
    if not prefix.name:
        raise ValueError(f"export: the path prefix {os.fspath(path_prefix)!r} names no file")
    machine = find_target(target) if isinstance(target, str) else target
    name = c_name(prefix.name)
    lowered = lower(graph, machine, red_zone=ZONE if debug else 0)
    program = emit(lowered.schedule, machine, debug, tuned=autotune and target == "host").compile_library(
        name, output_names
    )
    prefix.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(artifact_file(prefix, "h"), c_header(program, name).encode())
    write_atomically(artifact_file(prefix, "gir"), f"{lowered.graphs['optimized']}\n".encode())
    write_atomically(artifact_file(prefix, "safetensors"), encode_states(program.states, states))
    library, message = _shared_library(program, artifact_file(prefix, "so"), machine)
    write_program(prefix, program)
    suffixes = ("o", "h", "gir", "json", "safetensors", *(["so"] if library else []))
    return Exported(program, tuple(artifact_file(prefix, s) for s in suffixes), library, message)


def _with_states(graph: Graph, count: int) -> Graph:
    """The graph with its last `count` inputs made states."""
    first = graph.n_inputs - count
    inputs, settings = graph.inputs[:first], graph.inputs[first:]
    return Graph(graph.name, inputs, [*graph.states, *settings], graph.ops, graph.results, graph.updates, graph.stage)


def _output_names(captured: Captured) -> list[str]:
    """A name for each result of the graph: where it is in what the step returns, or which argument it belongs to."""
    structure, inputs = captured.structure, [str(v.name) for v in captured.graph.inputs]
    named = isinstance(structure, Tree) and (structure.keys or hasattr(structure.kind, "_fields"))
    found = dict(zip(captured.outputs, paths(structure, "" if named else "output"), strict=True))
    for argument, result in captured.written:
        found.setdefault(result, f"{inputs[argument]}.new")
    for argument, result in captured.input_grads:
        found.setdefault(result, f"{inputs[argument]}.grad")
    return [found[i] for i in range(len(captured.graph.results))]


def _shared_library(program: Program, path: Path, target: Target) -> tuple[Path | None, str]:
    path.unlink(missing_ok=True)  # a library of an earlier export would not fit the other files
    try:
        compiler = find_compiler(target, host_target().triple)
        link_shared_library(program.objects[0], path, compiler)
        return path, f"{path.name} linked by {shlex.join(compiler)}"
    except OSError as error:
        problem = str(error)
    object_file = path.with_suffix(".o").name
    message = f"{path.name} was not made: {problem}. Link {object_file} into your program, with -lm -pthread"
    warnings.warn(message, ExportWarning, stacklevel=4)
    return None, message
