"""Op attributes: the closed set of values an attribute may hold."""

from __future__ import annotations

from typing import Any, TypeAlias, Union

import numpy as np

from graphc.ir.types import DType, TensorType, type_of

MAX_ITEMS = 1024  # of a list; longer data is a DenseArray
MAX_DEPTH = 32  # of lists in lists
INTEGERS = range(-(2**63), 2**63)


class DenseArray:
    """A constant array held by value: immutable, compared by type and bytes (so NaN equals NaN)."""

    __slots__ = ("array",)

    def __init__(self, array: np.ndarray[Any, Any]):
        copied = np.array(array, order="C", copy=True)
        copied.setflags(write=False)
        self.array = copied

    @property
    def type(self) -> TensorType:
        return type_of(self.array)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, DenseArray) and self.type == other.type and self.array.tobytes() == other.array.tobytes()
        )

    def __hash__(self) -> int:
        return hash((self.type, self.array.tobytes()))

    def __repr__(self) -> str:
        return f"DenseArray({self.type})"


Attribute: TypeAlias = Union[bool, int, float, str, DType, DenseArray, "tuple[Attribute, ...]"]
Attributes: TypeAlias = dict[str, Attribute]


def same_attribute(a: Attribute, b: Attribute) -> bool:
    """Equality that keeps 1, 1.0 and True apart, +0.0 and -0.0 apart, and takes NaN as equal to itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same_attribute, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return np.float64(a).tobytes() == np.float64(b).tobytes() or (a != a and b != b)
    return a == b


def is_attribute(value: object, depth: int = 0) -> bool:
    """Whether `value` is in the closed set of attributes: what the text can hold."""
    if isinstance(value, tuple):
        return depth < MAX_DEPTH and len(value) <= MAX_ITEMS and all(is_attribute(item, depth + 1) for item in value)
    if type(value) is int:
        return value in INTEGERS
    return type(value) in (bool, float, str) or isinstance(value, (DType, DenseArray))
