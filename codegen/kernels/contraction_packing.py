"""How the micro-kernel gets at the operands: where they lie, or packed into scratch memory.

Packing computes the prologue, converts element types, and lays the elements out for the micro-kernel. The left operand
keeps its own direction, so that packing it runs along memory; the right one is laid out in panels as wide as a register
tile. Columns beyond the edge are zeros there: they fill lanes whose results nobody reads.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc.codegen.expression import Elements, Expression
from graphc.codegen.index import Index
from graphc.codegen.kernels.contraction_loops import Span, let, loop, pointer, when
from graphc.codegen.kernels.contraction_plan import Roles, Side, Strides, address, runs_along_k, strides_of
from graphc.codegen.kernels.contraction_tiles import Tiling
from graphc.codegen.kernels.scratch import Scratch
from graphc.codegen.source import Source
from graphc.ir.graph import Value

_FAR_APART = 2048  # bytes between rows of which a register tile reads a few elements each: rather copy them together
_OFTEN_ENOUGH = 32
_SHALLOW = 96  # steps of k
_CLASH = 512  # bytes: rows at multiples of it share few sets of a cache


class Reader:
    """An operand's elements in the kernel at hand."""

    def __init__(self, elements: Elements, roles: Roles, side: Side, slots: Mapping[Value, int]):
        self.elements = elements
        self.source: Source = elements.source
        self._roles = roles
        self._side = side
        self._slots = slots
        self.dtype = roles.accumulator

    def element(self, batch: Index, own: Index, k: Index) -> Expression:
        """The element, computed."""
        return self.elements.of(self._side.value, self._roles.operand_index(self._side, batch, own, k))

    def place(self, batch: Index, own: Index, k: Index) -> str:
        """The pointer to the element of an operand that has strides."""
        found = address(self._side.value, self._roles.operand_index(self._side, batch, own, k))
        assert found is not None
        return pointer(f"p{self._slots[found[0]]}", found[1])


class InPlace:
    """An operand that is read where it lies.

    This class and the two below are what the micro-kernel may be given: `prepare` writes the statements that pack what
    a unit needs of one block of k; `tile` is the pointer to the first element of a register tile, by its number in the
    block; `row` and `step` are the distances between neighbours along m (or n) and along k.
    """

    def __init__(self, reader: Reader, width: int, row: int, step: int):
        self._reader = reader
        self._width = width
        self.row = row
        self.step = step

    def prepare(self, batch: Index, own: Span, k: Span) -> None:
        pass

    def tile(self, batch: Index, own: Span, number: Index, k: Span) -> str:
        return self._reader.place(batch, own.at(number * self._width), k.first)


class PackedRows:
    """The left operand, copied block by block in the direction in which its elements are neighbours."""

    def __init__(self, reader: Reader, scratch: Scratch, tiling: Tiling, m: int, along_k: bool):
        rows, steps = min(m, tiling.m_block), tiling.k_block
        self._reader = reader
        self._along_k = along_k
        self._width = tiling.rows
        self.row, self.step = (steps, 1) if along_k else (1, rows)
        self._buffer = scratch.take(reader.dtype, rows * steps, "left")

    def prepare(self, batch: Index, own: Span, k: Span) -> None:
        source = self._reader.source
        source.comment("pack the left operand")
        outer, inner = (("i", own.size), ("s", k.size)) if self._along_k else (("s", k.size), ("i", own.size))
        with loop(source, *outer) as first, loop(source, *inner) as second:
            i, s = (first, second) if self._along_k else (second, first)
            element = self._reader.element(batch, own.at(i), k.at(s))
            place = i * self.row + s * self.step
            source.line(f"{self._buffer}[{place.text}] = {element.text}")

    def tile(self, batch: Index, own: Span, number: Index, k: Span) -> str:
        return pointer(self._buffer, number * (self._width * self.row))


