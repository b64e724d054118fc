"""A compiled program: machine code and what a caller must hand it.

The entry is `int32_t entry(struct context *)`, with

    struct context {
        void *arena;            /* arena_bytes, 64-byte aligned */
        void *const *inputs;    /* one pointer per input, in order; dense row-major */
        void *const *states;    /* one per state; updated in place */
        void *const *outputs;   /* one per output */
        int32_t fault;          /* scratch space of the range checks */
    };

It returns 0, or i + 1 after `faults[i]`; states are then as the kernels that had already run left them.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.ir.errors import DivisionByZeroError, GraphcError, NegativeExponentError, OutOfRangeError
from graphc.ir.types import TensorType


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
    "write outside a kernel's buffers": GraphcError,
}


@dataclass(frozen=True)
class Fault:
    """Why a program stopped early: the message, and the exception it becomes, by its key in `FAULTS`."""

    kind: str
    message: str


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
    """`objects` are relocatable ELF objects that together define `entry` and refer to libc and libm only."""

    name: str
    entry: str
    objects: tuple[bytes, ...]
    inputs: tuple[Port, ...]
    states: tuple[Port, ...]
    outputs: tuple[Port, ...]
    arena_bytes: int
    faults: tuple[Fault, ...]
    target: MachineTarget
