"""Memory for the outputs of a program's calls.

Memory that is fresh from the operating system costs several times what it takes to write to it, for every page of it
is cleared and mapped first. So a large output takes the memory of one that nobody refers to any more.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.runtime.memory import address_of
from graphc.runtime.program import ALIGNMENT, Port

Array = np.ndarray[Any, Any]

LARGE = 256 << 10  # bytes; what is smaller, the C library keeps by itself
KEPT = 2  # buffers of one output: the last call's, and the one before, which its caller may still hold


class Outputs:
    """Gives one array per output port for each call. Those of large outputs are views of buffers that are given again
    once no array refers to them; so long as the program lives, up to `KEPT` of these stay allocated per output."""

    def __init__(self, ports: Sequence[Port]):
        self._kinds = [(port.type.shape, port.type.dtype.numpy) for port in ports]
        self._large = [(i, port.type.nbytes) for i, port in enumerate(ports) if port.type.nbytes >= LARGE]
        self._buffers: list[list[Array]] = [[] for _ in self._large]

    def take(self) -> list[Array]:
        """Uninitialised arrays to which nothing else refers. Not to be called by two threads at once."""
        if not self._large:
            return [np.empty(shape, dtype) for shape, dtype in self._kinds]
        large = {i: self._buffer(known, nbytes) for (i, nbytes), known in zip(self._large, self._buffers, strict=True)}
        return [
            np.ndarray(shape, dtype, large[i], -address_of(large[i]) % ALIGNMENT)
            if i in large
            else np.empty(shape, dtype)
            for i, (shape, dtype) in enumerate(self._kinds)
        ]

    def _buffer(self, known: list[Array], nbytes: int) -> Array:
        """An array that owns its memory: every view of a view of it refers to it."""
        for buffer in known:
            if sys.getrefcount(buffer) == _UNUSED:
                return buffer
        known.append(np.empty(nbytes + ALIGNMENT, np.uint8))
        del known[:-KEPT]
        return known[-1]


def _references_of_unused() -> int:
    """What `getrefcount` says in `_buffer` of one that no array refers to."""
    known = [np.empty(1, np.uint8)]
    for buffer in known:
        return sys.getrefcount(buffer)
    raise AssertionError


_UNUSED = _references_of_unused()
