"""The micro-kernel and what packs its operands, called by themselves from kernel source."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba.core.errors import TypingError

from graphc.codegen.frontend import python_kernel
from graphc.codegen.host import host_target
from graphc.codegen.kernel import Kernel
from graphc.codegen.llvm import compile_kernel, unoptimised_llvm
from graphc.codegen.microkernel import copy_panel, micro_kernel, transpose_tile
from graphc.ir.types import DType, f32, f64, i8, i32
from tests.codegen.harness import _loaded
from tests.contraction.products import random_array

Array = np.ndarray[Any, Any]


def call(statement: str, *arrays: Array, dtype: DType) -> None:
    """Run one statement of kernel source on p0, p1, ... natively."""
    pointers = ", ".join(f"p{i}" for i in range(len(arrays)))
    source = f"def kernel({pointers}, scratch, fault, lo, hi):\n    {statement}\n"
    kernel = Kernel(source, (dtype,) * len(arrays), 1)
    compiled = compile_kernel(kernel, host_target())
    function = _loaded(compiled.symbol, compiled.object_code, len(arrays) + 2)
    function(*(a.ctypes.data for a in arrays), 0, 0, 0, 1)


@pytest.mark.parametrize("dtype", [f32, f64, i32, i8], ids=str)
@pytest.mark.parametrize(("rows", "vectors", "lanes"), [(1, 1, 2), (14, 2, 16), (6, 2, 8), (1, 8, 16)])
@pytest.mark.parametrize(("tiles", "depth", "accumulate"), [(1, 1, False), (3, 20, False), (2, 7, True), (0, 5, True)])
def test_micro_kernel(
    rows: int, vectors: int, lanes: int, tiles: int, depth: int, accumulate: bool, dtype: DType
) -> None:
    rng, columns, height = np.random.default_rng(depth), vectors * lanes, max(1, rows * tiles)
    a, b = random_array(rng, (height, depth), dtype), random_array(rng, (depth, columns), dtype)
    tile = random_array(rng, (height, columns + 3), dtype)
    expected, before = tile.copy(), tile.copy()
    arguments = f"{depth}, 1, {rows * depth}, p1, {columns}, p2, {columns + 3}, {tiles}, {depth}, {accumulate}"
    call(f"micro_kernel({rows}, {vectors}, {lanes}, p0, {arguments})", a, b, tile, dtype=dtype)
    micro_kernel(
        rows, vectors, lanes, a.reshape(-1), depth, 1, rows * depth, b.reshape(-1), columns, expected.reshape(-1),
        columns + 3, tiles, depth, accumulate,
    )  # fmt: skip
    if dtype.is_float:
        np.testing.assert_allclose(tile, expected, rtol=0, atol=1e-5 * depth)
    else:
        np.testing.assert_array_equal(tile, expected)
    np.testing.assert_array_equal(tile[:, columns:], before[:, columns:])
    assert tiles == 0 or not np.array_equal(tile, before)


@pytest.mark.parametrize(("row", "step"), [(1, 9), (0, 1), (2, 40)])
def test_micro_kernel_reads_its_left_operand_by_strides(row: int, step: int) -> None:
    rng = np.random.default_rng(0)
    a, b = random_array(rng, (400,), f32), random_array(rng, (6, 16), f32)
    tile = np.zeros((4, 16), np.float32)
    call(f"micro_kernel(4, 1, 16, p0, {row}, {step}, 0, p1, 16, p2, 16, 1, 6, False)", a, b, tile, dtype=f32)
    left = a[np.arange(4)[:, None] * row + np.arange(6) * step]
    np.testing.assert_allclose(tile, left @ b, rtol=0, atol=1e-5)


def test_micro_kernel_finds_the_next_tile_of_its_left_operand() -> None:
    rng = np.random.default_rng(0)
    panels, b = random_array(rng, (3, 30), f32), random_array(rng, (6, 16), f32)  # 6 steps of 4 rows, and 6 to spare
    tile = np.zeros((12, 16), np.float32)
    call("micro_kernel(4, 1, 16, p0, 1, 4, 30, p1, 16, p2, 16, 3, 6, False)", panels, b, tile, dtype=f32)
    left = panels[:, :24].reshape(3, 6, 4).transpose(0, 2, 1).reshape(12, 6)
    np.testing.assert_allclose(tile, left @ b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [f32, f64, i32, i8], ids=str)
@pytest.mark.parametrize(("width", "count"), [(16, 16), (6, 6), (16, 10), (14, 3), (1, 1)])
@pytest.mark.parametrize("length", [0, 1, 9])
def test_copy_panel(dtype: DType, width: int, count: int, length: int) -> None:
    rng = np.random.default_rng(width)
    source = random_array(rng, (length + 1, count + 2), dtype)
    target = random_array(rng, (length + 1, width + 3), dtype)
    expected, before = target.copy(), target.copy()
    call(f"copy_panel({width}, {count}, p0, {count + 2}, p1, {width + 3}, {length})", source, target, dtype=dtype)
    copy_panel(width, count, source.reshape(-1), count + 2, expected.reshape(-1), width + 3, length)
    np.testing.assert_array_equal(target, expected)
    np.testing.assert_array_equal(target[:length, :count], source[:length, :count])
    assert (target[:length, count:width] == 0).all()
    np.testing.assert_array_equal(target[:, width:], before[:, width:])
    np.testing.assert_array_equal(target[length], before[length])


@pytest.mark.parametrize("dtype", [f32, f64, i32, i8], ids=str)
@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
@pytest.mark.parametrize("fewer", [0, 1])
@pytest.mark.parametrize("blocks", [1, 3])
def test_transpose_tile(dtype: DType, lanes: int, fewer: int, blocks: int) -> None:
    rng, count, length = np.random.default_rng(lanes), lanes - fewer, blocks * lanes
    source = random_array(rng, (count, length + 2), dtype)
    target = random_array(rng, (length, lanes + 1), dtype)
    expected, before = target.copy(), target.copy()
    arguments = f"{lanes}, {count}, p0, {length + 2}, p1, {lanes + 1}, {length - fewer}"
    call(f"transpose_tile({arguments})", source, target, dtype=dtype)
    transpose_tile(lanes, count, source.reshape(-1), length + 2, expected.reshape(-1), lanes + 1, length - fewer)
    np.testing.assert_array_equal(target, expected)
    np.testing.assert_array_equal(target[:, :count], source[:, :length].T)
    assert (target[:, count:lanes] == 0).all()
    np.testing.assert_array_equal(target[:, lanes], before[:, lanes])


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("micro_kernel(lo, 1, 16, p0, 8, 1, 32, p1, 16, p2, 16, 1, 8, False)", "must be integer literals"),
        ("micro_kernel(4, 1, 16, p0, 8, 1, 32, fault, 16, p2, 16, 1, 8, False)", "to one element type"),
        ("transpose_tile(16, 16, p0, 16, lo, 16, 16)", "to one element type"),
        ("copy_panel(16, hi, p0, 16, p1, 16, 16)", "must be integer literals"),
    ],
)
def test_wrong_operands_are_typing_errors(statement: str, message: str) -> None:
    source = f"def kernel(p0, p1, p2, scratch, fault, lo, hi):\n    {statement}\n"
    with pytest.raises(TypingError, match=message):
        unoptimised_llvm(Kernel(source, (f32, f32, f32), 1), host_target())


def test_names_are_plain_functions() -> None:
    statement = "micro_kernel(2, 1, 2, p0, 3, 1, 6, p1, 2, p2, 2, 1, 3, False)"
    source = f"def kernel(p0, p1, p2, scratch, fault, lo, hi):\n    {statement}\n"
    a, b, tile = np.arange(6.0), np.arange(6.0), np.zeros(4)
    python_kernel(source, "test_names_are_plain_functions")(a, b, tile, None, None, 0, 1)
    np.testing.assert_array_equal(tile.reshape(2, 2), a.reshape(2, 3) @ b.reshape(3, 2))
