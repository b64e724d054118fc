"""Sums of products of a few rows with many, both along the summed index, without turning either (see `dot_kernel`).

This is how a layer's forward pass runs on a small batch: the weights, [out, in], are gone through once, as they lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphc.codegen.expression import Elements, origin
from graphc.codegen.index import Index
from graphc.codegen.kernels.contraction_loops import Span, loop, n_blocks, pointer, span, when
from graphc.codegen.kernels.contraction_packing import Reader
from graphc.codegen.kernels.contraction_plan import Roles, Side, Strides, runs_along_k, strides_of
from graphc.codegen.kernels.contraction_sums import InScratch, Sums, in_result
from graphc.codegen.kernels.contraction_tiles import even_share, units_for
from graphc.codegen.kernels.scratch import Scratch
from graphc.ir.graph import Value
from graphc.ir.target import Target
from graphc.ir.types import DType

_FEW = 16
_FEW_TO_TURN = 4  # which each unit lays out along k, if they are not
_MOST_COLUMNS = 8
_MOST_ROWS = 8
_ROWS_THAT_CLASH = 4
_PAGE = 4096  # bytes
_LINE = 64
_ENOUGH_SUMS = 8  # independent ones, so that none waits for itself


@dataclass(frozen=True)
class DotTiling:
    """Tiles of `few` x `many` dot products, with `steps` accumulators of `lanes` each; `few_left`: whether the few are
    rows of the result. Blocks hold all of the few, `many_block` of the many, and `k_block` steps."""

    few_left: bool
    few: int
    many: int
    steps: int
    lanes: int
    few_extent: int
    many_block: int
    k_block: int

    @property
    def rows(self) -> int:
        """The tile's extent along m."""
        return self.few if self.few_left else self.many

    @property
    def panel(self) -> int:
        """The tile's extent along n."""
        return self.many if self.few_left else self.few

    @property
    def m_block(self) -> int:
        return self.few_extent if self.few_left else self.many_block

    @property
    def n_block(self) -> int:
        return self.many_block if self.few_left else self.few_extent


