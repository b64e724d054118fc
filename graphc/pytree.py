"""Arguments and results as flat lists: tuples, lists and dicts of tensors, taken apart and put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from graphc.tensors.base import TensorBase


class Static:
    """A leaf that is not a tensor: compared with its type, and by identity where it cannot be hashed."""

    __slots__ = ("_key", "value")

    def __init__(self, value: Any):
        self.value = value
        try:
            hash(value)
            self._key: Any = (type(value), value)
        except TypeError:
            self._key = (type(value), id(value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return repr(self.value)


class Tree(NamedTuple):
    """The structure of a value: `kind` is a container type, `keys` those of a dict, `children` hold trees, statics, or
    None for a tensor."""

    kind: type
    keys: tuple[Any, ...]
    children: tuple[Any, ...]


def is_array(x: object) -> bool:
    """Whether x is a tensor, or a NumPy array."""
    return isinstance(x, (TensorBase, np.ndarray))


def flatten(value: Any, leaves: list[Any]) -> Any:
    """Append the tensors and arrays in `value` to `leaves`; the structure that is left. A `Static` stays whole."""
    if is_array(value):
        leaves.append(value)
        return None
    if isinstance(value, Static):
        return value
    kind = type(value)
    if isinstance(value, dict):
        return Tree(kind, tuple(value), tuple(flatten(v, leaves) for v in value.values()))
    if isinstance(value, (tuple, list)):
        return Tree(kind, (), tuple(flatten(v, leaves) for v in value))
    return Static(value)


def unflatten(structure: Any, take: Callable[[], Any]) -> Any:
    """A value of the structure; `take` gives its tensors, one after the other."""
    if structure is None:
        return take()
    if isinstance(structure, Static):
        return structure.value
    children = [unflatten(child, take) for child in structure.children]
    if issubclass(structure.kind, dict):
        return dict(zip(structure.keys, children, strict=True))
    if hasattr(structure.kind, "_fields"):
        return structure.kind(*children)
    return structure.kind(children)


def paths(structure: Any, prefix: str) -> list[str]:
    """A name for each tensor: `x`, `batch.0`, `batch.image`."""
    if structure is None:
        return [prefix]
    if isinstance(structure, Static):
        return []
    keys = structure.keys or getattr(structure.kind, "_fields", None) or range(len(structure.children))
    found: list[str] = []
    for key, child in zip(keys, structure.children, strict=True):
        found += paths(child, f"{prefix}.{key}" if prefix else str(key))
    return found
