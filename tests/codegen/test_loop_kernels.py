"""Loop kernels of more than one op: broadcasting, layouts, several results, updates in place, odd sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphc.codegen.host import host_target
from graphc.codegen.kernels import emit_kernel
from graphc.ir.types import f32, i64
from tests.codegen.harness import Array, evaluate, fused, reversed_units, run, types_of
from tests.codegen.regions import adam, dropout, gelu, row_vector

SIZES = (1, 3, 17, 127, 1000)


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def check(arrays: list[Array], build: Any, rtol: float = 2e-6, python: bool = True) -> None:
    """Compiled in one go, unit by unit backwards, and (where small) uncompiled: all agree with the interpreter."""
    op = fused("loop", types_of(arrays), build)
    expected = evaluate(op, arrays)
    outcome, backwards = run(op, arrays), run(op, arrays, order=reversed_units)
    outcomes = [outcome, *([run(op, arrays, python=True)] if python else [])]
    for i, e in enumerate(expected):
        assert outcome.results[i].tobytes() == backwards.results[i].tobytes()
        for found in outcomes:
            if e.dtype.kind == "f":
                np.testing.assert_allclose(found.results[i], e, rtol=rtol, atol=1e-6)
            else:
                np.testing.assert_array_equal(found.results[i], e)


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("columns", [1, 3, 17, 127])
def test_bias_and_activation(rows: int, columns: int) -> None:
    arrays = [normal(rows, columns), normal(columns, seed=1)]
    check(arrays, lambda b, x, y: gelu(b, b.add(x, row_vector(b, y, x))), rtol=1e-5, python=rows * columns < 400)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (5,), (1, 7), (7, 1), (70_001,), (3, 20_001), (20_001, 3)])
def test_any_shape_is_covered_by_the_units(shape: tuple[int, ...]) -> None:
    x = normal(*shape)
    check([x], lambda b, x: [b.neg(x), b.gt(x, b.full_like(x, 0.0))], python=x.size < 100)


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (2, 0, 3)])
def test_nothing_to_do_makes_no_units(shape: tuple[int, ...]) -> None:
    op = fused("loop", types_of([normal(*shape)]), lambda b, x: b.exp(x))
    assert emit_kernel(op, (0, 1), host_target()).units == 0


def test_broadcasts_along_every_axis() -> None:
    def build(b: Any, x: Any, row: Any, column: Any, plane: Any, scalar: Any) -> Any:
        shape = x.type.shape
        total = b.add(x, b.broadcast(row, shape=shape, dims=(2,)))
        total = b.add(total, b.broadcast(column, shape=shape, dims=(0,)))
        total = b.mul(total, b.broadcast(plane, shape=shape, dims=(1, 2)))
        return b.add(total, b.broadcast(b.exp(scalar), shape=shape, dims=()))

    arrays = [normal(4, 5, 6), normal(6, seed=1), normal(4, seed=2), normal(5, 6, seed=3), normal(seed=4)]
    check(arrays, build, rtol=1e-5)


@pytest.mark.parametrize("perm", [(0, 2, 1), (2, 1, 0), (1, 0, 2), (2, 0, 1)])
def test_transposed_operand(perm: tuple[int, ...]) -> None:
    x = normal(9, 33, 40)
    shape = tuple(x.shape[p] for p in perm)
    check([x, normal(*shape)], lambda b, x, y: b.add(b.transpose(x, perm=perm), y), python=False)


def test_layouts_of_layouts() -> None:
    def build(b: Any, x: Any, y: Any) -> Any:
        padded = b.pad(x, low=(1, 2), high=(1, 0), interior=(1, 0), value=-1.5)  # (6, 8) -> (13, 10)
        joined = b.concat(b.exp(padded), b.flip(y, axes=(0,)), axis=1)  # (13, 14)
        cut = b.slice(joined, start=(1, 2), stop=(13, 14), step=(3, 2))  # (4, 6)
        return b.reshape(b.transpose(cut, perm=(1, 0)), shape=(2, 12))

    check([normal(6, 8), normal(13, 4)], build, rtol=1e-5)


def test_take_of_rows_with_arithmetic_on_the_indices() -> None:
    def build(b: Any, table: Any, indices: Any) -> Any:
        wrapped = b.mod(indices, b.full_like(indices, table.type.shape[0]))
        return b.tanh(b.take(table, wrapped, axis=0))

    check([normal(11, 24), np.arange(-20, 40).reshape(3, 20)], build, rtol=1e-5)


def test_dropout_draws_the_same_mask() -> None:
    check([normal(7, 9), np.array(1234), np.array(77)], dropout)


@pytest.mark.parametrize("size", [*SIZES, 40_000])
def test_adam_in_place(size: int) -> None:
    arrays = [normal(size), normal(size, seed=1), normal(size, seed=2), np.abs(normal(size, seed=3)), np.float32(0.01)]
    op = fused("loop", types_of(arrays), adam)
    expected = evaluate(op, arrays)
    slots = (0, 1, 2, 3, 4, 0, 2, 3)  # weight, gradient, moments, rate -> weight and moments
    for outcome in (run(op, arrays, slots), run(op, arrays, slots, order=reversed_units)):
        for found, e in zip(outcome.results, expected, strict=True):
            np.testing.assert_allclose(found, e, rtol=3e-6, atol=1e-6)
    if size < 200:
        found = run(op, arrays, slots, python=True).results[0]
        np.testing.assert_allclose(found, expected[0], rtol=3e-6, atol=1e-6)


def test_result_takes_the_place_of_an_operand_that_another_result_needs() -> None:
    x, y = normal(100), normal(100, seed=1)
    op = fused("loop", types_of([x, y]), lambda b, x, y: [b.add(x, y), b.mul(x, y), b.sub(x, y)])
    outcome = run(op, [x, y], slots=(0, 1, 0, 1, 2))
    for found, e in zip(outcome.results, (x + y, x * y, x - y), strict=True):
        np.testing.assert_array_equal(found, e)


def updates(b: Any, *args: Any) -> Any:
    """Adam of several parameters, whose gradients, moments and weights follow one another; the rate comes first."""
    rate, rest = args[0], args[1:]
    return [new for i in range(0, len(rest), 4) for new in adam(b, *rest[i : i + 4], rate)]


def parameters_of(shapes: list[tuple[int, ...]]) -> list[Array]:
    """The operands of `updates`."""
    found = [normal(*shape, seed=seed) for shape in shapes for seed in range(4)]
    return [np.array(0.01, np.float32), *(abs(x) if i % 4 == 3 else x for i, x in enumerate(found))]


@pytest.mark.parametrize(
    "shapes",
    [
        [(5,), (3, 7)],
        [(3,), (0, 4), (), (2, 2), (1,), (4,), (3,)],
        [(128, 300), (128,), (10, 128), (10,), (9_001, 3), (128, 300)],
    ],
)
def test_pieces_of_different_shapes(shapes: list[tuple[int, ...]]) -> None:
    arrays = parameters_of(shapes)
    check(arrays, updates, rtol=3e-6, python=sum(map(np.size, arrays)) < 1000)


def test_pieces_in_place() -> None:
    shapes = [(128, 200), (128,), (10,), (8_000, 4)]
    arrays = parameters_of(shapes)
    op = fused("loop", types_of(arrays), updates)
    slots = [*range(len(arrays))]
    for i in range(len(shapes)):
        slots += [1 + 4 * i, 3 + 4 * i, 4 + 4 * i]
    expected = evaluate(op, arrays)
    for order in (lambda units: [(0, units)], reversed_units, lambda units: [(units // 3, units), (0, units // 3)]):
        outcome = run(op, arrays, tuple(slots), order=order)
        for found, e in zip(outcome.results, expected, strict=True):
            np.testing.assert_allclose(found, e, rtol=3e-6, atol=1e-6)


def test_small_pieces_share_a_unit() -> None:
    arrays = parameters_of([(128,), (128, 800), (10, 128), (10,)])
    op = fused("loop", types_of(arrays), updates)
    alone = fused("loop", types_of([arrays[0], *arrays[5:9]]), updates)
    units = [emit_kernel(o, tuple(range(len(o.operands) + len(o.results))), host_target()).units for o in (op, alone)]
    assert units[0] == units[1] + 1 > 8


def test_copy_of_an_operand() -> None:
    check([normal(33)], lambda b, x: x)


@pytest.mark.parametrize("bad", [-1, 5, 2**40])
def test_index_out_of_range_faults_and_reads_nothing(bad: int) -> None:
    arrays = [normal(5, 3), np.array([0, bad, 4])]
    op = fused("loop", types_of(arrays), lambda b, table, indices: b.take(table, indices, axis=0))
    assert run(op, arrays).fault == 1
    assert run(op, arrays, python=True).fault == 1


def test_index_into_an_empty_axis_faults() -> None:
    arrays = [np.zeros((0, 3), np.float32), np.array([0])]
    op = fused("loop", types_of(arrays), lambda b, table, indices: b.take(table, indices, axis=0))
    assert run(op, arrays).fault == 1


def test_integer_division_by_zero_faults() -> None:
    arrays = [np.arange(20, dtype=np.int32), np.arange(20, dtype=np.int32)]
    op = fused("loop", types_of(arrays), lambda b, x, y: b.floor_div(x, y))
    assert run(op, arrays).fault == 1
    assert run(op, [arrays[0], arrays[1] + 1]).fault == 0


def test_neighbouring_axes_become_one_loop() -> None:
    op = fused("loop", types_of([normal(4, 5, 6)] * 2), lambda b, x, y: b.add(x, y))
    source = emit_kernel(op, (0, 1, 2), host_target()).source
    assert "for i in range(120):" in source
    assert "p2[i] = add_0" in source


def test_loop_invariant_work_is_outside_of_the_inner_loop() -> None:
    op = fused(
        "loop",
        types_of([normal(40, 50), normal(40)]),
        lambda b, x, y: b.mul(x, b.broadcast(b.exp(y), shape=(40, 50), dims=(0,))),
    )
    lines = emit_kernel(op, (0, 1, 2), host_target()).source.splitlines()
    exp = next(i for i, line in enumerate(lines) if "exp(" in line)
    inner = next(i for i, line in enumerate(lines) if "for j in" in line)
    assert exp < inner


def test_shared_subexpression_is_computed_once() -> None:
    def build(b: Any, x: Any) -> Any:
        e = b.exp(x)
        return [b.add(e, x), b.mul(e, e)]

    op = fused("loop", types_of([normal(30)]), build)
    assert emit_kernel(op, (0, 1, 2), host_target()).source.count("exp(") == 1


def test_long_chain_of_ops_does_not_exhaust_the_stack() -> None:
    def build(b: Any, x: Any) -> Any:
        for _ in range(600):
            x = b.neg(x)
        return x

    op = fused("loop", types_of([normal(3)]), build)
    assert emit_kernel(op, (0, 1), host_target()).source.count("neg_") == 600 * 2


def test_coordinates_become_loop_variables() -> None:
    op = fused(
        "loop",
        types_of([normal(6, 7)]),
        lambda b, x: b.add(x, b.cast(b.iota(dtype=i64, shape=(6, 7), axis=1), dtype=f32)),
    )
    assert "cast_f32(j)" in emit_kernel(op, (0, 1), host_target()).source
    check([normal(6, 7)], lambda b, x: b.cast(b.iota(dtype=i64, shape=(6, 7), axis=0), dtype=f32))
