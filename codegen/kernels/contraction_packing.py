"""How the micro-kernel gets at the operands: where they lie, or packed into scratch memory.

Packing computes the prologue, converts element types, and lays the elements out in panels as wide as a register tile,
in the order in which the micro-kernel reads them. Columns beyond the edge are zeros in the right operand's: they fill
lanes whose results nobody reads.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc.codegen.expression import Elements, Expression
from graphc.codegen.index import Index
from graphc.codegen.kernels.contraction_loops import Span, let, loop, pointer, when
from graphc.codegen.kernels.contraction_plan import Roles, Side, address, runs_along_k, strides_of
from graphc.codegen.kernels.contraction_tiles import Tiling
from graphc.codegen.kernels.scratch import Scratch
from graphc.codegen.source import Source
from graphc.ir.graph import Value

_FAR_APART = 2048  # bytes between rows of which a register tile reads a few elements each: rather copy them together
_OFTEN_ENOUGH = 32  # steps
_MANY_PANELS = 16
_STEPS = 16  # computed at a time
_SHALLOW = 96  # steps of k
_CLASH = 512  # bytes: rows at multiples of it share few sets of a cache


class Reader:
    """An operand's elements in the kernel at hand."""

    def __init__(self, elements: Elements, roles: Roles, side: Side, slots: Mapping[Value, int]):
        self.elements = elements
        self.source: Source = elements.source
        self.roles = roles
        self.side = side
        self._slots = slots
        self.dtype = roles.accumulator

    def element(self, batch: Index, own: Index, k: Index) -> Expression:
        """The element, computed."""
        return self.elements.of(self.side.value, self.roles.operand_index(self.side, batch, own, k))

    def place(self, batch: Index, own: Index, k: Index) -> str:
        """The pointer to the element of an operand that has strides."""
        found = address(self.side.value, self.roles.operand_index(self.side, batch, own, k))
        assert found is not None
        return pointer(f"p{self._slots[found[0]]}", found[1])


class InPlace:
    """An operand that is read where it lies.

    This class and the one below are what the micro-kernel may be given: `prepare` writes the statements that pack what
    a unit needs of one block of k; `tile` is the pointer to the first element of a register tile, by its number in the
    block; `row` and `step` are the distances between neighbours along m (or n) and along k, `next` that between tiles.
    """

    def __init__(self, reader: Reader, width: int, row: int, step: int):
        self._reader = reader
        self._width = width
        self.row = row
        self.step = step
        self.next = width * row

    def prepare(self, batch: Index, own: Span, k: Span) -> None:
        pass

    def tile(self, batch: Index, own: Span, number: Index, k: Span) -> str:
        return self._reader.place(batch, own.at(number * self._width), k.first)


