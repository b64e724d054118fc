"""Reduction kernels: rows, columns, everything at once; several reductions, results of both shapes, long sums."""

from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from graphc.codegen.host import host_target
from graphc.codegen.kernels import emit_kernel
from graphc.ir.types import DType, bf16, f32, from_numpy_dtype, i8, i32, i64, u8
from tests.codegen.harness import Array, evaluate, fused, reversed_units, run, types_of
from tests.codegen.regions import bias_update, cross_entropy, layer_norm, layer_norm_backward, softmax

SIZES = (1, 3, 17, 127, 1000)


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def check(arrays: list[Array], build: Any, python: bool = False, rtol: float = 3e-5, atol: float = 1e-6) -> None:
    """In f64 against the interpreter, tightly; in f32 against the interpreter in f64. Units run one by one, backwards,
    give the same bits."""
    wide = fused("reduction", types_of(arrays), build)
    expected = evaluate(wide, arrays)
    single = [a.astype(np.float32) if a.dtype == np.float64 else a for a in arrays]
    narrow = fused("reduction", types_of(single), build)
    for op, inputs, loose in ((wide, arrays, 1e-5), (narrow, single, 1.0)):
        outcome = run(op, inputs)
        backwards = run(op, inputs, order=reversed_units)
        outcomes = [outcome, *([run(op, inputs, python=True)] if python else [])]
        for i, e in enumerate(expected):
            assert outcome.results[i].tobytes() == backwards.results[i].tobytes()
            for found in outcomes:
                if e.dtype.kind == "f":
                    np.testing.assert_allclose(found.results[i], e, rtol=rtol * loose, atol=atol * loose)
                else:
                    np.testing.assert_array_equal(found.results[i], e)


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("columns", SIZES)
@pytest.mark.parametrize("axis", [0, 1])
def test_softmax(rows: int, columns: int, axis: int) -> None:
    small = rows * columns < 100
    check([normal(rows, columns) * 4], lambda b, x: softmax(b, x, axis), python=small)


@pytest.mark.parametrize(("rows", "classes"), [(1, 1), (64, 10), (17, 127), (3, 1000)])
def test_cross_entropy_and_its_gradient(rows: int, classes: int) -> None:
    labels = np.random.default_rng(0).integers(0, classes, rows)
    check([normal(rows, classes) * 3, labels], cross_entropy, python=rows * classes < 700)


@pytest.mark.parametrize(("rows", "width"), [(1, 1), (3, 17), (64, 128), (5, 1000)])
def test_layer_norm(rows: int, width: int) -> None:
    arrays = [normal(rows, width) * 2 + 1, normal(width, seed=1), normal(width, seed=2)]
    # one element has no variance: what is left of it is rounding, scaled up
    atol = 2e-5 if width > 1 else 1e-2
    check(arrays, layer_norm, python=rows * width < 100, atol=atol)


@pytest.mark.parametrize(("rows", "width"), [(3, 17), (64, 128)])
def test_layer_norm_backward(rows: int, width: int) -> None:
    arrays = [
        normal(rows, width),
        normal(rows, width, seed=1),
        normal(rows, 1, seed=2),
        np.abs(normal(rows, 1, seed=3)),
        normal(width, seed=4),
    ]
    check(arrays, layer_norm_backward, atol=3e-5)


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("columns", SIZES)
def test_bias_gradient_with_its_update(rows: int, columns: int) -> None:
    check([normal(rows, columns), normal(columns, seed=1)], bias_update, python=rows * columns < 100, atol=1e-4)


@pytest.mark.parametrize("columns", [5, 300])
def test_bias_is_updated_in_place(columns: int) -> None:
    arrays = [normal(64, columns), normal(columns, seed=1)]
    op = fused("reduction", types_of(arrays), bias_update)
    for outcome in (run(op, arrays, slots=(0, 1, 1, 2)), run(op, arrays, slots=(0, 1, 1, 2), order=reversed_units)):
        for found, e in zip(outcome.results, evaluate(op, arrays), strict=True):
            np.testing.assert_allclose(found, e, rtol=1e-12, atol=1e-12)


