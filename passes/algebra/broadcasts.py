"""Rewrites of broadcasts.

In the canonical form the operand of a broadcast has no axis of size 1 (a reshape takes those away), and work is done
before the broadcast rather than after it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphc.ir.builder import Builder
from graphc.ir.graph import Op, Value
from graphc.ir.reshape_groups import reshape_groups
from graphc.passes.algebra.table import ints, names_of, reshaped, rule, source, transposed
from graphc.passes.constants import splat_of
from graphc.passes.shapes import without_ones


@rule("broadcast")
def broadcast_to_its_shape(b: Builder, op: Op, x: Value) -> Value | None:
    """broadcast(x) that only adds axes of size 1, or none -> reshape(x)"""
    same_elements = x.type == op.result.type or x.type.size == op.result.type.size != 0
    return reshaped(b, x, op.result.type.shape) if same_elements else None


@rule("broadcast")
def broadcast_ones(b: Builder, op: Op, x: Value) -> Value | None:
    """broadcast(x), x with axes of size 1 -> broadcast(reshape(x)) without them"""
    if 1 not in x.type.shape:
        return None
    dims = tuple(d for d, n in zip(ints(op, "dims"), x.type.shape, strict=True) if n != 1)
    return broadcast_in(b, reshaped(b, x, without_ones(x.type.shape)), op.result.type.shape, dims)


@rule("broadcast")
def broadcast_twice(b: Builder, op: Op, x: Value) -> Value | None:
    """broadcast(broadcast(x)) -> broadcast(x)"""
    inner = source(x, "broadcast")
    if inner is None:
        return None
    outer = ints(op, "dims")
    return broadcast_in(b, inner.operands[0], op.result.type.shape, [outer[d] for d in ints(inner, "dims")])


@rule("reshape")
def reshape_broadcast(b: Builder, op: Op, x: Value) -> Value | None:
    """reshape(broadcast(x)) -> broadcast(reshape(x)), the reshape not mixing axes of x with new ones"""
    return reshaped_broadcast(b, x, op.result.type.shape)


@rule("transpose")
def transpose_broadcast(b: Builder, op: Op, x: Value) -> Value | None:
    """transpose(broadcast(x)) -> broadcast(transpose(x))"""
    inner = source(x, "broadcast")
    if inner is None:
        return None
    dims, perm = ints(inner, "dims"), ints(op, "perm")
    order = [dims.index(axis) for axis in perm if axis in dims]
    target = [i for i, axis in enumerate(perm) if axis in dims]
    return broadcast_in(b, transposed(b, inner.operands[0], order), op.result.type.shape, target)


@rule("slice")
def slice_broadcast(b: Builder, op: Op, x: Value) -> Value | None:
    """slice(broadcast(x)) -> broadcast(slice(x))"""
    inner = source(x, "broadcast")
    if inner is None or 1 in inner.operands[0].type.shape:
        return None
    dims = ints(inner, "dims")
    part = {key: tuple(ints(op, key)[d] for d in dims) for key in ("start", "stop", "step")}
    return broadcast_in(b, b.slice(inner.operands[0], **part), op.result.type.shape, dims)


@rule("flip")
def flip_broadcast(b: Builder, op: Op, x: Value) -> Value | None:
    """flip(broadcast(x)) -> broadcast(flip(x))"""
    inner = source(x, "broadcast")
    if inner is None:
        return None
    dims, axes = ints(inner, "dims"), ints(op, "axes")
    flipped = b.flip(inner.operands[0], axes=tuple(i for i, d in enumerate(dims) if d in axes))
    return broadcast_in(b, flipped, op.result.type.shape, dims)


@rule(*names_of(kind="pointwise"))
def pointwise_of_broadcasts(b: Builder, op: Op, *operands: Value) -> Value | None:
    """f(broadcast(x), broadcast(y), splat) -> broadcast(f(x, y, splat)), where that computes fewer elements"""
    shape = op.result.type.shape
    varying: set[int] = set()
    for value in operands:
        found = varying_axes(value)
        if found is None:
            return None
        varying |= found
    dims = sorted(varying)
    small = tuple(shape[d] for d in dims)
    if math.prod(small) >= math.prod(shape):
        return None
    inner = b.emit(op.name, [along(b, v, dims) for v in operands], op.attributes)
    return broadcast_in(b, inner.result, shape, dims)


def reshaped_broadcast(b: Builder, value: Value, shape: tuple[int, ...]) -> Value | None:
    """`value`, a broadcast, in another shape by a reshape of what it broadcasts; None where that does not do."""
    inner = source(value, "broadcast")
    groups = reshape_groups(value.type.shape, shape)
    if inner is None or groups is None or 1 in inner.operands[0].type.shape:
        return None
    kept = set(ints(inner, "dims"))
    if any(0 < len(kept.intersection(g.source)) < len(g.source) for g in groups):
        return None
    dims = [axis for g in groups if kept.issuperset(g.source) for axis in g.result]
    return broadcast_in(b, reshaped(b, inner.operands[0], [shape[d] for d in dims]), shape, dims)


def broadcast_in(b: Builder, x: Value, shape: Sequence[int], dims: Sequence[int]) -> Value:
    """`x` broadcast to `shape`; `x` itself where that changes nothing."""
    return x if x.type.shape == tuple(shape) else b.broadcast(x, shape=tuple(shape), dims=tuple(dims))


def varying_axes(value: Value) -> set[int] | None:
    """The axes along which a broadcast or a splat may vary; None for any other value, which may vary along all."""
    if splat_of(value) is not None:
        return set()
    op = source(value, "broadcast")
    if op is None:
        return None
    return {d for d, n in zip(ints(op, "dims"), op.operands[0].type.shape, strict=True) if n != 1}


def is_constant_along(value: Value, axis: int) -> bool:
    """Whether `value` is known to be the same at every coordinate of an axis."""
    varying = varying_axes(value)
    return varying is not None and axis not in varying


def along(b: Builder, value: Value, dims: Sequence[int]) -> Value:
    """What `value`, a broadcast or a splat that varies along `dims` only, holds along them."""
    shape = tuple(value.type.shape[d] for d in dims)
    number = splat_of(value)
    if number is not None:
        return b.constant(number, value.type.with_shape(shape))
    assert value.op is not None
    x = value.op.operands[0]
    axes = [dims.index(d) for d, n in zip(ints(value.op, "dims"), x.type.shape, strict=True) if n != 1]
    return broadcast_in(b, reshaped(b, x, without_ones(x.type.shape)), shape, axes)
