"""What is fused into a contraction: prologues on either operand, epilogues, several results, updates in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphc.codegen.host import host_target
from graphc.codegen.kernels import emit_kernel
from graphc.ir.builder import Builder
from graphc.ir.graph import Value
from graphc.ir.location import Location
from graphc.ir.types import TensorType, bf16, f32, i32, i64
from tests.codegen.harness import evaluate, fused, run, types_of
from tests.contraction.products import check_against_records

M, N, K = 21, 35, 50
Prologue = Callable[[Builder, Value, Value], Value]


def array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(np.float32)


def broadcast_rows(b: Builder, x: Value, extra: Value) -> Value:
    return b.mul(x, b.broadcast(extra, shape=x.type.shape, dims=(1,)))


def relu_mask(b: Builder, x: Value, extra: Value) -> Value:
    """The gradient of relu: x where the other operand is positive."""
    mask = b.gt(b.broadcast(extra, shape=x.type.shape, dims=(1,)), b.constant(0.0, x.type))
    return b.where(mask, x, b.full_like(x, 0.0))


def through_bf16(b: Builder, x: Value, extra: Value) -> Value:
    return b.cast(b.cast(broadcast_rows(b, x, extra), dtype=bf16), dtype=f32)


def with_iota(b: Builder, x: Value, extra: Value) -> Value:
    return b.add(broadcast_rows(b, x, extra), b.cast(b.iota(dtype=i32, shape=x.type.shape, axis=0), dtype=f32))


def there_and_back(b: Builder, x: Value, extra: Value) -> Value:
    turned = b.neg(b.transpose(broadcast_rows(b, x, extra), perm=(1, 0)))
    return b.transpose(turned, perm=(1, 0))


def reshaped(b: Builder, x: Value, extra: Value) -> Value:
    flat = b.exp(b.reshape(broadcast_rows(b, x, extra), shape=(x.type.size,)))
    return b.reshape(flat, shape=x.type.shape)


def padded(b: Builder, x: Value, extra: Value) -> Value:
    rows, columns = x.type.shape
    inner = b.slice(broadcast_rows(b, x, extra), start=(1, 2), stop=(rows, columns - 1), step=(1, 1))
    return b.pad(inner, low=(1, 2), high=(0, 1), interior=(0, 0), value=0.5)


def reversed_rows(b: Builder, x: Value, extra: Value) -> Value:
    return b.mul(b.flip(x, axes=(0,)), b.broadcast(extra, shape=x.type.shape, dims=(1,)))


PROLOGUES = [broadcast_rows, relu_mask, through_bf16, with_iota, there_and_back, reshaped, padded, reversed_rows]


@pytest.mark.parametrize("prologue", PROLOGUES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("spec", ["mk,kn->mn", "mk,nk->mn", "km,kn->mn", "km,nk->mn"])
@pytest.mark.parametrize("side", [0, 1])
def test_prologues(prologue: Prologue, spec: str, side: int) -> None:
    sizes = {"m": M, "n": N, "k": K}
    letters = spec.split("->")[0].split(",")
    shapes = [tuple(sizes[x] for x in each) for each in letters]
    arrays = [array(*shapes[0]), array(*shapes[1]), array(shapes[side][1], seed=1)]

    def region(b: Builder, x: Value, y: Value, extra: Value) -> Value:
        operands = [x, y]
        operands[side] = prologue(b, operands[side], extra)
        return b.contract(*operands, spec=spec)

    op = fused("contraction", types_of(arrays), region)
    check_against_records(op, arrays, 1e-5)


@pytest.mark.parametrize("spec", ["mk,kn->mn", "mk,nk->mn"])
def test_layout_alone_is_read_where_it_lies(spec: str) -> None:
    """A transposed, broadcast or sliced operand needs no packing on the left: its strides are enough."""
    arrays = [array(K, M), array(*((K, N) if "kn" in spec else (N, K)))]

    def region(b: Builder, x: Value, y: Value) -> Value:
        return b.contract(b.transpose(x, perm=(1, 0)), y, spec=spec)

    op = fused("contraction", types_of(arrays), region)
    assert "left[" not in emit_kernel(op, (0, 1, 2), host_target()).source
    check_against_records(op, arrays, 1e-5)


def test_a_broadcast_operand_has_stride_zero() -> None:
    arrays = [array(K), array(K, N)]

    def region(b: Builder, x: Value, y: Value) -> Value:
        return b.contract(b.broadcast(x, shape=(M, K), dims=(1,)), y, spec="mk,kn->mn")

    check_against_records(fused("contraction", types_of(arrays), region), arrays, 1e-5)


def test_generated_operands() -> None:
    """Dropout in the prologue: the mask depends on the element's own index, however it is packed."""
    x, w = array(M, K), array(N, K)
    arrays = [x, w, np.array(77, np.int64), np.array(5, np.int64)]

    def region(b: Builder, x: Value, w: Value, key: Value, offset: Value) -> Value:
        uniform = b.random_uniform(key, offset, dtype=f32, shape=(M, K))
        kept = b.where(b.lt(uniform, b.full_like(uniform, 0.5)), x, b.full_like(x, 0.0))
        noise = b.random_normal(key, offset, dtype=f32, shape=(N, K))
        return b.contract(kept, b.add(w, noise), spec="mk,nk->mn")

    check_against_records(fused("contraction", types_of(arrays), region), arrays, 1e-5)


