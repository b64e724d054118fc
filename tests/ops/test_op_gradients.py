"""Gradients of every op: central differences in f64, to the second order and beyond; conventions at corners."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphc.ir.builder import Builder
from graphc.ir.graph import Block, Graph, Value
from graphc.ir.interpret import interpret
from graphc.ir.opdef import lookup, registered
from graphc.ir.types import DTYPES, TensorType, bf16, f16, f32, f64, i64, type_of
from graphc.passes.autodiff import Autodiff
from tests.ops.derivatives import Array, assert_gradients_match_differences, gradients
from tests.ops.sampled import names

DIFFERENTIABLE = [
    name for name, record in sorted(registered().items()) if record.vjp is not None and record.n_operands != 0
]
PIECEWISE_CONSTANT = ("ceil", "floor", "floor_div", "round", "sign", "stop_gradient")
NOT_BY_DIFFERENCES = ("random_normal", "random_uniform", "cast", *PIECEWISE_CONSTANT)


def smooth_samples(name: str) -> list[tuple[list[Array], dict[str, Any]]]:
    """The samples with a float operand in f32 and no special values, in f64."""
    found = []
    for arrays, attributes in lookup(name).samples():
        floats = [a for a in arrays if a.dtype == np.float32]
        if floats and all(np.isfinite(a).all() for a in floats) and not any((a == -100).any() for a in floats):
            found.append(([a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays], attributes))
    return found


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", [n for n in DIFFERENTIABLE if n not in NOT_BY_DIFFERENCES])
def test_gradient_matches_differences(name: str, order: int) -> None:
    cases = smooth_samples(name)
    assert cases
    for operands, attributes in cases:
        if operands[0].size <= 400:
            assert_gradients_match_differences(name, operands, attributes, order)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_product_with_zeros_is_exact_to_every_order(zeros: int, order: int) -> None:
    x = np.array([0.5, -2.0, 3.0, 1.5, 0.7])
    x[:zeros] = 0
    assert_gradients_match_differences("prod", [x], {"axes": (0,)}, order)


def test_gradient_of_a_product_is_the_product_of_the_others() -> None:
    x = np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 5.0], [1.0, 2.0, 3.0]])
    (g,) = gradients("prod", [x], np.ones(3), axes=(1,))
    np.testing.assert_array_equal(g, [[0, 6, 0], [0, 0, 0], [6, 3, 2]])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_powers_at_zero_have_finite_derivatives(order: int) -> None:
    x = np.array([0.0, 1.0, -2.0])
    expected = {1: 2 * x, 2: np.full(3, 2.0), 3: np.zeros(3)}[order]
    np.testing.assert_allclose(_nth_derivative_of_power(x, 2.0, order), expected)


def _nth_derivative_of_power(x: Array, exponent: float, order: int) -> Array:
    graph = Graph("power", [Value(TensorType(f64, x.shape), name="x")])
    b = Builder(graph)
    (value,) = graph.inputs
    y = b.pow(value, b.full_like(value, exponent))
    for _ in range(order):
        y = b.gradient(y, b.full_like(y, 1), value)
    graph.results = [y]
    (found,), _ = interpret(Autodiff().run(graph), [x])
    return found


# --- conventions where a derivative does not exist; all as PyTorch has them


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_equal_operands_share_the_cotangent(name: str) -> None:
    x, y = np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])
    gx, gy = gradients(name, [x, y], np.array([8.0, 8.0, 8.0]))
    first = [4, 0, 8] if name == "maximum" else [4, 8, 0]
    np.testing.assert_array_equal(gx, first)
    np.testing.assert_array_equal(gy, 8 - np.array(first))


@pytest.mark.parametrize("name", ["max", "min"])
def test_equal_extrema_share_the_cotangent(name: str) -> None:
    x = np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 5.0, 5.0, 2.0]])
    (g,) = gradients(name, [x], np.array([8.0, 8.0]), axes=(1,))
    np.testing.assert_array_equal(g, [[2, 2, 2, 2], [0, 4, 4, 0] if name == "max" else [4, 0, 0, 4]])


def test_the_nan_of_an_extremum_takes_the_cotangent() -> None:
    (g,) = gradients("max", [np.array([1.0, np.nan, 3.0])], np.array(4.0), axes=(0,))
    np.testing.assert_array_equal(g, [0, 4, 0])


def test_clamp_passes_the_cotangent_at_its_bounds() -> None:
    x = np.array([0.0, 1.0, 1.5, 2.0, 3.0])
    gx, low, high = gradients("clamp", [x, np.full(5, 1.0), np.full(5, 2.0)], np.full(5, 3.0))
    np.testing.assert_array_equal(gx, [0, 3, 3, 3, 0])
    np.testing.assert_array_equal(low, [3, 0, 0, 0, 0])
    np.testing.assert_array_equal(high, [0, 0, 0, 0, 3])


@pytest.mark.parametrize("name", ["abs", "relu"])
def test_kinks_at_zero_have_zero_gradient(name: str) -> None:
    (g,) = gradients(name, [np.array([0.0, -0.0])], np.ones(2))
    np.testing.assert_array_equal(g, 0)


@pytest.mark.parametrize("name", PIECEWISE_CONSTANT)
def test_steps_have_no_gradient(name: str) -> None:
    record = lookup(name)
    operands = [np.array([1.25, -0.5])] * (record.n_operands or 0)
    assert all((g == 0).all() for g in gradients(name, operands, np.ones(2)))


def test_pow_has_no_gradient_by_the_exponent_of_zero() -> None:
    x, y = np.array([0.0, 0.0, 2.0]), np.array([0.0, 2.0, 0.0])
    gx, gy = gradients("pow", [x, y], np.ones(3))
    np.testing.assert_array_equal(gx, [0, 0, 0])
    np.testing.assert_allclose(gy, [0, 0, np.log(2.0)])


def test_where_gives_each_side_its_part() -> None:
    condition = np.array([True, False])
    gx, gy = gradients("where", [condition, np.ones(2), np.ones(2)], np.array([2.0, 3.0]))
    np.testing.assert_array_equal(gx, [2, 0])
    np.testing.assert_array_equal(gy, [0, 3])


# --- element types


@pytest.mark.parametrize("source", [d for d in DTYPES.values() if d.is_float])
@pytest.mark.parametrize("target", [d for d in DTYPES.values() if d.is_float])
def test_cast_casts_the_cotangent_back(source: Any, target: Any) -> None:
    x = np.array([1.0, 2.0]).astype(source.numpy)
    (g,) = gradients("cast", [x], np.array([0.5, 3.0]).astype(target.numpy), dtype=target)
    assert g.dtype == source.numpy
    np.testing.assert_array_equal(g.astype(np.float64), [0.5, 3.0])


@pytest.mark.parametrize("dtype", [bf16, f16, f32])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_cotangents_have_the_types_of_the_operands(name: str, dtype: Any) -> None:
    for arrays, attributes in lookup(name).samples():
        types = [TensorType(dtype if a.dtype == np.float32 else type_of(a).dtype, a.shape) for a in arrays]
        builder = Builder(Block())
        op = builder.emit(name, [Value(t) for t in types], attributes)
        if not op.result.type.dtype.is_float:
            continue
        vjp = lookup(name).vjp
        assert vjp is not None
        pulled = vjp(builder, op, [Value(op.result.type)])
        assert len(pulled) == len(types)
        for found, operand in zip(pulled, types, strict=True):
            assert found is None or (operand.dtype.is_float and found.type == operand)


@pytest.mark.parametrize("name", ["erf", "sigmoid", "tanh", "rsqrt", "expm1", "pow", "prod"])
def test_gradients_of_halves_are_rounded_once(name: str) -> None:
    operands = [np.linspace(0.5, 1.5, 33).astype(bf16.numpy)] * (lookup(name).n_operands or 1)
    attributes = {"axes": (0,)} if name == "prod" else {}
    shape = () if name == "prod" else (33,)
    found = gradients(name, operands, np.ones(shape).astype(bf16.numpy), **attributes)
    exact = gradients(name, [a.astype(np.float64) for a in operands], np.ones(shape), **attributes)
    for half, wide in zip(found, exact, strict=True):
        # The result that enters the gradient is itself rounded, so a second rounding error may come in.
        np.testing.assert_allclose(half.astype(np.float64), wide, rtol=2.0**-6, atol=2.0**-9)


def test_ops_without_float_results_have_no_gradient() -> None:
    without = [n for n in names("pointwise", "reduce") if lookup(n).vjp is None]
    assert without == [
        *("all", "any", "argmax", "argmin", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "check_index"),
        *("eq", "ge", "gt", "le", "lt", "ne"),
    ]


def test_indices_get_no_cotangent() -> None:
    builder = Builder(Block())
    data, indices = Value(TensorType(f32, (4, 5))), Value(TensorType(i64, (3,)))
    op = builder.emit("take", [data, indices], {"axis": 0})
    vjp = lookup("take").vjp
    assert vjp is not None
    pulled = vjp(builder, op, [Value(op.result.type)])
    assert pulled[1] is None


def test_contraction_gradient_leads_with_the_operand_whose_axis_comes_first() -> None:
    builder = Builder(Block())
    x, w = Value(TensorType(f32, (64, 32))), Value(TensorType(f32, (10, 32)))
    op = builder.emit("contract", [x, w], {"spec": "mk,nk->mn"})
    vjp = lookup("contract").vjp
    assert vjp is not None
    pulled = [v for v in vjp(builder, op, [Value(op.result.type)]) if v is not None and v.op is not None]
    assert [v.op.attributes["spec"] for v in pulled if v.op] == ["mn,nk->mk", "mn,mk->nk"]