def dot_tiling(roles: Roles, target: Target) -> DotTiling | None:
    """How the contraction is cut; None where it is none for dot products: because it has many rows and columns, or
    little to sum, or because those of which it has many do not lie along k."""
    batch, m, n, k = (roles.extent(x) for x in (roles.batch, roles.left.own, roles.right.own, roles.k))
    few_left = m <= n
    sides = (roles.left, roles.right) if few_left else (roles.right, roles.left)
    few, many = (m, n) if few_left else (n, m)
    itemsize = roles.accumulator.itemsize
    lanes = min(target.lanes(itemsize), 16)
    if few > _FEW or k < 2 * lanes or not runs_along_k(roles, sides[1]):
        return None
    if few > _FEW_TO_TURN and not runs_along_k(roles, sides[0]):
        return None
    rows = -(-few // -(-few // _MOST_ROWS))
    columns = min(_MOST_COLUMNS, lanes)
    while columns > 1 and (columns // 2 >= many or rows * columns + min(rows, columns) + 1 > target.vector_registers):
        columns //= 2
    k_block = _k_block(k, max(8 * lanes, target.l1_bytes // 2 // (max(few, columns) * itemsize)), lanes)
    units = -(-units_for(batch * many * k * max(few / (2 * lanes), itemsize / 32)) // batch)
    room = target.l2_bytes // 2 // (k_block * itemsize)  # for rows that have to be laid out
    many_block = even_share(many, min(-(-many // units), room), columns)
    steps = max(1, _ENOUGH_SUMS // (rows * columns))
    return DotTiling(few_left, rows, columns, steps, lanes, few, many_block, k_block)


def _k_block(k: int, most: int, lanes: int) -> int:
    """A share of k of about `most`, of which also the last one holds a vector."""
    block = even_share(k, most, lanes)
    while 0 < k % block < lanes:
        block += lanes
    return min(block, k)


def _clash(strides: Strides, dtype: DType) -> bool:
    """Whether many rows fall on the same few sets of a cache, in which lines `_PAGE` bytes apart share one."""
    return strides.own * dtype.itemsize % (_PAGE // 8) == 0


class _Rows:
    """One operand, of which a unit needs `most` rows: they are `row` elements apart, each along k. `clash`: they are
    gone through again and again, so they should not drive each other out of the cache."""

    def __init__(
        self, reader: Reader, side: Side, roles: Roles, scratch: Scratch, most: int, k_block: int, clash: bool
    ):
        self._reader = reader
        strides = strides_of(roles, side)
        self._along_k = runs_along_k(roles, side)
        self._in_place = strides is not None and strides.k == 1 and not (clash and _clash(strides, reader.dtype))
        if strides is not None and self._in_place:
            self.row = strides.own
        else:
            self.row = k_block + _LINE // reader.dtype.itemsize
            self._buffer = scratch.take(reader.dtype, most * self.row, "rows")

    def prepare(self, batch: Index, own: Span, k: Span) -> None:
        """Write the statements that lay the elements out that a unit needs of one block of k."""
        if self._in_place:
            return
        source = self._reader.source
        source.comment("lay the rows out along k")
        outer, inner = (("i", own.size), ("s", k.size)) if self._along_k else (("s", k.size), ("i", own.size))
        with loop(source, *outer) as first, loop(source, *inner) as second:
            i, s = (first, second) if self._along_k else (second, first)
            element = self._reader.element(batch, own.at(i), k.at(s))
            source.line(f"{self._buffer}[{(i * self.row + s).text}] = {element.text}")

    def pointer(self, batch: Index, own: Span, i: Index, k: Span) -> str:
        """The pointer to the first element of a row of the unit's block."""
        if self._in_place:
            return self._reader.place(batch, own.at(i), k.first)
        return pointer(self._buffer, i * self.row)


class DotProducts:
    """For each block of k: multiply a unit's rows, tile by tile."""

    def __init__(
        self, elements: Elements, roles: Roles, slots: Mapping[Value, int], scratch: Scratch, tiling: DotTiling
    ):
        self.tiling = tiling
        self._source = elements.source
        self._roles = roles
        self._scratch = scratch
        self._sides = (roles.left, roles.right) if tiling.few_left else (roles.right, roles.left)
        self._readers = [Reader(elements, roles, side, slots) for side in self._sides]

    def sums(self, result: str | None) -> Sums:
        """Where to sum: in the parameter `result`, if its elements are evenly apart."""
        found = None if result is None else in_result(self._roles, result)
        return found or InScratch(self._roles, self._scratch, self.tiling.m_block, self.tiling.n_block)

    def write(self, batch: Index, rows: Span, columns: Span, sums: Sums) -> None:
        """Write the loops of one unit."""
        source, tiling = self._source, self.tiling
        few_span, many_span = (rows, columns) if tiling.few_left else (columns, rows)
        extent = self._roles.extent(self._roles.k)
        operands = [
            _Rows(reader, side, self._roles, self._scratch, most, tiling.k_block, clash)
            for reader, side, most, clash in zip(
                self._readers,
                self._sides,
                (tiling.few_extent, tiling.many_block),
                (tiling.few_extent > _ROWS_THAT_CLASH, False),
                strict=True,
            )
        ]
        few, many = operands
        blocks = n_blocks(extent, tiling.k_block)
        heights = [
            (first, min(tiling.few, tiling.few_extent - first)) for first in range(0, tiling.few_extent, tiling.few)
        ]
        with loop(source, "k_index", blocks) as k_index:
            k = span(source, "k", k_index, extent, tiling.k_block, 1)
            few.prepare(batch, few_span, k)
            many.prepare(batch, many_span, k)
            source.comment(f"{origin(self._roles.op)} sum the products".strip())
            accumulate = "False" if blocks == 1 else f"{k_index.text} > 0"
            distances = (sums.row, sums.column) if tiling.few_left else (sums.column, sums.row)

            def multiply(number: Index, width: int, tiles: Index) -> None:
                for first, height in heights:
                    places = (Index.of(first), number * tiling.many)
                    i, j = places if tiling.few_left else reversed(places)
                    source.line(
                        f"dot_kernel({height}, {width}, {tiling.steps}, {tiling.lanes}, {extent % tiling.lanes}, "
                        f"{few.pointer(batch, few_span, places[0], k)}, {few.row}, "
                        f"{many.pointer(batch, many_span, places[1], k)}, {many.row}, "
                        f"{sums.pointer(batch, rows, columns, i, j)}, {distances[0]}, {distances[1]}, "
                        f"{tiles.text}, {k.size.text}, {accumulate})"
                    )

            if many_span.tiles.high > 0 and len(heights) == 1:
                multiply(Index.of(0), tiling.many, many_span.tiles)
            elif many_span.tiles.high > 0:
                with loop(source, "number", many_span.tiles) as number:
                    multiply(number, tiling.many, Index.of(1))
            if many_span.has_edge is not False:
                with when(source, many_span.has_edge):
                    edge = many_span.extent % tiling.many
                    multiply(many_span.tiles, edge, Index.of(1))
