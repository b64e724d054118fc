"""Exported programs on disk: what lies beside one another under one path prefix.

PREFIX.o            the program's machine code
PREFIX.so           the same as a shared library, where a C compiler was found
PREFIX.h            its C interface
PREFIX.gir          the graph it was compiled from, as text
PREFIX.json         the manifest: ports, target, faults, checksums
PREFIX.safetensors  the initial states, in port order
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from graphc.ir.errors import GraphcError
from graphc.ir.types import type_of
from graphc.runtime.checkpoint import read_arrays, write_atomically
from graphc.runtime.executor import Executor
from graphc.runtime.loader import check_target
from graphc.runtime.manifest import program_from, program_record
from graphc.runtime.memory import aligned_empty
from graphc.runtime.program import Port, Program, state_header

FORMAT = "graphc-program"
VERSION = 2

Array = np.ndarray[Any, Any]
T = TypeVar("T")


class ArtifactError(GraphcError, ValueError):
    """An exported program whose files are missing, damaged, or of another version."""


class StoredProgram(Executor):
    """A program read back from disk, with states of its own. Call it with one NumPy array per input."""

    def state_dict(self) -> dict[str, Array]:
        """The states by name: views, which the next call updates."""
        return {port.name: array for port, array in zip(self.program.states, self.states, strict=True)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the states to a safetensors file, which `load_program(..., state=path)` and the C interface read."""
        with self._lock:
            data = encode_states(self.program.states, self.states)
        write_atomically(path, data)


def load_program(prefix: str | os.PathLike[str], state: str | os.PathLike[str] | None = None) -> StoredProgram:
    """Load what `graphc.export` wrote under `prefix`, without tracing or compiling. `state` names another file of
    states: one that `save` or the C interface wrote, or any safetensors file with all the names.

    Raises FileNotFoundError naming a missing file, ArtifactError for damaged ones and for states that do not fit,
    CheckpointError for a state file that cannot be read, TargetMismatchError on a CPU that lacks what the code needs.
    """
    program = read_program(prefix)
    check_target(program.target, program.name)
    path = Path(state) if state is not None else artifact_file(prefix, "safetensors")
    arrays, _ = read_arrays(path)
    states = [_state(port, arrays, path) for port in program.states]
    try:
        return StoredProgram(program, states)
    except GraphcError:
        raise
    except RuntimeError as error:  # LLVM's
        raise ArtifactError(f"{artifact_file(prefix, 'o')} is damaged: {error}; export it again") from None


def _state(port: Port, arrays: Mapping[str, Array], path: Path) -> Array:
    """The state of a port, in memory that a program can work in."""
    found = arrays.get(port.name)
    if found is None:
        raise ArtifactError(f"{path} has no entry {port.name!r}, which the program needs as {port.type}")
    if found.shape != port.type.shape or found.dtype != port.type.dtype.numpy:
        raise ArtifactError(f"{path}: {port.name!r} is {type_of(found)}, but the program needs {port.type}")
    buffer = aligned_empty(port.type)
    buffer[...] = found
    return buffer


def artifact_file(prefix: str | os.PathLike[str], suffix: str) -> Path:
    """One of the files under a prefix."""
    return Path(f"{Path(prefix)}.{suffix}")


def write_program(prefix: str | os.PathLike[str], program: Program) -> None:
    """Write PREFIX.o, then PREFIX.json, which vouches for it. `program` must have one object."""
    (image,) = program.objects
    described = {**program_record(program), "object_sha256": hashlib.sha256(image).hexdigest()}
    manifest = {"format": FORMAT, "version": VERSION, "sha256": _checksum(described), "program": described}
    write_atomically(artifact_file(prefix, "o"), image)
    write_atomically(artifact_file(prefix, "json"), json.dumps(manifest, indent=1).encode())


def read_program(prefix: str | os.PathLike[str]) -> Program:
    """Read PREFIX.json and PREFIX.o. Raises FileNotFoundError or ArtifactError."""
    path, image_path = artifact_file(prefix, "json"), artifact_file(prefix, "o")
    for needed in (path, image_path):
        if not needed.exists():
            raise FileNotFoundError(f"{needed} is missing; graphc.export(step, args, {os.fspath(prefix)!r}) writes it")
    try:
        manifest = json.loads(path.read_bytes())
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise ArtifactError(f"{path} is not the manifest of a graphc program")
        if _typed(manifest["version"], int) != VERSION:
            raise ArtifactError(
                f"{path} has format version {manifest['version']}, this graphc reads {VERSION}; export it again"
            )
        described = manifest["program"]
        if manifest["sha256"] != _checksum(described):
            raise ArtifactError(f"{path} is damaged: it does not match its own checksum; export it again")
        image = image_path.read_bytes()
        if hashlib.sha256(image).hexdigest() != described["object_sha256"]:
            raise ArtifactError(f"{image_path} is damaged: its checksum is not the one in {path.name}; export it again")
        record = {key: value for key, value in described.items() if key != "object_sha256"}
        return program_from(record, [image])
    except ArtifactError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError(f"{path} is damaged: {error}; export it again") from None


def encode_states(ports: Sequence[Port], states: Sequence[Array]) -> bytes:
    """A whole safetensors file of the states, in port order."""
    return b"".join([state_header(ports), *(np.ascontiguousarray(s).tobytes() for s in states)])


def _checksum(described: dict[str, Any]) -> str:
    """Of what is said of a program, whatever the layout of its text."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _typed(value: Any, kind: type[T]) -> T:
    if type(value) is not kind:
        raise TypeError(f"{value!r} stands where a {kind.__name__} belongs")
    return value
