"""Loop kernels: every element of the results is computed on its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from graphc.codegen.expression import Elements
from graphc.codegen.index import Index
from graphc.codegen.kernel import Kernel
from graphc.codegen.kernels.iteration import (
    UNIT_BYTES,
    Axis,
    Grid,
    best_last,
    flat_grid,
    index_over,
    join_axes,
    nested_grid,
    probe_variables,
    split_rows,
    unit_strides,
)
from graphc.codegen.kernels.signature import describe, parameters, signature
from graphc.codegen.source import Source
from graphc.ir.graph import Block, Op
from graphc.ir.kernel_facts import loop_pieces, values_read
from graphc.ir.op_cost import work_per_element
from graphc.ir.target import Target

_WORK_PER_BYTE = 4  # additions that take about as long as moving a byte


def emit_loop(op: Op, slots: tuple[int, ...], target: Target) -> Kernel:
    """The kernel of a fused op of kind "loop". Its pieces (see `loop_pieces`) have units of their own, those of one
    after those of another; pieces of little work share a unit. Within a piece, neighbouring axes that every access
    treats as one become one loop; the innermost loop runs along the axis with the most unit-stride accesses."""
    (region,) = op.regions
    params = parameters(region, slots)
    source = Source(signature(params), describe(op, slots))
    elements = Elements(region, slots, source)
    numbers = [n for n in loop_pieces(region) if region.results[n[0]].type.size]
    groups = _share_units([_plan(region, slots, n) for n in numbers])
    total = sum(group[0].grid.units for group in groups)
    first = 0
    for group in groups:
        units = group[0].grid.units
        with _units(source, first, units, total) as unit:
            for piece in group:
                _emit(elements, piece, unit)
        first += units
    return Kernel(source.text(), params, total)


@dataclass(frozen=True)
class _Piece:
    """`numbers` are those of the results; `axes` the loops, outermost first; `nbytes` is what all of it takes, in time
    to move bytes."""

    numbers: tuple[int, ...]
    axes: tuple[Axis, ...]
    grid: Grid
    nbytes: int


def _share_units(pieces: Sequence[_Piece]) -> list[list[_Piece]]:
    """The pieces of several units, each by itself, then those of one, as many together as make up a unit."""
    groups = [[piece] for piece in pieces if piece.grid.units > 1]
    room = 0
    for piece in pieces:
        if piece.grid.units == 1:
            if piece.nbytes > room:
                groups.append([])
                room = UNIT_BYTES
            groups[-1].append(piece)
            room -= piece.nbytes
    return groups


@contextmanager
def _units(source: Source, first: int, count: int, total: int) -> Iterator[Index]:
    """Loop over those of the units to run that are among `count` from number `first` on; yields which of these."""
    low = f"maximum(lo, {first})" if first else "lo"
    high = f"minimum(hi, {first + count})" if first + count < total else "hi"
    with source.block(f"for unit in range({low}, {high}):") as depth:
        yield Index.variable("unit", first, first + count - 1, depth) - first


def _emit(elements: Elements, piece: _Piece, unit: Index) -> None:
    """The loops of one piece."""
    source, grid = elements.source, piece.grid
    *outer, _ = piece.axes
    row_block, column_block = grid.blocks(source, unit)
    shape = elements.region.results[piece.numbers[0]].type.shape
    with grid.row_loop(source, row_block, "row") as row:
        variables = split_rows(source, outer, row)
        with grid.column_loop(source, column_block, "j" if outer else "i") as column:
            _store_all(elements, piece.numbers, index_over(shape, piece.axes, [*variables, column]))


def _store_all(elements: Elements, numbers: Sequence[int], index: Sequence[Index]) -> None:
    """Compute the elements of the results of these numbers, then store them all: a result may take the place of an
    operand."""
    computed = [elements.of(elements.region.results[number], index) for number in numbers]
    for number, element in zip(numbers, computed, strict=True):
        elements.store(number, index, element)


def _plan(region: Block, slots: tuple[int, ...], numbers: tuple[int, ...]) -> _Piece:
    """The loops and units of the piece that computes the results of these numbers."""
    space = region.results[numbers[0]].type
    trial = Elements(region, slots, Source("trial"))
    _store_all(trial, numbers, probe_variables(trial.source, space.shape))
    axes = best_last(join_axes(space.shape, trial.used) or [Axis((), 1)], trial.places)
    inner = f"d{axes[-1].dims[-1]}" if axes[-1].dims else ""
    transposed = any(
        abs(place.coefficient(inner)) > 1 and any(unit_strides(a, [place]) for a in axes) for place in trial.places
    )
    element_bytes = _element_bytes(region, numbers)
    rows = math.prod(a.size for a in axes[:-1])
    if len(axes) > 1:
        grid = nested_grid(rows, axes[-1].size, element_bytes, transposed)
    else:
        grid = flat_grid(axes[-1].size, element_bytes)
    return _Piece(numbers, tuple(axes), grid, space.size * element_bytes)


def _element_bytes(region: Block, numbers: Sequence[int]) -> int:
    """What an element of the piece takes, in time to move bytes."""
    results = [region.results[number] for number in numbers]
    reads = values_read(region)
    needed = set().union(*(reads[result] for result in results))
    moved = [v for v in region.args if v in needed and 2 * v.type.size > results[0].type.size]
    work = sum(work_per_element(op).weight for op in region.ops if not needed.isdisjoint(op.results))
    return sum(v.type.dtype.itemsize for v in (*moved, *results)) + work // _WORK_PER_BYTE
