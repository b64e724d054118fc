"""Dot products of a few rows with many: `dot_kernel` of the kernel language, as LLVM.

Where both operands of a contraction lie along the summed index and one of them has few rows, turning the other to make
columns its lanes would cost more than the products. Here the lanes run along the summed index: a tile of `rows` x
`columns` accumulators, each a vector of partial sums, which are added up lane by lane at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from graphc.codegen import llvm_values as lv
from graphc.codegen import vector_code as vc
from graphc.codegen.plain import fma

Array = np.ndarray[Any, Any]
Sums = dict[tuple[int, int], lv.Value]  # by row and column


def dot_kernel_function(
    module: ir.Module,
    element: ir.Type,
    rows: int,
    columns: int,
    steps: int,
    lanes: int,
    rest: int,
    a_row: int,
    b_row: int,
    tile_row: int,
    tile_column: int,
) -> ir.Function:
    """`void f(a, b, tile, i64 tiles, i64 depth, i1 accumulate)`, made once per module and variant.

    tile[r * tile_row + c * tile_column] = sum over s < depth of a[r * a_row + s] * b[c * b_row + s], added to what the
    tile held where `accumulate` is set: for r < rows and c < columns, and so on for `tiles` tiles, each `columns`
    further along b. `depth` >= lanes is a multiple of `lanes`, a power of two, or that plus `rest`; nothing beyond the
    depth is read. `steps` vectors per row and round have accumulators of their own, where there are few cells.
    """
    pointer, vector = element.as_pointer(), ir.VectorType(element, lanes)
    name = f"dot_kernel_{element}_{rows}x{columns}x{steps}_{lanes}_{rest}_{a_row}_{b_row}_{tile_row}_{tile_column}"
    function, made = vc.internal(module, name, [pointer, pointer, pointer, lv.I64, lv.I64, lv.I1])
    if made:
        return function
    a, b, tile, tiles, depth, accumulate = function.args
    for argument in (a, b, tile):
        argument.add_attribute("noalias")
    blocks = (
        "entry",
        "tile",
        "wide",
        "between",
        "single",
        "after",
        "last",
        "done",
        "store",
        "update",
        "below",
        "leave",
    )
    entry, head, wide, between, single, after, last, done, store, update, below, leave = (
        function.append_basic_block(block) for block in blocks
    )
    cells = [(r, c) for r in range(rows) for c in range(columns)]
    zero = lv.constant(vector, 0)

    build = ir.IRBuilder(entry)
    whole = build.sub(depth, build.and_(depth, lv.I64(lanes - 1)))  # what whole vectors cover
    most = build.sub(whole, build.urem(whole, lv.I64(lanes * steps)))
    build.cbranch(build.icmp_signed(">", tiles, lv.I64(0)), head, leave)

    build.position_at_end(head)
    number, b_tile, tile_here = build.phi(lv.I64, "number"), build.phi(pointer, "b.tile"), build.phi(pointer, "tile")
    build.cbranch(build.icmp_signed(">", most, lv.I64(0)), wide, between)

    def phis() -> Sums:
        return {cell: build.phi(vector) for cell in cells}

    def prefetch(place: lv.Value, offset: int) -> None:
        """Ask for what the next tile will need: its rows may be far from this one's."""
        for c in range(columns):
            here = build.gep(b_tile, [place], source_etype=element)
            here = vc.at(build, here, (columns + c) * b_row + offset, element)
            vc.prefetch(build, here)

    def products(place: lv.Value, offset: int, sums: Sums, mask: lv.Value = None) -> Sums:
        """The sums and the products of the vectors `offset` beyond a place."""

        def vector_of(base: lv.Value, row: int) -> lv.Value:
            found = vc.load(build, build.gep(base, [place], source_etype=element), row + offset, vector)
            return found if mask is None else build.select(mask, found, zero)

        left = [vector_of(a, r * a_row) for r in range(rows)]
        right = [vector_of(b_tile, c * b_row) for c in range(columns)]
        return {(r, c): vc.multiply_add(build, left[r], right[c], sums[r, c]) for r, c in cells}

    build.position_at_end(wide)
    place = build.phi(lv.I64, "place")
    partial = [phis() for _ in range(steps)]
    for step in range(steps):
        prefetch(place, step * lanes)
    added = [products(place, step * lanes, partial[step]) for step in range(steps)]
    place_next = build.add(place, lv.I64(lanes * steps))
    vc.carry(place, (head, lv.I64(0)), (wide, place_next))
    for before, after_it in zip(partial, added, strict=True):
        for cell in cells:
            vc.carry(before[cell], (head, zero), (wide, after_it[cell]))
    build.cbranch(build.icmp_signed("<", place_next, most), wide, between)

    build.position_at_end(between)
    reached = [phis() for _ in range(steps)]
    for at_end, after_it in zip(reached, added, strict=True):
        for cell in cells:
            vc.carry(at_end[cell], (head, zero), (wide, after_it[cell]))
    joined = {cell: _tree(build, [sums[cell] for sums in reached]) for cell in cells}
    build.cbranch(build.icmp_signed("<", most, whole), single, after)

    build.position_at_end(single)
    place = build.phi(lv.I64, "place")
    before = phis()
    rising = products(place, 0, before)
    place_next = build.add(place, lv.I64(lanes))
    vc.carry(place, (between, most), (single, place_next))
    for cell in cells:
        vc.carry(before[cell], (between, joined[cell]), (single, rising[cell]))
    build.cbranch(build.icmp_signed("<", place_next, whole), single, after)

    build.position_at_end(after)
    summed = phis()
    for cell in cells:
        vc.carry(summed[cell], (between, joined[cell]), (single, rising[cell]))
    build.cbranch(build.icmp_signed("<", whole, depth), last, done)

    # The last vector ends where the rows end; what it has in common with the one before counts as zero.
    build.position_at_end(last)
    mask = ir.Constant(ir.VectorType(lv.I1, lanes), [int(lane >= lanes - rest) for lane in range(lanes)])
    ended = products(build.sub(depth, lv.I64(lanes)), 0, summed, mask) if rest else summed
    build.branch(done)

    build.position_at_end(done)
    final = phis()
    for cell in cells:
        vc.carry(final[cell], (after, summed[cell]), (last, ended[cell]))
    totals = [_across(build, [final[r, c] for c in range(columns)], lanes) for r in range(rows)]
    together = columns if tile_column == 1 else 1
    build.cbranch(accumulate, update, store)

    for block, adds in ((store, False), (update, True)):
        build.position_at_end(block)
        for r, total in enumerate(totals):
            for first in range(0, columns, together):
                at = r * tile_row + first * tile_column
                value = vc.shuffle(build, total, total, list(range(first, first + together)))
                value = vc.add(build, vc.load(build, tile_here, at, value.type), value) if adds else value
                vc.store(build, value, tile_here, at, value.type)
        build.branch(below)

    build.position_at_end(below)
    number_next = build.add(number, lv.I64(1))
    vc.carry(number, (entry, lv.I64(0)), (below, number_next))
    vc.carry(b_tile, (entry, b), (below, vc.at(build, b_tile, columns * b_row, element)))
    vc.carry(tile_here, (entry, tile), (below, vc.at(build, tile_here, columns * tile_column, element)))
    build.cbranch(build.icmp_signed("<", number_next, tiles), head, leave)

    build.position_at_end(leave)
    build.ret_void()
    return function