AXES = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2), ()]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("shape", [(4, 5, 6), (3, 1, 40), (1, 70, 1), (2, 9, 300), (9, 3, 1100)])
def test_several_reductions_over_any_axes(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> None:
    def build(b: Any, x: Any) -> Any:
        over = {"axes": axes, "keepdims": keepdims}
        return [b.sum(x, **over), b.max(b.neg(x), **over), b.min(x, **over), b.sum(b.mul(x, x), **over)]

    check([normal(*shape)], build, python=np.prod(shape) <= 120, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions_keep_the_first_of_equals_and_the_first_nan(name: str, axis: int) -> None:
    x = np.random.default_rng(0).integers(0, 4, (5, 6, 12)).astype(np.float64)
    x[1, 2, 3] = x[1, 4, 7] = np.nan
    check([x], lambda b, x: b.emit(name, [x], {"axes": (axis,), "keepdims": False}).result, python=True)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("width", [1, 2, 17, 64, 1000, 9001])
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i1", "u1", "i8", "bf16"])
def test_positions_in_rows(name: str, width: int, dtype: str) -> None:
    rng = np.random.default_rng(width)
    x = rng.integers(0, 5, (4, width)).astype(ml_dtypes.bfloat16 if dtype == "bf16" else dtype)
    if x.dtype.kind in "iu":
        limits = np.iinfo(x.dtype)
        x[1], x[2] = limits.max, limits.min
    else:
        x[1], x[2] = np.inf, -np.inf
        x[3, width // 2 :: 5] = np.nan
    op = fused("reduction", types_of([x]), lambda b, x: b.emit(name, [x], {"axes": (1,), "keepdims": True}).result)
    (expected,) = evaluate(op, [x])
    assert (run(op, [x]).results[0] == expected).all()
    assert (run(op, [x], order=reversed_units).results[0] == expected).all()
    if width < 100:
        assert (run(op, [x], python=True).results[0] == expected).all()


def test_position_of_what_is_computed() -> None:
    def build(b: Any, x: Any) -> Any:
        powers = softmax(b, x)
        return b.emit("argmax", [powers], {"axes": (1,), "keepdims": False}).result, powers

    check([np.linspace(-3, 4, 90).reshape(5, 18) ** 2], build, python=True)


def picked(b: Any, x: Any, places: Any, what: Any = None) -> Any:
    """where(column == place, what, 0), the columns being those of `x`."""
    columns = b.iota(dtype=i64, shape=x.type.shape, axis=1)
    here = b.eq(b.broadcast(places, shape=x.type.shape, dims=(0,)), columns)
    return b.where(here, x if what is None else what, b.full_like(x, 0))


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i4"])
@pytest.mark.parametrize("columns", [1, 2, 33, 700])
def test_sum_of_one_term(dtype: str, columns: int) -> None:
    x = (np.arange(6 * columns).reshape(6, columns) % 11 - 3).astype(dtype)
    places = np.array([0, columns - 1, columns, -1, columns // 2, 2**40])
    if x.dtype.kind == "f":
        x[0, columns - 1], x[1, 0], x[4] = np.nan, np.inf, np.inf
        x[4, columns // 2] = 2.0

    def build(b: Any, x: Any, places: Any) -> Any:
        over = {"axes": (1,), "keepdims": False}
        mask = b.eq(b.broadcast(places, shape=x.type.shape, dims=(0,)), b.iota(dtype=i64, shape=x.type.shape, axis=1))
        count = b.sum(b.cast(b.bitwise_and(mask, b.eq(x, x)), dtype=x.type.dtype), **over)
        return b.sum(b.neg(picked(b, x, places)), **over), count, b.max(x, **over)

    op = fused("reduction", types_of([x, places]), build)
    expected = evaluate(op, [x, places])
    source = emit_kernel(op, tuple(range(5)), host_target()).source
    assert columns == 1 or ("term_at" in source and "accumulate_add" not in source)
    for outcome in (run(op, [x, places]), run(op, [x, places], python=True)):
        for found, e in zip(outcome.results, expected, strict=True):
            np.testing.assert_array_equal(found, e)


@pytest.mark.parametrize("dtype", [i8, u8, i32, i64, bf16, f32], ids=str)
@pytest.mark.parametrize("columns", [5, 127, 300, 3000])
def test_coordinates_of_other_types(dtype: DType, columns: int) -> None:
    """Where narrow integers wrap and bf16 rounds, several coordinates are equal to one place."""
    places = np.array([0, 4, -1, 44, 127, 256, 2.5 if dtype.is_float else 3])
    arrays = [normal(7, columns), places.astype(dtype.numpy)]

    def build(b: Any, x: Any, places: Any) -> Any:
        columns = b.iota(dtype=dtype, shape=x.type.shape, axis=1)
        here = b.eq(columns, b.broadcast(places, shape=x.type.shape, dims=(0,)))
        return b.sum(b.where(here, x, b.full_like(x, 0.0)), axes=(1,), keepdims=False)

    check(arrays, build, python=columns < 10)


def test_every_term_of_a_sum_is_computed_where_a_short_operand_can_fault() -> None:
    arrays = [np.ones(8, np.int32), np.array([1, 2, 3]), np.ones(8, np.int32)]

    def build(b: Any, x: Any, places: Any, y: Any) -> Any:
        quotients = b.broadcast(b.floor_div(x, y), shape=(3, 8), dims=(1,))
        return b.sum(picked(b, quotients, places), axes=(1,), keepdims=False)

    op = fused("reduction", types_of(arrays), build)
    assert run(op, arrays).fault == 0
    arrays[2][7] = 0
    assert run(op, arrays).fault == 1


def test_every_term_of_a_sum_is_computed_where_one_can_fault() -> None:
    arrays = [np.ones((3, 8), np.int32), np.array([1, 2, 3]), np.ones((3, 8), np.int32)]

    def build(b: Any, x: Any, places: Any, y: Any) -> Any:
        return b.sum(picked(b, x, places, b.floor_div(x, y)), axes=(1,), keepdims=False)

    op = fused("reduction", types_of(arrays), build)
    assert run(op, arrays).fault == 0
    arrays[2][0, 7] = 0
    assert run(op, arrays).fault == 1


@pytest.mark.parametrize("axis", [0, 1])
def test_nan_propagates_through_extremes(axis: int) -> None:
    x = normal(30, 40)
    x[3, 5] = np.nan
    x[4, :] = np.inf
    check([x], lambda b, x: [b.max(x, axes=(axis,), keepdims=False), b.min(x, axes=(axis,), keepdims=True)])


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0)])
@pytest.mark.parametrize("axis", [0, 1])
def test_empty_reduction_is_the_identity(shape: tuple[int, int], axis: int) -> None:
    def build(b: Any, x: Any) -> Any:
        total = b.sum(x, axes=(axis,), keepdims=False)
        return [total, b.add(total, b.full_like(total, 1.0)), b.prod(x, axes=(axis,), keepdims=False)]

    check([normal(*shape)], build, python=True)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((1_000_003,), (0,)), ((300_001, 3), (0,)), ((100_000, 16), (0,)), ((3, 350_000), (1,)), ((40_000, 5, 7), (0, 2))],
)
def test_long_f32_sum_is_as_accurate_as_pairwise_summation(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)
    op = fused("reduction", types_of([x]), lambda b, x: b.sum(x, axes=axes, keepdims=False))
    exact = x.astype(np.float64).sum(axis=axes)
    error = np.abs(run(op, [x]).results[0] - exact) / exact
    assert error.max() < 4e-7


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
@pytest.mark.parametrize("axis", [0, 1])
def test_half_precisions_are_summed_in_f32_and_rounded_after_each_op(dtype: Any, axis: int) -> None:
    x = normal(33, 65).astype(dtype)

    def build(b: Any, x: Any) -> Any:
        total = b.sum(b.exp(x), axes=(axis,), keepdims=True)
        inverse = b.div(b.full_like(total, 1.0), total)
        return [b.mul(b.exp(x), b.broadcast(inverse, shape=x.type.shape, dims=(0, 1))), total]

    op = fused("reduction", types_of([x]), build)
    expected = evaluate(op, [x])
    epsilon = 2.0**-8 if from_numpy_dtype(np.dtype(dtype)).name == "bf16" else 2.0**-10
    for found in (run(op, [x]), run(op, [x], python=True)):
        for result, e in zip(found.results, expected, strict=True):
            np.testing.assert_allclose(result.astype(np.float64), e.astype(np.float64), rtol=2.1 * epsilon)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64])