class PackedPanels:
    """An operand in panels as wide as a register tile: a row of `width` elements per step of k, the panels of `block`
    elements along m (or n) at a time.

    Elements that are neighbours along k are turned in registers, straight from memory or from a few rows that are
    computed first. Others are copied, or computed: in place where panels are whole vectors, else a few steps of all
    panels at a time, so that this is vector code too."""

    row = 1

    def __init__(self, reader: Reader, scratch: Scratch, tiling: Tiling, name: str, width: int, block: int):
        roles, side = reader.roles, reader.side
        lanes, k = tiling.lanes, roles.extent(roles.k)
        self.step = width
        self._reader = reader
        self._lanes = lanes
        self._name = name
        self._edge = roles.extent(side.own) % width
        self._block = min(roles.extent(side.own), block)
        self._whole = width % lanes == 0  # vectors; an edge is filled up to one
        self._turn = runs_along_k(roles, side) and k >= lanes
        self._room = -(-tiling.k_block // lanes) * lanes if self._turn else tiling.k_block
        self.next = self._room * width
        panels = -(-self._block // width)
        # Turned rows are stored as whole vectors: the next row overwrites what is too much, or it lies in this rest.
        self._buffer = scratch.take(reader.dtype, panels * self.next + -width % lanes, name)
        # Turned in whole blocks of lanes x lanes: straight from memory only if that reads nothing beyond the end of k.
        strides = strides_of(roles, side)
        self._straight = strides.own if strides is not None and strides.k == 1 and k % lanes == 0 else None
        self._copied = strides.k if strides is not None and strides.own == 1 else None
        self._rows = ""
        if self._turn and self._straight is None:
            self._rows = scratch.take(reader.dtype, lanes * self._room, "rows")
        self._steps = ""
        if not self._turn and self._copied is None and not self._whole:
            self._steps = scratch.take(reader.dtype, _STEPS * self._block, "steps")

    def prepare(self, batch: Index, own: Span, k: Span) -> None:
        source = self._reader.source
        source.comment(f"pack the {self._name} operand")
        if self._steps:
            self._computed(batch, own, k)
            return
        if own.tiles.high > 0:
            with loop(source, "panel", own.tiles) as panel:
                self._panel(batch, own, k, panel, self.step)
        if own.has_edge is not False:
            with when(source, own.has_edge):
                self._panel(batch, own, k, own.tiles, self._edge)

    def tile(self, batch: Index, own: Span, number: Index, k: Span) -> str:
        return pointer(self._buffer, number * self.next)

    def _panel(self, batch: Index, own: Span, k: Span, number: Index, columns: int) -> None:
        source, lanes = self._reader.source, self._lanes
        base = let(source, "base", number * self.next)
        first = number * self.step
        if not self._turn:
            self._copy(batch, own, k, first, base, columns)
            return
        whole, rest = divmod(columns, lanes)
        if rest:
            self._turned(batch, own, k, first + whole * lanes, base + whole * lanes, rest)
        if whole:
            with loop(source, "v", whole) as vector:
                self._turned(batch, own, k, first + vector * lanes, base + vector * lanes, lanes)

    def _computed(self, batch: Index, own: Span, k: Span) -> None:
        """Compute some steps of the whole block, then share them out to the panels."""
        source = self._reader.source
        with loop(source, "chunk", (k.size + _STEPS - 1) // _STEPS) as chunk:
            before = chunk * _STEPS
            source.line(f"steps = minimum({_STEPS}, {(k.size - before).text})")
            steps = Index.variable("steps", 1, _STEPS, source.depth)
            with loop(source, "s", steps) as s, loop(source, "i", own.size) as i:
                element = self._reader.element(batch, own.at(i), k.at(before + s))
                source.line(f"{self._steps}[{(s * self._block + i).text}] = {element.text}")

            def copy(number: Index, columns: int) -> None:
                origin = pointer(self._steps, number * self.step)
                target = pointer(self._buffer, number * self.next + before * self.step)
                shape = f"{columns}, {columns}"
                source.line(f"copy_panel({shape}, {origin}, {self._block}, {target}, {self.step}, {steps.text})")

            if own.tiles.high > 0:
                with loop(source, "panel", own.tiles) as panel:
                    copy(panel, self.step)
            if own.has_edge is not False:
                with when(source, own.has_edge):
                    copy(own.tiles, self._edge)

    def _copy(self, batch: Index, own: Span, k: Span, first: Index, base: Index, columns: int) -> None:
        source = self._reader.source
        padding = -columns % self._lanes if self._whole else 0
        if self._copied is not None:
            origin, target = self._reader.place(batch, own.at(first), k.first), pointer(self._buffer, base)
            shape = f"{columns + padding}, {columns}"
            source.line(f"copy_panel({shape}, {origin}, {self._copied}, {target}, {self.step}, {k.size.text})")
            return
        with loop(source, "s", k.size) as s:
            with loop(source, "j", columns) as j:
                element = self._reader.element(batch, own.at(first + j), k.at(s))
                source.line(f"{self._buffer}[{(base + s * self.step + j).text}] = {element.text}")
            if padding:
                zero = self._reader.elements.constant(0, self._reader.dtype)
                with loop(source, "j", padding) as j:
                    place = base + s * self.step + j + columns
                    source.line(f"{self._buffer}[{place.text}] = {zero.text}")

    def _turned(self, batch: Index, own: Span, k: Span, first: Index, base: Index, columns: int) -> None:
        """Lay `columns` <= lanes columns out side by side."""
        source, lanes = self._reader.source, self._lanes
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
) -> InPlace | PackedPanels:
    """The left operand: in place where it has strides, unless that would touch many places far apart, many times, each
    step of k or each row of a tile."""
    side = roles.left
    reader = Reader(elements, roles, side, slots)
    n, k = roles.extent(roles.right.own), roles.extent(roles.k)
    strides = strides_of(roles, side)
    if strides is not None:
        far, far_rows = (abs(x) * roles.accumulator.itemsize >= _FAR_APART for x in (strides.k, strides.own))
        spread = far and k >= _OFTEN_ENOUGH and n > 2 * tiling.panel
        if not (spread or (far_rows and tiling.n_block >= _MANY_PANELS * tiling.panel)):
            return InPlace(reader, tiling.rows, strides.own, strides.k)
    return PackedPanels(reader, scratch, tiling, "left", tiling.rows, tiling.m_part)


def right_operand(
    elements: Elements, roles: Roles, slots: Mapping[Value, int], scratch: Scratch, tiling: Tiling
) -> InPlace | PackedPanels:
    """The right operand: in place where its columns are neighbours, fill vectors, and either are used a few times only
    or are so few that they stay in the first cache as they lie."""
    side = roles.right
    reader = Reader(elements, roles, side, slots)
    m, n = roles.extent(roles.left.own), roles.extent(side.own)
    strides = strides_of(roles, side)
    rarely = strides is not None and strides.own == 1 and n % tiling.lanes == 0 and m <= 2 * tiling.rows
    if strides is not None and (rarely or lies_well(roles, tiling.lanes)):
        return InPlace(reader, tiling.panel, 1, strides.k)
    return PackedPanels(reader, scratch, tiling, "right", tiling.panel, tiling.n_block)
