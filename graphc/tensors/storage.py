"""The memory behind tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ir.types import TensorType
from graphc.runtime.memory import ALIGNMENT, address_of, aligned_empty

Array = np.ndarray[Any, Any]


class Storage:
    """One piece of memory that one or more tensors show, and how often it was written.

    version: counts writes, so that a backward pass notices values that have changed since.
    borrowed: the memory belongs to somebody else (an array from NumPy or another framework).
    shared: tensors that are views of `array` exist, so it cannot move.
    binding: set once a compiled function holds this memory as state.
    """

    __slots__ = ("__weakref__", "array", "binding", "borrowed", "shared", "version")

    def __init__(self, array: Array, borrowed: bool = False):
        self.array = array
        self.version = 0
        self.borrowed = borrowed
        self.shared = False
        self.binding: Any = None

    @property
    def bindable(self) -> bool:
        """Whether a program can work in this memory directly."""
        flags = self.array.flags
        return bool(flags.c_contiguous and flags.writeable and address_of(self.array) % ALIGNMENT == 0)


def aligned_copy(array: Array, type: TensorType) -> Array:
    """A dense copy in memory that programs can work in."""
    copied = aligned_empty(type)
    np.copyto(copied, array, casting="no")
    return copied
