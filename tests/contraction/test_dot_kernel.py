"""The dot products of a few rows with many, called by themselves from kernel source."""

from __future__ import annotations

import numpy as np
import pytest
from numba.core.errors import TypingError

from graphc.codegen.dot_kernel import dot_kernel
from graphc.codegen.host import host_target
from graphc.codegen.kernel import Kernel
from graphc.codegen.llvm import unoptimised_llvm
from graphc.ir.types import DType, f32, f64, i8, i32
from tests.contraction.products import random_array
from tests.contraction.test_micro_kernel import call


@pytest.mark.parametrize("dtype", [f32, f64, i32, i8], ids=str)
@pytest.mark.parametrize(
    ("rows", "columns", "steps", "lanes"), [(1, 8, 1, 16), (4, 4, 1, 16), (1, 1, 8, 16), (3, 3, 2, 8), (2, 2, 1, 2)]
)
@pytest.mark.parametrize(("tiles", "accumulate"), [(1, False), (3, True), (0, True)])
@pytest.mark.parametrize(("row", "column"), [(40, 1), (1, 10)])
def test_dot_kernel(
    rows: int, columns: int, steps: int, lanes: int, tiles: int, accumulate: bool, row: int, column: int, dtype: DType
) -> None:
    """Depths of one vector and of several, with and without a last one that is not whole."""
    rng, many = np.random.default_rng(rows), columns * max(1, tiles)
    for depth in (lanes, lanes + 1, 5 * lanes, 9 * lanes + lanes - 1):
        a, b = random_array(rng, (rows, depth), dtype), random_array(rng, (many, depth), dtype)
        actual = random_array(rng, (400,), dtype)
        expected, before = actual.copy(), actual.copy()
        strides = f"{depth % lanes}, p0, {depth}, p1, {depth}, p2, {row}, {column}"
        statement = f"dot_kernel({rows}, {columns}, {steps}, {lanes}, {strides}, {tiles}, {depth}, {accumulate})"
        call(statement, a, b, actual, dtype=dtype)
        if tiles:
            product = a @ b.T + (before[np.arange(rows)[:, None] * row + np.arange(many) * column] if accumulate else 0)
            expected[np.arange(rows)[:, None] * row + np.arange(many) * column] = product
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * depth if dtype.is_float else 0)
        dot_kernel(
            rows, columns, steps, lanes, depth % lanes, a.reshape(-1), depth, b.reshape(-1), depth, before, row, column,
            tiles, depth, accumulate,
        )  # fmt: skip
        np.testing.assert_allclose(before, expected, rtol=0, atol=1e-5 * depth if dtype.is_float else 0)


def test_strides_must_be_literals() -> None:
    statement = "dot_kernel(1, 1, 1, 16, 0, p0, lo, p1, 16, p2, 1, 1, 1, 16, False)"
    source = f"def kernel(p0, p1, p2, scratch, fault, lo, hi):\n    {statement}\n"
    with pytest.raises(TypingError, match="must be integer literals"):
        unoptimised_llvm(Kernel(source, (f32, f32, f32), 1), host_target())