def test_costly_prologue_over_many_columns() -> None:
    arrays = [array(90, 70), array(70, 600), array(90, 70)]

    def region(b: Builder, x: Value, y: Value, mask: Value) -> Value:
        return b.contract(b.mul(b.tanh(b.exp(x)), mask), y, spec="mk,kn->mn")

    check_against_records(fused("contraction", types_of(arrays), region), arrays, 1e-5)


def test_iota_and_splat_operands_alone() -> None:
    def region(b: Builder, x: Value) -> Value:
        ramp = b.cast(b.iota(dtype=i64, shape=(K, N), axis=1), dtype=f32)
        ones = b.constant(1.0, TensorType(f32, (M, K)))
        return b.add(b.contract(ones, ramp, spec="mk,kn->mn"), x)

    arrays = [array(M, N)]
    check_against_records(fused("contraction", types_of(arrays), region), arrays, 1e-6)


def linear_relu(b: Builder, product: Value, bias: Value) -> Any:
    return b.relu(b.add(product, b.broadcast(bias, shape=product.type.shape, dims=(1,))))


def row_scale(b: Builder, product: Value, bias: Value) -> Any:
    rows = b.slice(bias, start=(0,), stop=(M,), step=(1,))
    return b.mul(product, b.broadcast(rows, shape=product.type.shape, dims=(0,)))


def pre_activation(b: Builder, product: Value, bias: Value) -> Any:
    """Two results: what the backward pass needs is stored beside what the next layer reads."""
    summed = b.add(product, b.broadcast(bias, shape=product.type.shape, dims=(1,)))
    return summed, b.tanh(summed), b.gt(summed, b.full_like(summed, 0.0))


def counted(b: Builder, product: Value, bias: Value) -> Any:
    position = b.cast(b.iota(dtype=i32, shape=product.type.shape, axis=0), dtype=f32)
    return b.sub(product, position), b.cast(product, dtype=bf16)


def product_itself(b: Builder, product: Value, bias: Value) -> Any:
    return product, b.add(product, b.broadcast(bias, shape=product.type.shape, dims=(1,)))


EPILOGUES = [linear_relu, row_scale, pre_activation, counted, product_itself]


