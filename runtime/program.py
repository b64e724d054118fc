"""A compiled program: machine code and what a caller must hand it.

The entry is `int32_t entry(struct context *)`, with

    struct context {
        void *arena;            /* 64-byte aligned; its content means nothing between calls */
        void *const *inputs;    /* one pointer per input, in order; dense row-major, aligned to its elements */
        void *const *states;    /* one per state; updated in place */
        void *const *outputs;   /* one per output */
        void *pool;             /* a thread pool of `graphc.runtime.pool_ir`; may be NULL for one thread */
        int64_t threads;        /* how many to run on; the arena has arena_bytes + threads * scratch_bytes */
    };

It returns 0, or i + 1 after `faults[i]`: no state has been written then. No two buffers may overlap, but that inputs
may share memory with one another and with states that the program does not update. The results have the same bits for
any number of threads.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphc.ir.errors import DivisionByZeroError, FaultError, GraphcError, NegativeExponentError, OutOfRangeError
from graphc.ir.location import Location
from graphc.ir.types import TensorType

ALIGNMENT = 64  # bytes, of states and the arena: one cache line, and the widest vector register


class RedZoneError(GraphcError, RuntimeError):
    """A debug build found that a kernel wrote outside its buffers: a mistake in graphc. States may be damaged."""


@dataclass(frozen=True)
class Port:
    """One input, state or output. `updated` says that the program writes the state."""

    name: str
    type: TensorType
    updated: bool = False


FAULTS: dict[str, type[GraphcError]] = {
    "index out of range": OutOfRangeError,
    "integer division by zero": DivisionByZeroError,
    "negative exponent of an integer": NegativeExponentError,
    "value out of range": FaultError,
    "write outside a kernel's buffers": RedZoneError,
}


@dataclass(frozen=True)
class Fault:
    """Why a program stopped early: the exception it becomes, by its key in `FAULTS`, its message, the user's line."""

    kind: str
    message: str
    location: Location | None = None

    def error(self) -> GraphcError:
        """The exception."""
        return FAULTS[self.kind](self.message, self.location)


@dataclass(frozen=True)
class MachineTarget:
    """What the code was generated for: LLVM triple, CPU name, and feature string ("+avx2,-sse4a,...")."""

    triple: str
    cpu: str
    features: str

    @property
    def required(self) -> frozenset[str]:
        """Names of the CPU features the code may use."""
        return frozenset(f[1:] for f in self.features.split(",") if f.startswith("+"))


@dataclass(frozen=True)
class Program:
    """`objects` are relocatable ELF objects that together define `entry` and refer to libc, libm and POSIX threads.
    `parallelism` is how many threads a run gains from, at most, by an estimate of its work."""

    name: str
    entry: str
    objects: tuple[bytes, ...]
    inputs: tuple[Port, ...]
    states: tuple[Port, ...]
    outputs: tuple[Port, ...]
    arena_bytes: int
    scratch_bytes: int
    parallelism: int
    faults: tuple[Fault, ...]
    target: MachineTarget

    def memory_bytes(self, threads: int) -> int:
        """The size of the arena of a run on so many threads."""
        return self.arena_bytes + threads * self.scratch_bytes


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
