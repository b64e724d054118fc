"""Exported programs on disk: what lies beside one another under one path prefix.

PREFIX.o            the program's machine code
PREFIX.so           the same as a shared library, where a C compiler was found
PREFIX.h            its C interface
PREFIX.gir          the graph it was compiled from, as text
PREFIX.json         the manifest: ports, target, faults, checksum
PREFIX.safetensors  the initial states, in port order
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphc.ir.errors import GraphcError
from graphc.ir.types import DTYPES, TensorType
from graphc.runtime.checkpoint import read_arrays, write_atomically
from graphc.runtime.executor import Executor
from graphc.runtime.memory import aligned_empty
from graphc.runtime.program import Fault, MachineTarget, Port, Program

FORMAT = "graphc-program"
VERSION = 1

Array = np.ndarray[Any, Any]


class ArtifactError(GraphcError, ValueError):
    """An exported program whose files are missing, damaged, or of another version."""


class StoredProgram(Executor):
    """A program read back from disk, with states of its own. Call it with one NumPy array per input."""

    def state_dict(self) -> dict[str, Array]:
        """The states by name: views, which the next call updates."""
        return {port.name: array for port, array in zip(self.program.states, self.states, strict=True)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the states to a safetensors file, which `load_program(..., state=path)` and the C interface read."""
        write_atomically(path, encode_states(self.program.states, self.states))


def load_program(prefix: str | os.PathLike[str], state: str | os.PathLike[str] | None = None) -> StoredProgram:
    """Load what `graphc.export` wrote under `prefix`, without tracing or compiling. `state` names another state file.

    Raises FileNotFoundError naming a missing file, ArtifactError for damaged ones, TargetMismatchError on a CPU that
    lacks what the code needs, CheckpointError or ShapeError for states that do not fit.
    """
    program = read_program(prefix)
    path = Path(state) if state is not None else artifact_file(prefix, "safetensors")
    arrays, _ = read_arrays(path)
    states = []
    for port in program.states:
        if port.name not in arrays:
            raise ArtifactError(f"{path} has no entry {port.name!r}, a state of {program.name}")
        found = arrays[port.name]
        if found.shape != port.type.shape or found.dtype != port.type.dtype.numpy:
            raise ArtifactError(
                f"{path}: {port.name!r} is {found.dtype}{list(found.shape)}, but {program.name} needs {port.type}"
            )
        buffer = aligned_empty(port.type)
        buffer[...] = found
        states.append(buffer)
    return StoredProgram(program, states)


def artifact_file(prefix: str | os.PathLike[str], suffix: str) -> Path:
    """One of the files under a prefix."""
    return Path(f"{os.fspath(prefix)}.{suffix}")


def write_program(prefix: str | os.PathLike[str], program: Program) -> None:
    """Write PREFIX.o and PREFIX.json. `program` must have one object."""
    (image,) = program.objects
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "name": program.name,
        "entry": program.entry,
        "inputs": [_port_record(p) for p in program.inputs],
        "states": [_port_record(p) for p in program.states],
        "outputs": [_port_record(p) for p in program.outputs],
        "arena_bytes": program.arena_bytes,
        "faults": [{"kind": f.kind, "message": f.message} for f in program.faults],
        "target": {
            "triple": program.target.triple,
            "cpu": program.target.cpu,
            "features": program.target.features,
        },
        "object_sha256": hashlib.sha256(image).hexdigest(),
    }
    write_atomically(artifact_file(prefix, "o"), image)
    write_atomically(artifact_file(prefix, "json"), json.dumps(manifest, indent=1).encode())


def read_program(prefix: str | os.PathLike[str]) -> Program:
    """Read PREFIX.json and PREFIX.o. Raises FileNotFoundError or ArtifactError."""
    path = artifact_file(prefix, "json")
    image_path = artifact_file(prefix, "o")
    for needed in (path, image_path):
        if not needed.exists():
            raise FileNotFoundError(f"{needed} is missing; graphc.export(step, args, {os.fspath(prefix)!r}) writes it")
    try:
        manifest = json.loads(path.read_bytes())
        if manifest["format"] != FORMAT:
            raise ArtifactError(f"{path} is not the manifest of a graphc program")
        if manifest["version"] != VERSION:
            raise ArtifactError(
                f"{path} has format version {manifest['version']}, this graphc reads {VERSION}; export it again"
            )
        image = image_path.read_bytes()
        if hashlib.sha256(image).hexdigest() != manifest["object_sha256"]:
            raise ArtifactError(f"{image_path} is damaged: its checksum is not the one in {path.name}; export it again")
        return Program(
            name=manifest["name"],
            entry=manifest["entry"],
            objects=(image,),
            inputs=tuple(map(_port, manifest["inputs"])),
            states=tuple(map(_port, manifest["states"])),
            outputs=tuple(map(_port, manifest["outputs"])),
            arena_bytes=int(manifest["arena_bytes"]),
            faults=tuple(Fault(f["kind"], f["message"]) for f in manifest["faults"]),
            target=MachineTarget(**manifest["target"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{path} is damaged: {error}") from None


def state_header(ports: Sequence[Port]) -> bytes:
    """What precedes the data in a safetensors file that holds `ports` in order: the same bytes for every save."""
    entries: dict[str, Any] = {}
    offset = 0
    for port in ports:
        end = offset + port.type.nbytes
        name = port.type.dtype.name.upper()
        entries[port.name] = {"dtype": name, "shape": list(port.type.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def encode_states(ports: Sequence[Port], states: Sequence[Array]) -> bytes:
    """A whole safetensors file of the states, in port order."""
    return b"".join([state_header(ports), *(np.ascontiguousarray(s).tobytes() for s in states)])


def _port_record(port: Port) -> dict[str, Any]:
    return {
        "name": port.name,
        "dtype": port.type.dtype.name,
        "shape": list(port.type.shape),
        "updated": port.updated,
    }


def _port(record: dict[str, Any]) -> Port:
    type_ = TensorType(DTYPES[record["dtype"]], tuple(int(n) for n in record["shape"]))
    return Port(str(record["name"]), type_, bool(record["updated"]))
