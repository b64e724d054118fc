"""Rewrites of reductions.

In the canonical form a reduction drops the axes it reduces (`keepdims` became a reshape), and reads neither a
broadcast, nor a transpose, nor another reduction of its kind. The IR does not fix the order in which a sum or a product
is formed, so rewrites here may change its rounding.
"""

from __future__ import annotations

import math

from graphc.ir.builder import Builder
from graphc.ir.graph import Op, Value
from graphc.ir.opdef import lookup
from graphc.ir.reshape_groups import reshape_groups
from graphc.ir.types import DType
from graphc.passes.algebra.broadcasts import broadcast_in
from graphc.passes.algebra.table import ints, names_of, reshaped, rule, source, transposed
from graphc.passes.constants import Number, as_element, same_number, splat_of
from graphc.passes.shapes import without

REDUCTIONS = names_of(kind="reduce")
# Those that give elements of the type of their operand: all but argmax and argmin, which give positions.
COMBINING = [name for name in REDUCTIONS if (r := lookup(name).reduction) and r.combine is not None]


@rule(*REDUCTIONS)
def drop_kept_axes(b: Builder, op: Op, x: Value) -> Value | None:
    """reduce(x) keeping its axes -> reshape(reduce(x)) without them"""
    return reshaped(b, _reduce(b, op, x, ints(op, "axes")), op.result.type.shape) if op.attributes["keepdims"] else None


@rule(*COMBINING)
def reduce_one(b: Builder, op: Op, x: Value) -> Value | None:
    """reduce(x) over no axis, or over axes of size 1 -> reshape(x), or x"""
    return reshaped(b, x, op.result.type.shape) if all(x.type.shape[a] == 1 for a in ints(op, "axes")) else None


@rule("argmax", "argmin")
def index_of_one(b: Builder, op: Op, x: Value) -> Value | None:
    """argmax(x) over an axis of size 1 -> 0"""
    return b.constant(0, op.result.type) if all(x.type.shape[a] == 1 for a in ints(op, "axes")) else None


@rule(*COMBINING)
def reduce_splat(b: Builder, op: Op, x: Value) -> Value | None:
    """reduce(splat c) -> c for max, min, any, all;  n * c for sum (in rounding);  reduce(x) of nothing -> identity"""
    c = splat_of(x)
    n = math.prod(x.type.shape[a] for a in ints(op, "axes"))
    identity = _identity(op.name, x.type.dtype)
    if n == 0 and identity is not None:
        return b.constant(identity, op.result.type)
    if c is None:
        return None
    if op.name == "sum":
        return b.constant(as_element(n * c, x.type.dtype), op.result.type)
    return b.constant(c, op.result.type) if _is_idempotent(op.name) else None


@rule(*COMBINING)
def reduce_twice(b: Builder, op: Op, x: Value) -> Value | None:
    """reduce(reduce(x)) -> reduce(x), of one kind (sum, prod: in rounding)"""
    inner = source(x, op.name)
    if inner is None or inner.attributes["keepdims"]:
        return None
    origin, first = inner.operands[0], ints(inner, "axes")
    kept = [a for a in range(origin.type.rank) if a not in first]
    return _reduce(b, op, origin, sorted({*first, *(kept[a] for a in ints(op, "axes"))}))


@rule(*REDUCTIONS)
def reduce_transpose(b: Builder, op: Op, x: Value) -> Value | None:
    """reduce(transpose(x)) -> transpose(reduce(x)), or reduce(x) (sum, prod: in rounding)"""
    inner = source(x, "transpose")
    if inner is None:
        return None
    perm, axes = ints(inner, "perm"), ints(op, "axes")
    reduced = sorted(perm[a] for a in axes)
    kept = [axis for axis in range(len(perm)) if axis not in reduced]
    order = [kept.index(perm[i]) for i in range(len(perm)) if i not in axes]
    return transposed(b, _reduce(b, op, inner.operands[0], reduced), order)


@rule(*COMBINING)
def reduce_reshape(b: Builder, op: Op, x: Value) -> Value | None:
    """reduce(reshape(x)) -> reshape(reduce(x)), or reduce(x), the reshape not mixing reduced axes with kept ones (sum,
    prod: in rounding)"""
    inner = source(x, "reshape")
    groups = reshape_groups(inner.operands[0].type.shape, x.type.shape) if inner else None
    if inner is None or groups is None:
        return None
    axes = set(ints(op, "axes"))
    if any(0 < len(axes.intersection(g.result)) < len(g.result) for g in groups):
        return None
    origin = inner.operands[0]
    reduced = sorted(axis for g in groups if axes.issuperset(g.result) for axis in g.source)
    return reshaped(b, _reduce(b, op, origin, reduced), op.result.type.shape)


@rule(*COMBINING)
def reduce_broadcast(b: Builder, op: Op, x: Value) -> Value | None:
    """reduce(broadcast(x)) -> broadcast(reduce(x)), with sums over n new elements times n (in rounding); prod only over
    axes that x has"""
    inner = source(x, "broadcast")
    if inner is None or 1 in inner.operands[0].type.shape or 0 in x.type.shape:
        return None
    origin, dims, axes = inner.operands[0], ints(inner, "dims"), ints(op, "axes")
    repeats = math.prod(x.type.shape[a] for a in axes if a not in dims)
    dtype = x.type.dtype
    factor = as_element(repeats, dtype)
    multiplies = op.name == "sum" and (factor == repeats or not dtype.is_float)
    if repeats != 1 and not (multiplies or _is_idempotent(op.name)):
        return None
    result = _reduce(b, op, origin, [i for i, d in enumerate(dims) if d in axes])
    if op.name == "sum":
        result = b.mul(result, b.full_like(result, factor))
    kept = [d for d in range(x.type.rank) if d not in axes]
    return broadcast_in(b, result, op.result.type.shape, [kept.index(d) for d in dims if d not in axes])


@rule(*COMBINING)
def reduce_pad(b: Builder, op: Op, x: Value) -> Value | None:
    """reduce(pad(x)) with what the reduction ignores -> pad(reduce(x)), or reduce(x)"""
    inner = source(x, "pad")
    identity = _identity(op.name, x.type.dtype)
    if inner is None or identity is None:
        return None
    origin, axes, value = inner.operands[0], ints(op, "axes"), inner.attributes["value"]
    if 0 in origin.type.shape or not (same_number(value, identity, x.type.dtype) or (op.name == "sum" and value == 0)):
        return None
    amounts = {key: without(ints(inner, key), axes) for key in ("low", "high", "interior")}
    result = _reduce(b, op, origin, axes)
    return b.pad(result, **amounts, value=identity) if any(map(any, amounts.values())) else result


def _reduce(b: Builder, op: Op, x: Value, axes: object) -> Value:
    """The reduction `op` of `x` over other axes, which it drops."""
    return b.emit(op.name, [x], {"axes": tuple(axes), "keepdims": False}).result  # type: ignore[arg-type]


def _identity(name: str, dtype: DType) -> Number | None:
    reduction = lookup(name).reduction
    return reduction.identity(dtype) if reduction and reduction.identity else None


def _is_idempotent(name: str) -> bool:
    return name in ("max", "min", "any", "all")