def _tree(build: ir.IRBuilder, vectors: list[lv.Value]) -> lv.Value:
    """The sum of vectors, neighbours first."""
    while len(vectors) > 1:
        pairs = [vc.add(build, x, y) for x, y in zip(vectors[::2], vectors[1::2], strict=False)]
        vectors = pairs + vectors[len(pairs) * 2 :]
    return vectors[0]


def _across(build: ir.IRBuilder, vectors: list[lv.Value], lanes: int) -> lv.Value:
    """The sums over the lanes of each vector, side by side in the first lanes of one. Each round adds neighbouring
    lanes, and packs what two vectors have left into one."""
    even, odd = list(range(0, 2 * lanes, 2)), list(range(1, 2 * lanes, 2))
    for _ in range(lanes.bit_length() - 1):
        pairs = [(vectors[i], vectors[min(i + 1, len(vectors) - 1)]) for i in range(0, len(vectors), 2)]
        vectors = [vc.add(build, vc.shuffle(build, x, y, even), vc.shuffle(build, x, y, odd)) for x, y in pairs]
    return vectors[0]


# --- the kernel language's name, as plain Python over NumPy arrays


def dot_kernel(
    rows: int,
    columns: int,
    steps: int,
    lanes: int,
    rest: int,
    a: Array,
    a_row: int,
    b: Array,
    b_row: int,
    tile: Array,
    tile_row: int,
    tile_column: int,
    tiles: int,
    depth: int,
    accumulate: bool,
) -> None:
    """What `dot_kernel_function` says; all but the pointers and the last three are literals in kernel source."""
    along, across = np.arange(rows)[:, None], np.arange(columns * tiles)
    partial = np.zeros((rows, columns * tiles, lanes), tile.dtype)
    with np.errstate(all="ignore"):
        for step in range(depth):
            left, right = a[along * a_row + step], b[across * b_row + step]
            total = partial[..., step % lanes]
            partial[..., step % lanes] = fma(left, right, total) if total.dtype.kind == "f" else left * right + total
        while partial.shape[2] > 1:
            partial = partial[..., ::2] + partial[..., 1::2]
        places = along * tile_row + across * tile_column
        tile[places] = tile[places] + partial[..., 0] if accumulate else partial[..., 0]


DOT_KERNELS: dict[str, Any] = {"dot_kernel": dot_kernel}

vc.teach_variants(dot_kernel, dot_kernel_function, (5, 7, 9), {12: types.int64, 13: types.int64, 14: types.boolean})
