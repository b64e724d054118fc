"""The loops around the micro-kernel: what a unit of work covers, and how its parts are named in kernel source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from graphc.codegen.index import Condition, Index, unravel
from graphc.codegen.source import Source


class Cut(Protocol):
    """What all tilings say: the extents of a unit's block and of a tile, along m and n."""

    @property
    def m_block(self) -> int: ...

    @property
    def n_block(self) -> int: ...

    @property
    def rows(self) -> int: ...

    @property
    def panel(self) -> int: ...


@dataclass(frozen=True)
class Span:
    """A block along one flat index: `size` elements from `first` on, out of `extent`. It holds `tiles` whole register
    tiles, and one smaller one where `has_edge` holds."""

    first: Index
    size: Index
    extent: int
    tiles: Index
    has_edge: bool | Condition

    def at(self, inside: Index) -> Index:
        """The flat index of the block's element number `inside`."""
        return (self.first + inside).within(0, self.extent - 1)


def n_blocks(extent: int, block: int) -> int:
    """How many blocks an extent is cut into."""
    return -(-extent // block)


@contextmanager
def unit_loop(source: Source, batch: int, m: int, n: int, tiling: Cut) -> Iterator[tuple[Index, Span, Span]]:
    """Open the loop over units; yields the batch and the blocks along m and n. Neighbouring units share columns."""
    grid = (batch, n_blocks(n, tiling.n_block), n_blocks(m, tiling.m_block))
    with source.block("for unit in range(lo, hi):") as depth:
        unit = Index.variable("unit", 0, grid[0] * grid[1] * grid[2] - 1, depth)
        batch_index, n_index, m_index = unravel(unit, grid)
        n_index, m_index = let(source, "n_index", n_index), let(source, "m_index", m_index)
        rows = span(source, "m", m_index, m, tiling.m_block, tiling.rows)
        columns = span(source, "n", n_index, n, tiling.n_block, tiling.panel)
        yield let(source, "batch", batch_index), rows, columns


def span(source: Source, name: str, index: Index, extent: int, block: int, tile: int) -> Span:
    """The block of that index, with statements that name its first element, size and number of whole tiles."""
    first = let(source, f"{name}_first", index * block)
    last = n_blocks(extent, block) - 1
    if extent % block == 0 or last == 0:
        size = Index.of(min(block, extent))
    else:
        depth = source.depth
        source.line(f"{name}_size = minimum({block}, {(extent - first).text})")
        size = Index.variable(f"{name}_size", extent - last * block, block, depth)
    tiles = let(source, f"{name}_tiles", size // tile)
    return Span(first, size, extent, tiles, (index == last) if extent % tile else False)


@contextmanager
def parts(source: Source, whole: Span, size: int, tile: int) -> Iterator[tuple[Span, Index]]:
    """Open the loop over the parts of a block of rows, of `size` elements, a whole number of tiles, but for the last
    one; yields the part and where it begins in the block. None is opened where one part holds all."""
    if whole.size.high <= size:
        yield whole, Index.of(0)
        return
    with loop(source, "part", (whole.size + size - 1) // size) as part:
        before = part * size
        first = let(source, "part_first", whole.at(before))
        source.line(f"part_size = minimum({size}, {(whole.size - before).text})")
        own = Index.variable("part_size", 1, size, source.depth)
        tiles = let(source, "part_tiles", own // tile)
        has_edge = (first + own == whole.extent) if whole.extent % tile else False
        yield Span(first, own, whole.extent, tiles, has_edge), before


def let(source: Source, name: str, index: Index) -> Index:
    """Name an index, unless it is as simple as a name."""
    if index.known is not None or index.is_atomic:
        return index
    source.line(f"{name} = {index.text}")
    return Index.variable(name, index.low, index.high, source.depth)


@contextmanager
def loop(source: Source, name: str, count: Index | int) -> Iterator[Index]:
    """Open a loop of `count` rounds, at least one of them possible; none is needed for a single round."""
    count = Index.of(count)
    if count.known == 1:
        yield count * 0
        return
    with source.block(f"for {name} in range({count.text}):") as depth:
        yield Index.variable(name, 0, count.high - 1, depth)


@contextmanager
def when(source: Source, condition: bool | Condition) -> Iterator[None]:
    """Open a block that runs where a condition holds that is not known to be false."""
    if condition is True:
        yield
        return
    assert isinstance(condition, Condition)
    with source.block(f"if {condition.text}:", guard=True):
        yield


def pointer(name: str, place: Index) -> str:
    """The pointer to an element."""
    return name if place.known == 0 else f"offset({name}, {place.text})"
