"""The scheduled stage: which buffer each value lives in, and in which order kernels run.

A schedule refers to the ops of a `fused` graph; it is a tree of nodes, so that loops and branches can be added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphc.ir.graph import Graph, Op, Value
from graphc.ir.types import TensorType

SPACES = ("input", "state", "output", "constant", "arena")


@dataclass(frozen=True)
class Buffer:
    """A dense row-major, 64-byte-aligned piece of memory. `index` is its position among the buffers of its space
    (inputs, states, outputs, constants); in the arena, `offset` is its byte offset."""

    name: str
    type: TensorType
    space: str
    index: int = 0
    offset: int = 0

    @property
    def place(self) -> tuple[str, int]:
        """Equal for buffers that are the same memory."""
        return (self.space, self.offset if self.space == "arena" else self.index)


@dataclass(frozen=True)
class Partition:
    """How the work of a launch is shared out among threads: `units` that do not depend on one another, whatever the
    number of threads, each of about `cost` nanoseconds of one thread.

    The launches between two barriers are one phase. Each thread takes one stretch of all their units, laid end to end,
    of about equal cost. Launches of a phase with one `strand` are the exception: they have one unit each, and run one
    after another on the same thread, so they may depend on one another.
    """

    units: int
    cost: int
    strand: int


@dataclass(frozen=True, eq=False)
class Launch:
    """Run one kernel: `op` is a `fused` op of the graph; `reads` holds its operands' buffers, `writes` its results'.
    A result that shares its place with an operand is updated in place. `partition` is known once the kernel is
    emitted."""

    op: Op
    reads: tuple[Buffer, ...]
    writes: tuple[Buffer, ...]
    partition: Partition | None = None


@dataclass(frozen=True)
class Barrier:
    """Every thread waits here until all have arrived."""


Node = Launch | Barrier


@dataclass(frozen=True, eq=False)
class Schedule:
    """`buffers` covers every top-level value of `graph` that has memory; reshapes share their operand's place.
    `constants` holds the op `constant` of each buffer of space "constant", in index order."""

    graph: Graph
    buffers: Mapping[Value, Buffer]
    constants: tuple[Op, ...]
    body: tuple[Node, ...]
    arena_bytes: int

    @property
    def launches(self) -> list[Launch]:
        return [node for node in self.body if isinstance(node, Launch)]

    @property
    def phases(self) -> list[list[Launch]]:
        """The launches, cut at the barriers."""
        found: list[list[Launch]] = [[]]
        for node in self.body:
            if isinstance(node, Barrier):
                found.append([])
            else:
                found[-1].append(node)
        return found