@pytest.mark.parametrize("axis", [0, 1])
def test_integer_sums_and_products_wrap(dtype: Any, axis: int) -> None:
    x = np.random.default_rng(0).integers(0, 100, (20, 30)).astype(dtype)
    check(
        [x], lambda b, x: [b.sum(x, axes=(axis,), keepdims=False), b.prod(x, axes=(axis,), keepdims=False)], python=True
    )


def test_result_of_the_full_shape_that_precedes_the_reduction() -> None:
    def build(b: Any, x: Any) -> Any:
        e = b.exp(x)
        return [e, b.sum(e, axes=(1,), keepdims=False)]

    check([normal(20, 30)], build)


def test_random_values_are_drawn_once_for_both_passes() -> None:
    def build(b: Any, x: Any, key: Any, offset: Any) -> Any:
        noisy = b.mul(x, b.random_uniform(key, offset, dtype=x.type.dtype, shape=x.type.shape))
        total = b.sum(noisy, axes=(1,), keepdims=True)
        return b.div(noisy, b.broadcast(total, shape=x.type.shape, dims=(0, 1)))

    arrays = [np.abs(normal(6, 40)).astype(np.float32) + 1, np.array(5), np.array(9)]
    op = fused("reduction", types_of(arrays), build)
    assert emit_kernel(op, (0, 1, 2, 3), host_target()).source.count("philox(") == 1
    np.testing.assert_allclose(run(op, arrays).results[0], evaluate(op, arrays)[0], rtol=1e-5)


