"""Rewrites of reads and accumulations at indices."""

from __future__ import annotations

from graphc.ir.builder import Builder
from graphc.ir.graph import Op, Value
from graphc.ir.opdef import lookup
from graphc.passes.algebra.broadcasts import along, broadcast_in, is_constant_along
from graphc.passes.algebra.table import ints, reshaped, rule, source
from graphc.passes.constants import splat_of
from graphc.passes.shapes import without


def _axis(op: Op) -> int:
    axis = op.attributes["axis"]
    assert isinstance(axis, int)
    return axis


# --- reading ----------------------------------------------------------------------------------------------------------


@rule("take", "gather")
def read_after_pointwise(b: Builder, op: Op, data: Value, indices: Value) -> Value | None:
    """take(f(x, y), i) -> f(take(x, i), y), y the same all along the axis, where that computes fewer elements; also of
    gather, with i as large as x along the other axes"""
    axis, inner = _axis(op), data.op
    if inner is None or op.result.type.size >= data.type.size:
        return None
    record = lookup(inner.name)
    if record.kind != "pointwise" or record.fault is not None:
        return None
    if op.name == "gather" and without(indices.type.shape, [axis]) != without(data.type.shape, [axis]):
        return None
    if sum(not is_constant_along(v, axis) for v in inner.operands) != 1:
        return None
    read = [
        _spread(b, op, v, axis) if is_constant_along(v, axis) else b.emit(op.name, [v, indices], op.attributes).result
        for v in inner.operands
    ]
    return b.emit(inner.name, read, inner.attributes).result


def _spread(b: Builder, op: Op, value: Value, axis: int) -> Value:
    """What `op` reads of `value`, which is the same all along the axis."""
    others = [d for d in range(value.type.rank) if d != axis]
    more = op.result.type.rank - value.type.rank  # what a take puts in place of the axis, besides one
    shape = op.result.type.shape
    return broadcast_in(b, along(b, value, others), shape, [d if d < axis else d + more for d in others])


# --- accumulating -----------------------------------------------------------------------------------------------------


@rule("scatter_add")
def scatter_one(b: Builder, op: Op, base: Value, indices: Value, updates: Value) -> Value | None:
    """scatter_add(base, i, u), one index for each line of the axis -> where(iota == check_index(i), base + u, base)"""
    axis = _axis(op)
    line = tuple(1 if d == axis else n for d, n in enumerate(base.type.shape))
    return _add_at(b, base, indices, updates, axis) if indices.type.shape == line else None


@rule("index_add")
def add_one_slice(b: Builder, op: Op, base: Value, indices: Value, updates: Value) -> Value | None:
    """index_add(base, i, u), one index -> where(iota == check_index(i), base + u, base)"""
    if indices.type.size != 1:
        return None
    axis, rank = _axis(op), base.type.rank
    line = [1 if d == axis else n for d, n in enumerate(base.type.shape)]
    return _add_at(b, base, reshaped(b, indices, [1] * rank), reshaped(b, updates, line), axis)


def _add_at(b: Builder, base: Value, indices: Value, updates: Value, axis: int) -> Value | None:
    """`updates` added to `base` at one index along the axis; both have size 1 along it."""
    shape = base.type.shape
    if not _counts_to(indices, shape[axis]):
        return None
    dims = range(len(shape))
    index = broadcast_in(b, b.check_index(indices, low=0, high=shape[axis]), shape, dims)
    here = b.eq(b.iota(dtype=indices.type.dtype, shape=shape, axis=axis), index)
    return b.where(here, b.add(base, broadcast_in(b, updates, shape, dims)), base)


@rule("sum")
def sum_of_one(b: Builder, op: Op, x: Value) -> Value | None:
    """sum(where(iota == check_index(i), x, 0)) along the axis of iota -> x, i and x the same all along it, i within it
    (in rounding: the sign of zero)"""
    choice = source(x, "where")
    equal = source(choice.operands[0], "eq") if choice else None
    if choice is None or equal is None or splat_of(choice.operands[2]) != 0 or op.attributes["keepdims"]:
        return None
    for iota, index in (equal.operands, equal.operands[::-1]):
        counter = source(iota, "iota")
        axis = _axis(counter) if counter else -1
        axes = ints(op, "axes")
        if axis not in axes or not is_constant_along(choice.operands[1], axis) or not is_constant_along(index, axis):
            continue
        others = [d for d in range(x.type.rank) if d != axis]
        if _is_within(index, x.type.shape[axis]) and _counts_to(iota, x.type.shape[axis]):
            kept = along(b, choice.operands[1], others)
            return b.sum(kept, axes=tuple(others.index(d) for d in axes if d != axis))
    return None


def _is_within(index: Value, size: int) -> bool:
    """Whether every element of an index, which may be a broadcast, was checked to be at least 0 and below `size`."""
    spread = source(index, "broadcast")
    check = source(spread.operands[0] if spread else index, "check_index")
    if check is None:
        return False
    low, high = check.attributes["low"], check.attributes["high"]
    assert isinstance(low, int)
    assert isinstance(high, int)
    return low >= 0 and high <= size


def _counts_to(value: Value, size: int) -> bool:
    """Whether the integer type of `value` holds 0 to `size` - 1."""
    dtype = value.type.dtype
    return size <= 1 << (8 * dtype.itemsize - (dtype.kind == "int"))
