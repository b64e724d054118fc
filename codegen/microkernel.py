"""The register-tiled heart of a contraction, as LLVM: `micro_kernel`, `copy_panel` and `transpose_tile` of the kernel
language.

A micro-kernel holds a tile of `rows` x (`vectors` * `lanes`) accumulators in registers and adds one rank-1 update per
step of the summed index: it broadcasts an element of each row of A and multiplies it by the row of B, which it loads as
vectors. See Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), and Van Zee and van de
Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS Functionality" (2015). `copy_panel` packs what lies across the
summed index; where elements lie along it, `transpose_tile` turns them in registers while they are packed.

Each is a plain Python function over NumPy arrays, so that kernel source runs uncompiled; Numba is taught to call in its
place, an internal LLVM function of the kernel's module, made for the tile's shape and the strides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from graphc.codegen import llvm_values as lv
from graphc.codegen import vector_code as vc
from graphc.codegen.plain import fma

Array = np.ndarray[Any, Any]


def micro_kernel_function(
    module: ir.Module,
    element: ir.Type,
    rows: int,
    vectors: int,
    lanes: int,
    a_row: int,
    a_step: int,
    a_tile: int,
    b_step: int,
    tile_row: int,
) -> ir.Function:
    """`void f(a, b, tile, i64 tiles, i64 depth, i1 accumulate)`, made once per module and variant.

    tile[r * tile_row + c] = sum over s < depth of a[r * a_row + s * a_step] * b[s * b_step + c], added to what the tile
    held where `accumulate` is set: for r < rows and c < vectors * lanes, and so on for `tiles` tiles, one below the
    other, whose rows of A begin `a_tile` elements apart. Steps are summed in order, each with one rounding where the
    target has fused multiply-add. `tiles` >= 0, `depth` >= 1; no alignment beyond the element's is assumed.
    """
    pointer, vector = element.as_pointer(), ir.VectorType(element, lanes)
    name = f"micro_kernel_{element}_{rows}x{vectors * lanes}_{a_row}_{a_step}_{a_tile}_{b_step}_{tile_row}"
    function, made = vc.internal(module, name, [pointer, pointer, pointer, lv.I64, lv.I64, lv.I1])
    if made:
        return function
    a, b, tile, tiles, depth, accumulate = function.args
    for argument in (a, b, tile):
        argument.add_attribute("noalias")
    entry, head, loop, done, store, update, below, leave = (
        function.append_basic_block(block)
        for block in ("entry", "tile", "loop", "done", "store", "update", "below", "leave")
    )
    cells = [(r, v) for r in range(rows) for v in range(vectors)]
    zero = lv.constant(vector, 0)

    build = ir.IRBuilder(entry)
    build.cbranch(build.icmp_signed(">", tiles, lv.I64(0)), head, leave)

    build.position_at_end(head)
    number, a_first, tile_here = build.phi(lv.I64, "number"), build.phi(pointer, "a.first"), build.phi(pointer, "tile")
    build.branch(loop)

    build.position_at_end(loop)
    step = build.phi(lv.I64, "step")
    a_here, b_here = build.phi(pointer, "a"), build.phi(pointer, "b")
    sums = {cell: build.phi(vector) for cell in cells}
    b_row = [vc.load(build, b_here, v * lanes, vector) for v in range(vectors)]
    totals = {}
    for r in range(rows):
        splat = vc.splat(build, build.load(vc.at(build, a_here, r * a_row, element)), vector)
        for v in range(vectors):
            totals[r, v] = vc.multiply_add(build, splat, b_row[v], sums[r, v])
    step_next = build.add(step, lv.I64(1))
    vc.carry(step, (head, lv.I64(0)), (loop, step_next))
    vc.carry(a_here, (head, a_first), (loop, vc.at(build, a_here, a_step, element)))
    vc.carry(b_here, (head, b), (loop, vc.at(build, b_here, b_step, element)))
    for cell in cells:
        vc.carry(sums[cell], (head, zero), (loop, totals[cell]))
    build.cbranch(build.icmp_signed("<", step_next, depth), loop, done)

    build.position_at_end(done)
    build.cbranch(accumulate, update, store)

    for block, adds in ((store, False), (update, True)):
        build.position_at_end(block)
        for r, v in cells:
            at = r * tile_row + v * lanes
            total = vc.add(build, vc.load(build, tile_here, at, vector), totals[r, v]) if adds else totals[r, v]
            vc.store(build, total, tile_here, at, vector)
        build.branch(below)

    build.position_at_end(below)
    number_next = build.add(number, lv.I64(1))
    vc.carry(number, (entry, lv.I64(0)), (below, number_next))
    vc.carry(a_first, (entry, a), (below, vc.at(build, a_first, a_tile, element)))
    vc.carry(tile_here, (entry, tile), (below, vc.at(build, tile_here, rows * tile_row, element)))
    build.cbranch(build.icmp_signed("<", number_next, tiles), head, leave)

    build.position_at_end(leave)
    build.ret_void()
    return function


def copy_function(
    module: ir.Module, element: ir.Type, width: int, count: int, source_row: int, target_row: int
) -> ir.Function:
    """`void f(source, target, i64 length)`, made once per module and variant.

    target[j * target_row + i] = source[j * source_row + i] for i < count, and 0 for count <= i < width; for all j below
    `length`.
    """
    copied, filled = ir.VectorType(element, count), ir.VectorType(element, width - count)

    def row(build: ir.IRBuilder, source: lv.Value, target: lv.Value) -> None:
        vc.store(build, vc.load(build, source, 0, copied), target, 0, copied)
        if filled.count:
            vc.store(build, lv.constant(filled, 0), target, count, filled)

    name = f"copy_{element}_{count}x{width}_{source_row}_{target_row}"
    return _rounds(module, name, element, (1, source_row, target_row), row)


def transpose_function(
    module: ir.Module, element: ir.Type, lanes: int, count: int, source_row: int, target_row: int
) -> ir.Function:
    """`void f(source, target, i64 length)`, made once per module and variant.

    target[j * target_row + i] = source[i * source_row + j] for i < count, and 0 for count <= i < lanes; for all j below
    `length` rounded up to a multiple of `lanes`, which is a power of two.

    A block of lanes x lanes takes log2(lanes) rounds; round s swaps, between rows i and i + 2**s, the off-diagonal
    halves of blocks of 2**(s+1).
    """
    vector = ir.VectorType(element, lanes)

    def block(build: ir.IRBuilder, source: lv.Value, target: lv.Value) -> None:
        zero = lv.constant(vector, 0)
        rows = [vc.load(build, source, i * source_row, vector) if i < count else zero for i in range(lanes)]
        span = 1
        while span < lanes:
            low = [lane if not lane & span else lane - span + lanes for lane in range(lanes)]
            high = [lane + span if not lane & span else lane + lanes for lane in range(lanes)]
            for i in range(lanes):
                if not i & span:
                    first, second = rows[i], rows[i + span]
                    rows[i] = vc.shuffle(build, first, second, low)
                    rows[i + span] = vc.shuffle(build, first, second, high)
            span *= 2
        for j in range(lanes):
            vc.store(build, rows[j], target, j * target_row, vector)

    name = f"transpose_{element}_{count}x{lanes}_{source_row}_{target_row}"
    return _rounds(module, name, element, (lanes, lanes, lanes * target_row), block)


def _rounds(
    module: ir.Module,
    name: str,
    element: ir.Type,
    steps: tuple[int, int, int],
    body: Callable[[ir.IRBuilder, lv.Value, lv.Value], None],
) -> ir.Function:
    """`void f(source, target, i64 length)`, made once per module and name: `body(build, source, target)` while a count
    from 0 is below `length`; the count, `source` and `target` go on by `steps` each round."""
    pointer = element.as_pointer()
    function, made = vc.internal(module, name, [pointer, pointer, lv.I64])
    if made:
        return function
    source, target, length = function.args
    source.add_attribute("noalias")
    target.add_attribute("noalias")
    entry, loop, leave = (function.append_basic_block(block) for block in ("entry", "loop", "leave"))
    build = ir.IRBuilder(entry)
    build.cbranch(build.icmp_signed(">", length, lv.I64(0)), loop, leave)

    build.position_at_end(loop)
    count = build.phi(lv.I64, "count")
    source_here, target_here = build.phi(pointer, "source"), build.phi(pointer, "target")
    body(build, source_here, target_here)
    count_next = build.add(count, lv.I64(steps[0]))
    vc.carry(count, (entry, lv.I64(0)), (loop, count_next))
    vc.carry(source_here, (entry, source), (loop, vc.at(build, source_here, steps[1], element)))
    vc.carry(target_here, (entry, target), (loop, vc.at(build, target_here, steps[2], element)))
    build.cbranch(build.icmp_signed("<", count_next, length), loop, leave)

    build.position_at_end(leave)
    build.ret_void()
    return function


# --- the kernel language's names, as plain Python over NumPy arrays


def micro_kernel(
    rows: int,
    vectors: int,
    lanes: int,
    a: Array,
    a_row: int,
    a_step: int,
    a_tile: int,
    b: Array,
    b_step: int,
    tile: Array,
    tile_row: int,
    tiles: int,
    depth: int,
    accumulate: bool,
) -> None:
    """What `micro_kernel_function` says; the tile's shape and the strides are literals in kernel source."""
    columns = vectors * lanes
    row = np.arange(rows)[:, None]
    for number in range(tiles):
        with np.errstate(all="ignore"):
            total = np.zeros((rows, columns), tile.dtype)
            for step in range(depth):
                left = a[number * a_tile + row * a_row + step * a_step]
                right = b[step * b_step + np.arange(columns)]
                total = fma(left, right, total) if total.dtype.kind == "f" else left * right + total
            places = (number * rows + row) * tile_row + np.arange(columns)
            tile[places] = tile[places] + total if accumulate else total


