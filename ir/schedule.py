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


@dataclass(frozen=True, eq=False)
class Launch:
    """Run one kernel: `op` is a `fused` op of the graph; `reads` holds its operands' buffers, `writes` its results'.
    A result that shares its place with an operand is updated in place."""

    op: Op
    reads: tuple[Buffer, ...]
    writes: tuple[Buffer, ...]


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
