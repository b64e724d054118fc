"""Values at the corners: IEEE specials, integer ends, saturating casts, NaN order, accumulation of halves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from graphc.ir.attributes import DenseArray
from graphc.ir.types import bf16, bool_, f16, f32, f64, i8, i32, i64, u8
from tests.ops.sampled import evaluate

INF, NAN = float("inf"), float("nan")
FLOATS = pytest.mark.parametrize("dtype", [f32, f64, bf16, f16])

_UNARY: list[tuple[str, float, float]] = [
    ("relu", NAN, NAN),
    ("relu", -0.0, 0.0),
    ("relu", -INF, 0.0),
    ("sign", NAN, NAN),
    ("sign", -0.0, 0.0),
    ("sign", -INF, -1.0),
    ("abs", -0.0, 0.0),
    ("abs", -INF, INF),
    ("neg", 0.0, -0.0),
    ("exp", -INF, 0.0),
    ("exp", INF, INF),
    ("expm1", -INF, -1.0),
    ("expm1", -0.0, -0.0),
    ("log", 0.0, -INF),
    ("log", -1.0, NAN),
    ("log1p", -1.0, -INF),
    ("log1p", -0.0, -0.0),
    ("sqrt", -0.0, -0.0),
    ("sqrt", -1.0, NAN),
    ("rsqrt", 0.0, INF),
    ("rsqrt", INF, 0.0),
    ("tanh", INF, 1.0),
    ("tanh", -0.0, -0.0),
    ("sigmoid", 200.0, 1.0),
    ("sigmoid", -INF, 0.0),
    ("sigmoid", INF, 1.0),
    ("sigmoid", NAN, NAN),
    ("erf", INF, 1.0),
    ("erf", -INF, -1.0),
    ("erf", -0.0, -0.0),
    ("sin", INF, NAN),
    ("cos", -INF, NAN),
    ("round", 0.5, 0.0),
    ("round", 1.5, 2.0),
    ("round", -0.5, -0.0),
    ("floor", -0.5, -1.0),
    ("ceil", -0.5, -0.0),
]

_BINARY: list[tuple[str, float, float, float]] = [
    ("maximum", NAN, 1.0, NAN),
    ("maximum", 1.0, NAN, NAN),
    ("minimum", NAN, -INF, NAN),
    ("minimum", 1.0, NAN, NAN),
    ("div", 1.0, 0.0, INF),
    ("div", -1.0, 0.0, -INF),
    ("div", 0.0, 0.0, NAN),
    ("pow", 0.0, 0.0, 1.0),
    ("pow", NAN, 0.0, 1.0),
    ("pow", 1.0, NAN, 1.0),
    ("pow", 0.0, -1.0, INF),
    ("pow", -8.0, 0.5, NAN),
    ("pow", -2.0, 3.0, -8.0),
    ("mod", 5.0, 3.0, 2.0),
    ("mod", -5.0, 3.0, 1.0),
    ("mod", 5.0, -3.0, -1.0),
    ("mod", 5.0, 0.0, NAN),
    ("mod", 5.0, INF, 5.0),
    ("mod", -5.0, INF, INF),
    ("floor_div", -5.0, 3.0, -2.0),
    ("floor_div", 5.0, -3.0, -2.0),
    ("floor_div", 1.0, 0.0, INF),
    ("sub", INF, INF, NAN),
    ("mul", 0.0, INF, NAN),
]


@FLOATS
@pytest.mark.parametrize(("name", "x", "expected"), _UNARY)
def test_unary_special_values(name: str, x: float, expected: float, dtype: Any) -> None:
    assert_same(evaluate(name, [np.array(x, dtype.numpy)]), expected)


@FLOATS
@pytest.mark.parametrize(("name", "x", "y", "expected"), _BINARY)
def test_binary_special_values(name: str, x: float, y: float, expected: float, dtype: Any) -> None:
    assert_same(evaluate(name, [np.array(x, dtype.numpy), np.array(y, dtype.numpy)]), expected)


def assert_same(actual: np.ndarray[Any, Any], expected: float) -> None:
    value = float(actual)
    assert (math.isnan(value) and math.isnan(expected)) or (value, math.copysign(1, value)) == (
        expected,
        math.copysign(1, expected),
    )


@FLOATS
def test_comparisons_with_nan_are_false_but_ne(dtype: Any) -> None:
    x, y = np.array([NAN, 1.0], dtype.numpy), np.array([NAN, NAN], dtype.numpy)
    for name in ("eq", "lt", "le", "gt", "ge"):
        assert not evaluate(name, [x, y]).any()
    assert evaluate("ne", [x, y]).all()


def test_sigmoid_keeps_the_left_tail() -> None:
    x = np.array([-100.0, -80.0, -20.0], np.float32)
    np.testing.assert_allclose(evaluate("sigmoid", [x]), np.exp(x.astype(np.float64)), rtol=1e-5, atol=3e-45)


def test_clamp_propagates_nan_and_prefers_the_upper_bound() -> None:
    x = np.array([NAN, 5.0, -5.0, 0.0])
    result = evaluate("clamp", [x, np.array([0.0, 0.0, 0.0, 3.0]), np.array([1.0, 1.0, 1.0, 2.0])])
    np.testing.assert_array_equal(result, [NAN, 1, 0, 2])


# --- integers


@pytest.mark.parametrize(
    ("name", "operands", "expected"),
    [
        ("add", (127, 1), -128),
        ("sub", (-128, 1), 127),
        ("mul", (64, 2), -128),
        ("neg", (-128,), -128),
        ("abs", (-128,), -128),
        ("sign", (-128,), -1),
        ("pow", (2, 7), -128),
        ("pow", (0, 0), 1),
        ("floor_div", (-128, -1), -128),
        ("mod", (-128, -1), 0),
        ("floor_div", (-7, 2), -4),
        ("mod", (-7, 2), 1),
        ("mod", (7, -2), -1),
        ("bitwise_not", (5,), -6),
        ("bitwise_xor", (5, 1), 4),
        ("relu", (-3,), 0),
        ("clamp", (9, -2, 4), 4),
    ],
)
def test_integers_wrap(name: str, operands: tuple[int, ...], expected: int) -> None:
    result = evaluate(name, [np.array(x, np.int8) for x in operands])
    assert (result.dtype, int(result)) == (np.int8, expected)


@pytest.mark.parametrize(
    ("name", "operands", "expected"),
    [("neg", (1,), 255), ("sub", (0, 1), 255), ("sign", (200,), 1), ("abs", (200,), 200)],
)
def test_unsigned_integers_wrap(name: str, operands: tuple[int, ...], expected: int) -> None:
    result = evaluate(name, [np.array(x, np.uint8) for x in operands])
    assert (result.dtype, int(result)) == (np.uint8, expected)


def test_integer_sums_and_products_wrap_in_their_own_type() -> None:
    x = np.array([100, 100], np.int8)
    assert int(evaluate("sum", [x], axes=(0,))) == -56
    assert int(evaluate("prod", [x], axes=(0,))) == 16
    assert int(evaluate("contract", [x, x], spec="k,k->")) == 32


# --- casts


@pytest.mark.parametrize("source", [f32, f64, bf16, f16])
@pytest.mark.parametrize(
    ("x", "target", "expected"),
    [
        (NAN, i32, 0),
        (INF, i32, 2**31 - 1),
        (-INF, i32, -(2**31)),
        (INF, i64, 2**63 - 1),
        (-INF, i64, -(2**63)),
        (300.0, i8, 127),
        (-300.0, i8, -128),
        (300.0, u8, 255),
        (-3.0, u8, 0),
        (-0.75, u8, 0),
        (2.75, i32, 2),
        (-2.75, i32, -2),
        (NAN, bool_, True),
        (-0.0, bool_, False),
        (0.25, bool_, True),
    ],
)
def test_float_casts_truncate_and_saturate(source: Any, x: float, target: Any, expected: int) -> None:
    result = evaluate("cast", [np.array([x], source.numpy)], dtype=target)
    assert (result.dtype, result.tolist()) == (target.numpy, [expected])


def test_largest_floats_below_a_power_of_two_are_not_saturated() -> None:
    below = np.nextafter(np.float64(2.0**63), 0)
    assert evaluate("cast", [np.array(below)], dtype=i64) == int(below)
    assert evaluate("cast", [np.array(np.nextafter(np.float32(2.0**31), np.float32(0)))], dtype=i32) == 2**31 - 128


def test_integer_casts_wrap() -> None:
    assert evaluate("cast", [np.array(300)], dtype=i8) == 44
    assert evaluate("cast", [np.array(-1)], dtype=u8) == 255


def test_casts_to_halves_are_rounded_from_f32() -> None:
    # Just above a tie: rounded to f32 first it is the tie, which goes to even.
    x = np.array(1.0 + 2.0**-8 + 2.0**-40)
    assert float(evaluate("cast", [x], dtype=bf16)) == 1.0
    assert float(evaluate("cast", [np.array(1e6)], dtype=f16)) == INF


# --- halves


def test_sums_of_halves_accumulate_in_f32() -> None:
    x = np.ones(1000, bf16.numpy)
    assert float(evaluate("sum", [x], axes=(0,))) == 1000
    assert float(evaluate("contract", [x, x], spec="k,k->")) == 1000
    zeros, indices = np.zeros(1, bf16.numpy), np.zeros(1000, np.int64)
    assert float(evaluate("index_add", [zeros, indices, x], axis=0)[0]) == 1000
    assert float(evaluate("scatter_add", [zeros, indices, x], axis=0)[0]) == 1000


def test_halves_are_rounded_once_per_op() -> None:
    x = np.array(3.0, bf16.numpy)
    exact = evaluate("rsqrt", [x.astype(np.float32)]).astype(bf16.numpy)
    assert evaluate("rsqrt", [x]) == exact
    assert float(exact) != float(np.divide(1, np.sqrt(np.float32(3)).astype(bf16.numpy).astype(np.float32)))


# --- reductions


@pytest.mark.parametrize(("name", "expected"), [("argmax", 1), ("argmin", 1)])
def test_positions_take_the_first_nan(name: str, expected: int) -> None:
    x = np.array([9.0, NAN, -9.0, NAN], np.float32)
    assert int(evaluate(name, [x], axes=(0,))) == expected
    assert int(evaluate(name, [x.astype(bf16.numpy)], axes=(0,))) == expected


def test_positions_take_the_first_of_equals() -> None:
    assert int(evaluate("argmax", [np.array([1, 3, 3])], axes=(0,))) == 1
    assert int(evaluate("argmin", [np.array([3, 1, 1])], axes=(0,))) == 1


def test_empty_reductions_are_the_identity() -> None:
    x = np.zeros((2, 0), np.float32)
    assert evaluate("sum", [x], axes=(1,)).tolist() == [0, 0]
    assert evaluate("prod", [x], axes=(1,)).tolist() == [1, 1]
    assert evaluate("any", [x.astype(bool)], axes=(1,)).tolist() == [False, False]
    assert evaluate("all", [x.astype(bool)], axes=(1,)).tolist() == [True, True]


def test_reduction_over_no_axes_is_the_operand() -> None:
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(evaluate("sum", [x], axes=()), x)


# --- contraction, indexing, generation


@pytest.mark.parametrize("spec", ["mk,nk->mn", "bmk,bkn->bmn", "amkbl,banlk->nbma", "m,n->nm", "mk,km->", "mk,km->km"])
def test_contract_agrees_with_einsum(spec: str) -> None:
    random = np.random.default_rng(0)
    sizes = dict(zip("abklmn", (2, 3, 4, 2, 5, 3), strict=True))
    left, right = ([sizes[x] for x in part] for part in spec.split("->")[0].split(","))
    if spec == "mk,km->km":
        left, right = [5, 4], [4, 5]
    a, b = random.normal(size=left), random.normal(size=right)
    np.testing.assert_allclose(evaluate("contract", [a, b], spec=spec), np.einsum(spec, a, b), rtol=1e-12)


def test_duplicate_indices_accumulate() -> None:
    base = np.array([[1.0, 2.0], [3.0, 4.0]])
    result = evaluate("index_add", [base, np.array([0, 0, 1]), np.full((3, 2), 10.0)], axis=0)
    np.testing.assert_array_equal(result, [[21, 22], [13, 14]])
    result = evaluate("scatter_add", [base, np.array([[0, 1], [0, 0]]), np.full((2, 2), 10.0)], axis=0)
    np.testing.assert_array_equal(result, [[21, 12], [3, 14]])


def test_constants_hold_numbers_or_arrays() -> None:
    splat = evaluate("constant", [], value=0.1, dtype=bf16, shape=(2,))
    assert splat.tolist() == [np.float32(0.1).astype(bf16.numpy)] * 2
    dense = DenseArray(np.arange(3, dtype=np.int32))
    assert evaluate("constant", [], value=dense, dtype=i32, shape=(3,)).tolist() == [0, 1, 2]


def test_iota_is_the_coordinate() -> None:
    result = evaluate("iota", [], dtype=i32, shape=(2, 3), axis=1)
    assert result.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert int(evaluate("iota", [], dtype=i8, shape=(300,), axis=0)[299]) == 43