def test_exponentials_are_not_computed_twice() -> None:
    op = fused("reduction", types_of([normal(64, 512).astype(np.float32)]), softmax)
    kernel = emit_kernel(op, (0, 1), host_target())
    assert kernel.source.count("exp(") == 1
    assert kernel.scratch_bytes >= 512 * 4
    assert 1 < kernel.units <= 64


def test_row_too_long_for_the_cache_is_computed_again() -> None:
    rows = host_target().l2_bytes // 4
    op = fused("reduction", types_of([np.zeros((1, rows), np.float32)]), softmax)
    kernel = emit_kernel(op, (0, 1), host_target())
    assert kernel.source.count("exp(") == 2
    assert kernel.scratch_bytes == 0


def test_reductions_over_different_axes_are_rejected() -> None:
    op = fused(
        "reduction",
        types_of([normal(4, 4)]),
        lambda b, x: [b.sum(x, axes=(0,), keepdims=False), b.sum(x, axes=(1,), keepdims=False)],
    )
    with pytest.raises(ValueError, match=r"sum of \[4, 4\] over axes \[1\] does not go with"):
        emit_kernel(op, (0, 1, 2), host_target())


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_transposed_operand_is_walked_along_its_memory(axes: tuple[int, ...]) -> None:
    def build(b: Any, x: Any) -> Any:
        turned = b.transpose(x, perm=(1, 0))
        total = b.sum(b.mul(turned, turned), axes=axes, keepdims=True)
        return [total, b.max(turned, axes=axes, keepdims=False)]

    x = normal(40, 50)
    check([x], build)
    op = fused("reduction", types_of([x]), build)
    lines = emit_kernel(op, (0, 1, 2), host_target()).source.splitlines()
    loads = [i for i, line in enumerate(lines) if "= p0[" in line]
    assert loads
    for i in loads:
        loop = next(line for line in reversed(lines[:i]) if line.strip().startswith("for "))
        variable = loop.split()[1]
        assert re.search(rf"(\+ |\[){variable}\]$", lines[i]), f"{loop}\n{lines[i]}"