class PackedPanels:
    """The right operand, in panels of one row of `tiling.panel` elements per step of k. Where its elements are
    neighbours along k, they are turned in registers: straight from memory, or from a few rows that are computed first.
    """

    row = 1

    def __init__(
        self,
        reader: Reader,
        scratch: Scratch,
        tiling: Tiling,
        n: int,
        k: int,
        along_k: bool,
        strides: Strides | None,
    ):
        self._reader = reader
        self._tiling = tiling
        self._edge = n % tiling.panel
        self.step = tiling.panel
        lanes = tiling.lanes
        self._turn = along_k and k >= lanes
        self._room = -(-tiling.k_block // lanes) * lanes if self._turn else tiling.k_block
        panels = -(-min(n, tiling.n_block) // tiling.panel)
        self._buffer = scratch.take(reader.dtype, panels * self._room * tiling.panel, "right")
        # Turned in whole blocks of lanes x lanes: straight from memory only if that reads nothing beyond the end of k.
        self._straight = strides.own if strides is not None and strides.k == 1 and k % lanes == 0 else None
        self._rows = ""
        if self._turn and self._straight is None:
            self._rows = scratch.take(reader.dtype, lanes * self._room, "rows")

    def prepare(self, batch: Index, own: Span, k: Span) -> None:
        source = self._reader.source
        source.comment("pack the right operand")
        if own.tiles.high > 0:
            with loop(source, "panel", own.tiles) as panel:
                self._panel(batch, own, k, panel, self._tiling.panel)
        if own.has_edge is not False:
            with when(source, own.has_edge):
                self._panel(batch, own, k, own.tiles, self._edge)

    def tile(self, batch: Index, own: Span, number: Index, k: Span) -> str:
        return pointer(self._buffer, number * (self._room * self.step))

    def _panel(self, batch: Index, own: Span, k: Span, number: Index, columns: int) -> None:
        source, lanes = self._reader.source, self._tiling.lanes
        base = let(source, "base", number * (self._room * self.step))
        first = number * self.step
        if not self._turn:
            self._copy(batch, own, k, first, base, columns)
            return
        whole, rest = divmod(columns, lanes)
        if whole:
            with loop(source, "v", whole) as vector:
                self._turned(batch, own, k, first + vector * lanes, base + vector * lanes, lanes)
        if rest:
            self._turned(batch, own, k, first + whole * lanes, base + whole * lanes, rest)

    def _copy(self, batch: Index, own: Span, k: Span, first: Index, base: Index, columns: int) -> None:
        source = self._reader.source
        with loop(source, "s", k.size) as s:
            with loop(source, "j", columns) as j:
                element = self._reader.element(batch, own.at(first + j), k.at(s))
                source.line(f"{self._buffer}[{(base + s * self.step + j).text}] = {element.text}")
            padding = -columns % self._tiling.lanes
            if padding:
                zero = self._reader.elements.constant(0, self._reader.dtype)
                with loop(source, "j", padding) as j:
                    place = base + s * self.step + j + columns
                    source.line(f"{self._buffer}[{place.text}] = {zero.text}")

    def _turned(self, batch: Index, own: Span, k: Span, first: Index, base: Index, columns: int) -> None:
        """Lay `columns` <= lanes columns out side by side."""
        source, lanes = self._reader.source, self._tiling.lanes
        if self._straight is None:
            with loop(source, "j", columns) as j, loop(source, "s", k.size) as s:
                element = self._reader.element(batch, own.at(first + j), k.at(s))
                source.line(f"{self._rows}[{(j * self._room + s).text}] = {element.text}")
        if self._straight is None:
            origin, stride = self._rows, self._room
        else:
            origin, stride = self._reader.place(batch, own.at(first), k.first), self._straight
        target = pointer(self._buffer, base)
        source.line(f"transpose_tile({lanes}, {columns}, {origin}, {stride}, {target}, {self.step}, {k.size.text})")


def lies_well(roles: Roles, lanes: int) -> bool:
    """Whether panels of the right operand need no packing: whole vectors side by side, few rows of them, and those not
    at distances that drive each other out of the cache."""
    if not 0 < roles.extent(roles.k) <= _SHALLOW or roles.extent(roles.right.own) % lanes:
        return False
    strides = strides_of(roles, roles.right)
    if strides is None or strides.own != 1:
        return False
    return strides.k * roles.accumulator.itemsize % _CLASH != 0


def left_operand(
    elements: Elements, roles: Roles, slots: Mapping[Value, int], scratch: Scratch, tiling: Tiling
) -> InPlace | PackedRows:
    """The left operand: in place where it has strides, unless that would touch many places far apart, many times."""
    side = roles.left
    reader = Reader(elements, roles, side, slots)
    m, n, k = (roles.extent(letters) for letters in (side.own, roles.right.own, roles.k))
    strides = strides_of(roles, side)
    if strides is not None:
        far = abs(strides.k) * roles.accumulator.itemsize >= _FAR_APART
        if not (far and k >= _OFTEN_ENOUGH and n > 2 * tiling.panel):
            return InPlace(reader, tiling.rows, strides.own, strides.k)
    return PackedRows(reader, scratch, tiling, m, runs_along_k(roles, side))


def right_operand(
    elements: Elements, roles: Roles, slots: Mapping[Value, int], scratch: Scratch, tiling: Tiling
) -> InPlace | PackedPanels:
    """The right operand: in place where its columns are neighbours, fill vectors, and either are used a few times only
    or are so few that they stay in the first cache as they lie."""
    side = roles.right
    reader = Reader(elements, roles, side, slots)
    m, n, k = (roles.extent(letters) for letters in (roles.left.own, side.own, roles.k))
    strides = strides_of(roles, side)
    rarely = strides is not None and strides.own == 1 and n % tiling.lanes == 0 and m <= 2 * tiling.rows
    if strides is not None and (rarely or lies_well(roles, tiling.lanes)):
        return InPlace(reader, tiling.panel, 1, strides.k)
    return PackedPanels(reader, scratch, tiling, n, k, runs_along_k(roles, side), strides)