def copy_panel(
    width: int, count: int, source: Array, source_row: int, target: Array, target_row: int, length: int
) -> None:
    """What `copy_function` says; all but the pointers and the length are literals in kernel source."""
    rows = np.arange(length)[:, None]
    target[rows * target_row + np.arange(width)] = 0
    target[rows * target_row + np.arange(count)] = source[rows * source_row + np.arange(count)]


def transpose_tile(
    lanes: int, count: int, source: Array, source_row: int, target: Array, target_row: int, length: int
) -> None:
    """What `transpose_function` says; all but the pointers and the length are literals in kernel source."""
    for first in range(0, length, lanes):
        columns = np.arange(first, first + lanes)[:, None]
        target[columns * target_row + np.arange(lanes)] = 0
        target[columns * target_row + np.arange(count)] = source[np.arange(count) * source_row + columns]


MICRO_KERNELS: dict[str, Any] = {
    "micro_kernel": micro_kernel,
    "copy_panel": copy_panel,
    "transpose_tile": transpose_tile,
}


# --- the same names for Numba


vc.teach_variants(micro_kernel, micro_kernel_function, (3, 7, 9), {11: types.int64, 12: types.int64, 13: types.boolean})
vc.teach_variants(copy_panel, copy_function, (2, 4), {6: types.int64})
vc.teach_variants(transpose_tile, transpose_function, (2, 4), {6: types.int64})
