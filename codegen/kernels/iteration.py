"""How a kernel walks its iteration space: which axes join into one loop, and how loops are cut into work units.

The units depend on shapes and access patterns alone, never on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from graphc.codegen.index import Index, unravel
from graphc.codegen.source import Source

UNIT_BYTES = 128 << 10  # what a unit of work reads and writes, roughly: a few microseconds of it
TRANSPOSED_TILE = (32, 64)  # rows and columns of a unit whose operands are read across the rows


@dataclass(frozen=True)
class Axis:
    """A loop over consecutive dimensions of a shape, joined into one."""

    dims: tuple[int, ...]
    size: int


def probe_variables(source: Source, shape: Sequence[int]) -> tuple[Index, ...]:
    """One variable for each dimension, in nested blocks that stay open: for a dry run that looks at access patterns."""
    found = []
    for dim, size in enumerate(shape):
        depth = source.begin(f"for d{dim} in range({size}):")
        found.append(Index.variable(f"d{dim}", 0, max(size - 1, 0), depth))
    return tuple(found)


def join_axes(shape: Sequence[int], used: Collection[Index], apart: Collection[int] = ()) -> list[Axis]:
    """Join neighbouring dimensions, named d0, d1, ... in `used`, wherever every index treats them as one. Dimensions
    of size 1 are left out; those in `apart` do not join those that are not."""
    parts = [part for index in used for part in index.linear_parts()]
    axes: list[Axis] = []
    for dim, size in enumerate(shape):
        if size == 1:
            continue
        last = axes[-1].dims[-1] if axes else None
        joins = last is not None and (last in apart) == (dim in apart)
        if joins and all(p.coefficient(f"d{last}") == p.coefficient(f"d{dim}") * size for p in parts):
            axes[-1] = Axis((*axes[-1].dims, dim), axes[-1].size * size)
        else:
            axes.append(Axis((dim,), size))
    return axes


def unit_strides(axis: Axis, places: Sequence[Index]) -> int:
    """How many of the places, in terms of d0, d1, ..., move by one element from step to step along the axis."""
    return sum(abs(place.coefficient(f"d{axis.dims[-1]}")) == 1 for place in places) if axis.dims else 0


def best_last(axes: Sequence[Axis], places: Sequence[Index]) -> list[Axis]:
    """The axes, with the one of most unit strides (of equals, the last) moved to the end."""
    if not axes:
        return []
    best = max(reversed(axes), key=lambda axis: unit_strides(axis, places))
    return [*(a for a in axes if a is not best), best]


def index_over(shape: Sequence[int], axes: Sequence[Axis], variables: Sequence[Index]) -> tuple[Index, ...]:
    """The index of the shape at which each axis has the value of its variable."""
    index = [Index.of(0)] * len(shape)
    for axis, variable in zip(axes, variables, strict=True):
        for dim, i in zip(axis.dims, unravel(variable, [shape[d] for d in axis.dims]), strict=True):
            index[dim] = i
    return tuple(index)


@dataclass(frozen=True)
class Grid:
    """A space of `rows` (outer axes, flattened) by `columns` (one inner axis), cut into units of `tile_rows` by
    `tile_columns`; those at the edges may be smaller."""

    rows: int
    columns: int
    tile_rows: int
    tile_columns: int

    @property
    def row_blocks(self) -> int:
        return -(-self.rows // self.tile_rows)

    @property
    def column_blocks(self) -> int:
        return -(-self.columns // self.tile_columns)

    @property
    def units(self) -> int:
        return self.row_blocks * self.column_blocks

    @contextmanager
    def unit(self, source: Source) -> Iterator[tuple[Index, Index]]:
        """Open the loop over units; yields the indices of the block of rows and of the block of columns."""
        with source.block("for unit in range(lo, hi):") as depth:
            yield self.blocks(source, Index.variable("unit", 0, self.units - 1, depth))

    def blocks(self, source: Source, unit: Index) -> tuple[Index, Index]:
        """The block of rows and the block of columns of a unit of this grid."""
        if self.row_blocks == 1:
            return Index.of(0), unit
        if self.column_blocks == 1:
            return unit, Index.of(0)
        depth = source.depth
        source.line(f"row_block = {(unit // self.column_blocks).text}")
        source.line(f"column_block = {(unit % self.column_blocks).text}")
        return (
            Index.variable("row_block", 0, self.row_blocks - 1, depth),
            Index.variable("column_block", 0, self.column_blocks - 1, depth),
        )

    @contextmanager
    def row_loop(self, source: Source, block: Index, name: str) -> Iterator[Index]:
        """Loop over the rows of a unit."""
        with tile_loop(source, name, block, self.tile_rows, self.rows) as row:
            yield row

    @contextmanager
    def column_loop(self, source: Source, block: Index, name: str) -> Iterator[Index]:
        """Loop over the columns of a unit."""
        with tile_loop(source, name, block, self.tile_columns, self.columns) as column:
            yield column


@contextmanager
def tile_loop(source: Source, name: str, block: Index, tile: int, size: int) -> Iterator[Index]:
    """Loop over tile number `block` of an axis; yields the variable."""
    start = block * tile
    fits = start.high + tile <= size
    if tile == 1 and fits:
        yield block  # the block is the place: no loop
        return
    stop = f"{(start + tile).text}"
    if not fits:
        stop = f"{size}" if start.known is not None else f"minimum({stop}, {size})"
    with source.block(f"for {name} in range({'' if start.known == 0 else start.text + ', '}{stop}):") as depth:
        yield Index.variable(name, 0, size - 1, depth)


def split_rows(source: Source, axes: Sequence[Axis], row: Index) -> list[Index]:
    """The variables of the outer axes at a flattened row."""
    if len(axes) < 2:
        return [row] * len(axes)
    found = []
    for axis, index in zip(axes, unravel(row, [a.size for a in axes]), strict=True):
        name = f"i{axis.dims[0]}"
        source.line(f"{name} = {index.text}", depth=index.depth)
        found.append(Index.variable(name, 0, axis.size - 1, index.depth))
    return found


def flat_grid(columns: int, element_bytes: int) -> Grid:
    """One loop cut into units."""
    return Grid(1, columns, 1, best_tile(columns, elements_per_unit(element_bytes)))


def nested_grid(rows: int, columns: int, element_bytes: int, transposed: bool = False) -> Grid:
    """Rows by columns; `transposed` where operands are read across the rows."""
    if transposed:
        return Grid(rows, columns, min(rows, TRANSPOSED_TILE[0]), min(columns, TRANSPOSED_TILE[1]))
    elements = elements_per_unit(element_bytes)
    if columns > elements:
        return Grid(rows, columns, 1, best_tile(columns, elements))
    return Grid(rows, columns, best_tile(rows, max(1, elements // max(columns, 1))), max(columns, 1))


def elements_per_unit(element_bytes: int) -> int:
    """How many elements make up a unit of work: a power of two."""
    return 1 << int(math.log2(max(256, UNIT_BYTES // max(1, element_bytes))))


def best_tile(size: int, wanted: int) -> int:
    """A tile size: about `wanted`, preferably a divisor of `size`, so that there is no smaller unit at the edge."""
    if size <= wanted:
        return max(size, 1)
    step = 64 if wanted >= 128 else 1
    for tile in range(wanted, wanted // 2, -step):
        if size % tile == 0:
            return tile
    return wanted
