"""The memory behind tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ir.types import TensorType
from graphc.runtime.memory import ALIGNMENT, address_of, aligned_empty

Array = np.ndarray[Any, Any]


class Clock:
    """Counts the calls of one compiled function that write the storages it is attached to."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Storage:
    """One piece of memory that one or more tensors show, and how often it was written.

    borrowed: the memory belongs to somebody else (an array from NumPy or another framework).
    shared: tensors that are views of `array` exist, so it cannot move.
    trained: some tensor that shows it requires, or required, gradients.
    binding: the group of states that it belongs to, once a compiled function holds it as state.
    label: how to call it as state: the tensor that it belongs to, if any, and its name there.
    clocks: of the compiled functions that write it; a call moves one clock, and no per-tensor counter.
    """

    __slots__ = ("__weakref__", "_writes", "array", "binding", "borrowed", "clocks", "label", "shared", "trained")

    def __init__(self, array: Array, borrowed: bool = False):
        self.array = array
        self.borrowed = borrowed
        self.shared = False
        self.trained = False
        self.binding: Any = None
        self.label: tuple[Any, str] | None = None
        self.clocks: tuple[Clock, ...] = ()
        self._writes = 0

    @property
    def version(self) -> int:
        """Counts writes, so that a backward pass notices values that have changed since."""
        return self._writes + sum(c.value for c in self.clocks) if self.clocks else self._writes

    def note_write(self) -> None:
        """Count a write."""
        self._writes += 1

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