@pytest.mark.parametrize("epilogue", EPILOGUES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("spec", ["mk,kn->mn", "kn,mk->mn", "nk,mk->mn"])
@pytest.mark.parametrize("steps", [K, 300])
def test_epilogues(epilogue: Callable[..., Any], spec: str, steps: int) -> None:
    sizes = {"m": M, "n": N, "k": steps}
    arrays = [array(*(sizes[x] for x in letters)) for letters in spec.split("->")[0].split(",")]
    arrays.append(array(N))

    def region(b: Builder, x: Value, y: Value, bias: Value) -> Any:
        return epilogue(b, b.contract(x, y, spec=spec), bias)

    with np.errstate(all="ignore"):
        expected = evaluate(op := fused("contraction", types_of(arrays), region), arrays)
    for actual, wanted in zip(run(op, arrays).results, expected, strict=True):
        tolerance = 1e-2 if wanted.dtype == bf16.numpy else 1e-5
        np.testing.assert_allclose(actual.astype(np.float64), wanted.astype(np.float64), rtol=tolerance, atol=1e-3)


def test_residual_of_the_result_s_shape() -> None:
    arrays = [array(3, M, K), array(3, K, N), array(3, M, N)]

    def region(b: Builder, x: Value, y: Value, residual: Value) -> Value:
        return b.add(b.contract(x, y, spec="bmk,bkn->bmn"), residual)

    check_against_records(fused("contraction", types_of(arrays), region), arrays, 1e-5)


def test_epilogue_where_operands_change_roles() -> None:
    """The result is transposed, so that its rows are the second operand's: broadcasts must follow."""
    arrays = [array(M, K), array(K, N), array(N, M), array(M)]

    def region(b: Builder, x: Value, y: Value, residual: Value, bias: Value) -> Value:
        product = b.contract(x, y, spec="mk,kn->nm")
        return b.add(b.mul(product, residual), b.broadcast(bias, shape=(N, M), dims=(1,)))

    check_against_records(fused("contraction", types_of(arrays), region), arrays, 1e-5)


def adam(b: Builder, x: Value, dy: Value, m: Value, v: Value, w: Value, rate: Value) -> tuple[Value, ...]:
    """Adam's update of a weight [n, k] whose gradient is dy^T x (Kingma and Ba, 2015, without bias correction)."""

    def scaled(value: Value, factor: float) -> Value:
        return b.mul(value, b.full_like(value, factor))

    gradient = b.contract(dy, x, spec="bn,bk->nk")
    new_m = b.add(scaled(m, 0.9), scaled(gradient, 0.1))
    new_v = b.add(scaled(v, 0.999), scaled(b.mul(gradient, gradient), 0.001))
    step = b.div(new_m, b.add(b.sqrt(new_v), b.full_like(new_v, 1e-8)))
    return new_m, new_v, b.sub(w, b.mul(step, b.broadcast(rate, shape=w.type.shape, dims=())))


@pytest.mark.parametrize("batch", [64, 700])
def test_adam_updates_its_state_in_place(batch: int) -> None:
    arrays = [array(batch, 50), array(batch, 130), array(130, 50), abs(array(130, 50)), array(130, 50, seed=3)]
    arrays.append(np.array(0.01, np.float32))
    op = fused("contraction", types_of(arrays), adam)
    check_against_records(op, arrays, 1e-5)
    check_against_records(op, arrays, 1e-5, slots=(0, 1, 2, 3, 4, 5, 2, 3, 4))


def test_source_names_the_user_s_lines() -> None:
    arrays = [array(4, 5), array(5, 6)]

    def region(b: Builder, x: Value, y: Value) -> Value:
        b.location = Location("/home/user/train.py", 14)
        product = b.contract(x, y, spec="mk,kn->mn")
        product.name = "logits"
        b.location = Location("/home/user/train.py", 15)
        return b.relu(product)

    op = fused("contraction", types_of(arrays), region)
    source = emit_kernel(op, (0, 1, 2), host_target()).source
    assert "contract : f32[4,6]" in source
    assert "%logits train.py:14" in source
    assert "train.py:15" in source
    assert "/home" not in source
