"""The eager tape: what ops leave behind for a backward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphc.errors import AutogradError, user_location
from graphc.ir.location import Location
from graphc.ir.types import TensorType
from graphc.tensors.storage import Storage

if TYPE_CHECKING:
    from graphc.tensors.base import TensorBase

Array = np.ndarray[Any, Any]


class Saved(NamedTuple):
    """A forward value, and how to notice that it was overwritten since."""

    array: Array
    type: TensorType
    storage: Storage
    version: int

    @property
    def intact(self) -> bool:
        return self.storage.version == self.version


class Edge(NamedTuple):
    """Where an operand came from: a result of a node, or a leaf tensor."""

    node: Node | None
    result: int
    leaf: TensorBase | None


class Node:
    """One op that was applied to tensors that require gradients: `name` and `attributes` of the op, an edge for each
    operand that requires a gradient, and the values of operands and results.

    pull: for a call of a compiled function, in place of an op: cotangents of the results -> those of the operands.
    """

    __slots__ = ("__weakref__", "attributes", "edges", "location", "name", "operands", "pull", "results")

    def __init__(
        self,
        name: str,
        attributes: Mapping[str, Any],
        edges: Sequence[Edge | None],
        operands: Sequence[Saved],
        pull: Callable[[Sequence[Array | None]], Sequence[Array | None]] | None = None,
    ):
        self.name = name
        self.attributes = attributes
        self.edges: tuple[Edge | None, ...] = tuple(edges)
        self.operands: tuple[Saved, ...] | None = tuple(operands)
        self.results: tuple[Saved, ...] = ()
        self.pull = pull
        self.location: Location | None = user_location()

    def release(self) -> None:
        """Let go of the forward values: a graph is differentiated once unless it is kept."""
        self.operands = None
        self.results = ()
        self.pull = None

    @property
    def released(self) -> bool:
        return self.operands is None


def reachable(roots: Sequence[Node]) -> list[Node]:
    """Every node behind the roots, each after the nodes that it takes results of."""
    order: list[Node] = []
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(node, False) for node in roots]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        stack.append((node, True))
        stack.extend((e.node, False) for e in node.edges if e is not None and e.node is not None)
    return order


def require_unreleased(nodes: Sequence[Node]) -> None:
    """Raises AutogradError where the graph behind a tensor has been used up."""
    for node in nodes:
        if node.released:
            raise AutogradError(
                "backward through a graph a second time: its values were freed by the first backward pass; call "
                "backward(retain_graph=True) the first time",
                user_location(),
            )
