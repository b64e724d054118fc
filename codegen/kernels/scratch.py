"""Working memory of a kernel: typed pointers into the scratch parameter."""

from __future__ import annotations

from typing import Literal, overload

from graphc.codegen.source import Source
from graphc.ir.types import DType

# Pieces start at multiples of this, so that no store to one can be thought to feed a vector load from the next.
_ALIGNMENT = 1024


class Scratch:
    """Hands out pieces; those that are not required, only while all take at most `limit` bytes."""

    def __init__(self, source: Source, limit: int = 0):
        self._source = source
        self._limit = limit
        self.nbytes = 0

    @overload
    def take(self, dtype: DType, count: int, hint: str, required: Literal[True] = True) -> str: ...

    @overload
    def take(self, dtype: DType, count: int, hint: str, required: bool) -> str | None: ...

    def take(self, dtype: DType, count: int, hint: str, required: bool = True) -> str | None:
        """A pointer variable to `count` elements of the register type of `dtype`. None where it does not fit and is
        not required."""
        carried = dtype.accumulator
        end = self.nbytes + count * carried.itemsize
        if end > self._limit and not required:
            return None
        name = self._source.fresh(hint)
        self._source.line(f"{name} = scratch_{carried}(scratch, {self.nbytes})", depth=0)
        self.nbytes = -(-end // _ALIGNMENT) * _ALIGNMENT
        return name
