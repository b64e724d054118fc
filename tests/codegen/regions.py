"""Regions of ordinary training steps, written for any float type."""

from __future__ import annotations

from typing import Any

from graphc.ir.builder import Builder
from graphc.ir.graph import Value
from graphc.ir.types import bool_, i64


def spread(b: Builder, x: Value, like: Value) -> Value:
    """A value with kept axes of size 1, repeated to the shape of `like`."""
    return b.broadcast(x, shape=like.type.shape, dims=tuple(range(x.type.rank)))


def row_vector(b: Builder, x: Value, like: Value) -> Value:
    """A vector along the last axis of `like`."""
    return b.broadcast(x, shape=like.type.shape, dims=(like.type.rank - 1,))


def softmax(b: Builder, x: Value, axis: int = 1) -> Value:
    shifted = b.sub(x, spread(b, b.max(x, axes=(axis,), keepdims=True), x))
    powers = b.exp(shifted)
    return b.div(powers, spread(b, b.sum(powers, axes=(axis,), keepdims=True), x))


def log_softmax(b: Builder, x: Value) -> Value:
    shifted = b.sub(x, spread(b, b.max(x, axes=(1,), keepdims=True), x))
    total = b.sum(b.exp(shifted), axes=(1,), keepdims=True)
    return b.sub(shifted, spread(b, b.log(total), x))


def cross_entropy(b: Builder, x: Value, labels: Value) -> tuple[Value, Value]:
    """Each row's loss, and the gradient of their mean: two results of one pass over the rows."""
    rows, classes = x.type.shape
    logs = log_softmax(b, x)
    classes_here = b.iota(dtype=i64, shape=(rows, classes), axis=1)
    wanted = b.broadcast(labels, shape=(rows, classes), dims=(0,))
    chosen = b.cast(b.eq(classes_here, wanted), dtype=x.type.dtype)
    losses = b.neg(b.sum(b.mul(logs, chosen), axes=(1,), keepdims=False))
    gradient = b.div(b.sub(b.exp(logs), chosen), b.full_like(x, float(rows)))
    return losses, gradient


def layer_norm(b: Builder, x: Value, weight: Value, bias: Value) -> tuple[Value, Value, Value]:
    """The result, the mean and 1 / standard deviation of each row."""
    n = float(x.type.shape[-1])
    total = b.sum(x, axes=(1,), keepdims=True)
    mean = b.div(total, b.full_like(total, n))
    centred = b.sub(x, spread(b, mean, x))
    squares = b.sum(b.mul(centred, centred), axes=(1,), keepdims=True)
    variance = b.div(squares, b.full_like(squares, n))
    scale = b.rsqrt(b.add(variance, b.full_like(variance, 1e-5)))
    normal = b.mul(centred, spread(b, scale, x))
    return b.add(b.mul(normal, row_vector(b, weight, x)), row_vector(b, bias, x)), mean, scale


def layer_norm_backward(b: Builder, ct: Value, x: Value, mean: Value, scale: Value, weight: Value) -> Value:
    n = b.full_like(ct, float(x.type.shape[-1]))
    normal = b.mul(b.sub(x, spread(b, mean, x)), spread(b, scale, x))
    weighted = b.mul(ct, row_vector(b, weight, x))
    total = b.sum(weighted, axes=(1,), keepdims=True)
    correlation = b.sum(b.mul(weighted, normal), axes=(1,), keepdims=True)
    inner = b.sub(b.sub(weighted, b.div(spread(b, total, x), n)), b.mul(normal, b.div(spread(b, correlation, x), n)))
    return b.mul(spread(b, scale, x), inner)


def adam(
    b: Builder, weight: Value, gradient: Value, first: Value, second: Value, rate: Value
) -> tuple[Value, Value, Value]:
    """New weight and moments; `rate` is 0-d."""

    def number(value: float) -> Value:
        return b.full_like(weight, value)

    new_first = b.add(b.mul(first, number(0.9)), b.mul(gradient, number(0.1)))
    new_second = b.add(b.mul(second, number(0.999)), b.mul(b.mul(gradient, gradient), number(0.001)))
    step = b.div(new_first, b.add(b.sqrt(new_second), number(1e-8)))
    spread_rate = b.broadcast(rate, shape=weight.type.shape, dims=())
    return b.sub(weight, b.mul(spread_rate, step)), new_first, new_second


def bias_update(b: Builder, gradient: Value, bias: Value) -> tuple[Value, Value]:
    """The gradient of a bias, which is a sum over rows, and the bias after a step along it."""
    total = b.sum(gradient, axes=(0,), keepdims=False)
    return b.sub(bias, b.mul(total, b.full_like(bias, 0.01))), total


def gelu(b: Builder, x: Value) -> Value:
    half, one = b.full_like(x, 0.5), b.full_like(x, 1.0)
    return b.mul(b.mul(x, half), b.add(one, b.erf(b.mul(x, b.full_like(x, 0.7071067811865476)))))


def dropout(b: Builder, x: Value, key: Value, offset: Value) -> Any:
    kept = b.lt(b.random_uniform(key, offset, dtype=x.type.dtype, shape=x.type.shape), b.full_like(x, 0.75))
    return b.where(kept, b.div(x, b.full_like(x, 0.75)), b.full_like(x, 0.0)), b.cast(kept, dtype=bool_)
