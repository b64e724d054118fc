"""Scatter kernels: every update lands, in order, whatever the units."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from graphc.codegen.host import host_target
from graphc.codegen.kernels import emit_kernel
from tests.codegen.harness import Array, evaluate, fused, reversed_units, run, types_of


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def indices(high: int, *shape: int) -> Array:
    return np.random.default_rng([high, *shape]).integers(0, high, shape)


def check(arrays: list[Array], build: Any, python: bool = True) -> int:
    """Compares with the interpreter; returns the number of units."""
    op = fused("scatter", types_of(arrays), build)
    (expected,) = evaluate(op, arrays)
    runs = [run(op, arrays), run(op, arrays, order=reversed_units), *([run(op, arrays, python=True)] if python else [])]
    for outcome in runs:
        assert outcome.fault == 0
        np.testing.assert_allclose(
            outcome.results[0].astype(np.float64), expected.astype(np.float64), rtol=1e-6, atol=1e-6
        )
    assert runs[0].results[0].tobytes() == runs[1].results[0].tobytes()
    return emit_kernel(op, tuple(range(4)), host_target()).units


@pytest.mark.parametrize(
    ("base", "places", "axis"),
    [
        ((9, 5), (4,), 0),
        ((9, 300), (40,), 0),
        ((3, 6, 4), (2, 3), 1),
        ((7,), (30,), 0),
        ((2, 8), (3, 2), 1),
        ((1, 1), (5,), 1),
    ],
)
def test_index_add(base: tuple[int, ...], places: tuple[int, ...], axis: int) -> None:
    updates = (*base[:axis], *places, *base[axis + 1 :])
    arrays = [normal(*base), indices(base[axis], *places), normal(*updates, seed=1)]
    check(arrays, lambda b, x, i, u: b.index_add(x, i, u, axis=axis), python=np.prod(updates) < 300)


@pytest.mark.parametrize(
    ("base", "places", "axis"),
    [
        ((6, 10), (6, 3), 1),
        ((6, 10), (4, 30), 1),
        ((6, 10), (20, 7), 0),
        ((4, 5, 6), (3, 9, 2), 1),
        ((128, 2), (64, 9), 1),
    ],
)
def test_scatter_add_with_fewer_updates_than_places(base: tuple[int, ...], places: tuple[int, ...], axis: int) -> None:
    arrays = [normal(*base), indices(base[axis], *places), normal(*places, seed=1)]
    check(arrays, lambda b, x, i, u: b.scatter_add(x, i, u, axis=axis), python=np.prod(places) < 300)


def test_wide_rows_are_split_among_units() -> None:
    arrays = [normal(50, 1024), indices(50, 300), normal(300, 1024, seed=1)]
    assert check(arrays, lambda b, x, i, u: b.index_add(x, i, u, axis=0), python=False) > 1


def test_many_rows_are_split_among_units_even_where_updates_end_early() -> None:
    arrays = [normal(4096, 40), indices(40, 2048, 3), normal(2048, 3, seed=1)]
    assert check(arrays, lambda b, x, i, u: b.scatter_add(x, i, u, axis=1), python=False) > 1


def test_gradient_of_an_embedding_starts_from_zeros() -> None:
    def build(b: Any, places: Any, ct: Any) -> Any:
        zeros = b.constant(0.0, ct.type.with_shape((30, 16)))
        return b.index_add(zeros, places, b.mul(ct, b.full_like(ct, 2.0)), axis=0)

    arrays = [indices(30, 50), normal(50, 16)]
    op = fused("scatter", types_of(arrays), build)
    np.testing.assert_allclose(run(op, arrays).results[0], evaluate(op, arrays)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_half_precisions_accumulate_in_f32(dtype: Any) -> None:
    base, updates = normal(5, 200).astype(dtype), normal(400, 200, seed=1).astype(dtype)
    arrays = [base, indices(5, 400), updates]
    op = fused("scatter", types_of(arrays), lambda b, x, i, u: b.index_add(x, i, u, axis=0))
    (expected,) = evaluate(op, arrays)
    for outcome in (run(op, arrays), run(op, arrays, order=reversed_units)):
        np.testing.assert_array_equal(outcome.results[0], expected)


def test_integers_wrap() -> None:
    base, updates = np.full((4, 3), 100, np.int8), np.full((9, 3), 50, np.int8)
    check([base, indices(4, 9), updates], lambda b, x, i, u: b.index_add(x, i, u, axis=0))


def test_base_in_place_is_not_copied() -> None:
    arrays = [normal(6, 8), indices(6, 4), normal(4, 8, seed=1)]
    op = fused("scatter", types_of(arrays), lambda b, x, i, u: b.index_add(x, i, u, axis=0))
    (expected,) = evaluate(op, arrays)
    np.testing.assert_allclose(run(op, arrays, slots=(0, 1, 2, 0)).results[0], expected, rtol=1e-6)
    assert "b0" not in emit_kernel(op, (0, 1, 2, 0), host_target()).source


@pytest.mark.parametrize("bad", [-1, 6, -(2**40)])
def test_index_out_of_range_faults_and_writes_nothing_outside(bad: int) -> None:
    arrays = [normal(6, 8), np.array([0, bad]), normal(2, 8, seed=1)]
    op = fused("scatter", types_of(arrays), lambda b, x, i, u: b.index_add(x, i, u, axis=0))
    assert run(op, arrays).fault == 1
    assert run(op, arrays, python=True).fault == 1


def test_updates_of_an_empty_base_fault() -> None:
    arrays = [normal(0), np.array([0]), normal(1)]
    op = fused("scatter", types_of(arrays), lambda b, x, i, u: b.scatter_add(x, i, u, axis=0))
    assert run(op, arrays).fault == 1
    nothing = [normal(0), np.zeros(0, np.int64), normal(0)]
    op = fused("scatter", types_of(nothing), lambda b, x, i, u: b.scatter_add(x, i, u, axis=0))
    assert run(op, nothing).fault == 0
