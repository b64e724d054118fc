"""Rewrites of the other layout ops: reshape, transpose, slice, pad, concat, flip; and of iota."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ir.builder import Builder
from graphc.ir.graph import Op, Value
from graphc.ir.opdef import lookup
from graphc.ir.reshape_groups import reshape_groups
from graphc.passes.algebra.broadcasts import reshaped_broadcast
from graphc.passes.algebra.table import ints, names_of, reshaped, rule, source, transposed
from graphc.passes.constants import same_number, splat_of

_DEPTH = 4  # pointwise ops that a reshape goes past at once


@rule("iota")
def iota_of_one(b: Builder, op: Op) -> Value | None:
    """iota along an axis of size 1 -> 0"""
    axis = op.attributes["axis"]
    assert isinstance(axis, int)
    return b.constant(0, op.result.type) if op.result.type.shape[axis] == 1 else None


@rule("broadcast")
def broadcast_iota(b: Builder, op: Op, x: Value) -> Value | None:
    """broadcast(iota) -> iota, along an axis that is not itself broadcast"""
    iota = source(x, "iota")
    axis = ints(op, "dims")[iota.attributes["axis"]] if iota else 0  # type: ignore[index]
    shape = op.result.type.shape
    if iota is None or shape[axis] != x.type.shape[iota.attributes["axis"]]:  # type: ignore[index]
        return None
    return b.iota(dtype=x.type.dtype, shape=shape, axis=axis)


# --- reshape, transpose -----------------------------------------------------------------------------------------------


@rule("reshape")
def reshape_to_its_shape(b: Builder, op: Op, x: Value) -> Value | None:
    """reshape(x) to the shape of x -> x"""
    return x if x.type == op.result.type else None


@rule("reshape")
def reshape_twice(b: Builder, op: Op, x: Value) -> Value | None:
    """reshape(reshape(x)) -> reshape(x)"""
    inner = source(x, "reshape")
    return reshaped(b, inner.operands[0], op.result.type.shape) if inner else None


@rule(*names_of(kind="pointwise"))
def pointwise_of_reshapes(b: Builder, op: Op, *operands: Value) -> Value | None:
    """f(reshape(x), reshape(y), splat) -> reshape(f(x, y, splat)), also with what is as good in another shape:
    broadcasts, iotas, functions of these; and, where x is computed, arguments, whose reshapes cost nothing"""
    sources = [inner.operands[0] for v in operands if (inner := source(v, "reshape"))]
    computed = [v for v in sources if not _lies_in_memory(v)]
    shapes = {v.type.shape for v in computed or sources}
    if len(shapes) != 1:
        return None
    (shape,) = shapes
    moved = [
        reshaped(b, v, shape) if computed and _lies_in_memory(v) else _in_shape(b, v, shape, _DEPTH) for v in operands
    ]
    known = [v for v in moved if v is not None]
    if len(known) < len(moved):
        return None
    return reshaped(b, b.emit(op.name, known, op.attributes).result, op.result.type.shape)


def _lies_in_memory(value: Value) -> bool:
    """Whether `value` is an argument or a constant array."""
    return value.op is None or (value.op.name == "constant" and splat_of(value) is None)


def _in_shape(b: Builder, value: Value, shape: tuple[int, ...], depth: int) -> Value | None:
    """A reshape, a splat, a broadcast or an iota in another shape, or pointwise ops on these; None for other values."""
    number = splat_of(value)
    if number is not None:
        return b.constant(number, value.type.with_shape(shape))
    if source(value, "reshape"):
        return reshaped(b, value, shape)
    if value.op is not None and depth and lookup(value.op.name).kind == "pointwise":
        found = [_in_shape(b, v, shape, depth - 1) for v in value.op.operands]
        known = [v for v in found if v is not None]
        return b.emit(value.op.name, known, value.op.attributes).result if len(known) == len(found) else None
    return reshaped_broadcast(b, value, shape) or _reshaped_iota(b, value, shape)


def _reshaped_iota(b: Builder, value: Value, shape: tuple[int, ...]) -> Value | None:
    """`value`, an iota, in a shape that has its axis; None for other values and shapes."""
    inner = source(value, "iota")
    groups = reshape_groups(value.type.shape, shape) if inner else None
    if inner is None or groups is None:
        return None
    axes = [g.result[0] for g in groups if g.source == (inner.attributes["axis"],) and len(g.result) == 1]
    return b.iota(dtype=value.type.dtype, shape=shape, axis=axes[0]) if axes else None


@rule("transpose")
def transpose_ones(b: Builder, op: Op, x: Value) -> Value | None:
    """transpose(x) that keeps the order of the axes, those of size 1 aside -> reshape(x), or x"""
    moved = [axis for axis in ints(op, "perm") if x.type.shape[axis] != 1]
    return reshaped(b, x, op.result.type.shape) if moved == sorted(moved) else None


@rule("transpose")
def transpose_twice(b: Builder, op: Op, x: Value) -> Value | None:
    """transpose(transpose(x)) -> transpose(x), or x"""
    inner = source(x, "transpose")
    if inner is None:
        return None
    return transposed(b, inner.operands[0], [ints(inner, "perm")[axis] for axis in ints(op, "perm")])


# --- slice ------------------------------------------------------------------------------------------------------------


@rule("slice")
def slice_everything(b: Builder, op: Op, x: Value) -> Value | None:
    """slice(x) of the whole of x -> x"""
    return x if x.type == op.result.type else None


@rule("slice")
def slice_twice(b: Builder, op: Op, x: Value) -> Value | None:
    """slice(slice(x)) -> slice(x)"""
    inner = source(x, "slice")
    if inner is None:
        return None
    starts, steps = ints(inner, "start"), ints(inner, "step")
    shape = op.result.type.shape
    start = [s + t * a for s, t, a in zip(starts, steps, ints(op, "start"), strict=True)]
    step = [t * u for t, u in zip(steps, ints(op, "step"), strict=True)]
    return _slice(b, inner.operands[0], start, step, shape)


@rule("slice")
def slice_concat(b: Builder, op: Op, x: Value) -> Value | None:
    """slice(concat(..., x, ...)) within x -> slice(x)"""
    inner = source(x, "concat")
    if inner is None or 0 in op.result.type.shape:
        return None
    axis = inner.attributes["axis"]
    assert isinstance(axis, int)
    start, step = list(ints(op, "start")), ints(op, "step")
    last = start[axis] + step[axis] * (op.result.type.shape[axis] - 1)
    begin = 0
    for piece in inner.operands:
        end = begin + piece.type.shape[axis]
        if begin <= start[axis] and last < end:
            start[axis] -= begin
            return _slice(b, piece, start, step, op.result.type.shape)
        begin = end
    return None


@rule("slice")
def slice_pad(b: Builder, op: Op, x: Value) -> Value | None:
    """slice(pad(x)) within x -> slice(x), no padding in between the elements"""
    inner = source(x, "pad")
    if inner is None or 0 in op.result.type.shape or any(ints(inner, "interior")):
        return None
    padded = inner.operands[0]
    start = [s - low for s, low in zip(ints(op, "start"), ints(inner, "low"), strict=True)]
    last = [s + t * (n - 1) for s, t, n in zip(start, ints(op, "step"), op.result.type.shape, strict=True)]
    if min(start) < 0 or any(i >= n for i, n in zip(last, padded.type.shape, strict=True)):
        return None
    return _slice(b, padded, start, ints(op, "step"), op.result.type.shape)


def _slice(b: Builder, x: Value, start: Sequence[int], step: Sequence[int], shape: Sequence[int]) -> Value:
    """The slice of `x` from `start` by `step` that has this shape."""
    start = [s if n else 0 for s, n in zip(start, shape, strict=True)]
    stop = [s + t * (n - 1) + 1 if n else 0 for s, t, n in zip(start, step, shape, strict=True)]
    return b.slice(x, start=tuple(start), stop=tuple(stop), step=tuple(step))


# --- pad, concat, flip ------------------------------------------------------------------------------------------------


@rule("pad")
def pad_nothing(b: Builder, op: Op, x: Value) -> Value | None:
    """pad(x) by nothing -> x"""
    return x if x.type == op.result.type else None


@rule("pad")
def pad_twice(b: Builder, op: Op, x: Value) -> Value | None:
    """pad(pad(x)) -> pad(x), of one value, the outer without padding in between"""
    inner = source(x, "pad")
    if inner is None or any(ints(op, "interior")):
        return None
    if not same_number(inner.attributes["value"], op.attributes["value"], x.type.dtype):
        return None
    low, high = ([p + q for p, q in zip(ints(inner, k), ints(op, k), strict=True)] for k in ("low", "high"))
    return b.pad(
        inner.operands[0],
        low=tuple(low),
        high=tuple(high),
        interior=ints(inner, "interior"),
        value=op.attributes["value"],
    )


@rule("concat")
def concat_one(b: Builder, op: Op, *pieces: Value) -> Value | None:
    """concat(x) -> x"""
    return pieces[0] if len(pieces) == 1 else None


@rule("concat")
def concat_flat(b: Builder, op: Op, *pieces: Value) -> Value | None:
    """concat(concat(x, y), z) -> concat(x, y, z) along one axis;  without the pieces that have no elements"""
    axis = op.attributes["axis"]
    assert isinstance(axis, int)
    flat: list[Value] = []
    for piece in pieces:
        inner = source(piece, "concat")
        flat += inner.operands if inner and inner.attributes["axis"] == axis else [piece]
    kept = [piece for piece in flat if piece.type.shape[axis]] or flat[:1]
    return None if kept == list(pieces) else b.concat(*kept, axis=axis)


@rule("concat")
def concat_slices(b: Builder, op: Op, *pieces: Value) -> Value | None:
    """concat(x[a:b], x[b:c]) -> x[a:c], along the axis they are cut on"""
    axis = op.attributes["axis"]
    assert isinstance(axis, int)
    joined = [pieces[0]]
    for piece in pieces[1:]:
        both = _adjoining(b, joined[-1], piece, axis)
        joined[-1:] = [joined[-1], piece] if both is None else [both]
    return None if len(joined) == len(pieces) else b.concat(*joined, axis=axis)


def _adjoining(b: Builder, x: Value, y: Value, axis: int) -> Value | None:
    left, right = source(x, "slice"), source(y, "slice")
    if left is None or right is None or left.operands[0] is not right.operands[0]:
        return None
    if set(ints(left, "step")) != {1} or set(ints(right, "step")) != {1}:
        return None
    start, stop = list(ints(right, "start")), list(ints(left, "stop"))
    if start[axis] != stop[axis]:
        return None
    start[axis], stop[axis] = ints(left, "start")[axis], ints(right, "stop")[axis]
    if tuple(start) != ints(left, "start") or tuple(stop) != ints(right, "stop"):
        return None
    return b.slice(left.operands[0], start=tuple(start), stop=tuple(stop), step=ints(left, "step"))


@rule("flip")
def flip_ones(b: Builder, op: Op, x: Value) -> Value | None:
    """flip(x) of no axis, or of axes of size 1 only -> x;  without the axes of size 1"""
    axes = ints(op, "axes")
    kept = tuple(axis for axis in axes if x.type.shape[axis] != 1)
    return None if kept == axes else b.flip(x, axes=kept) if kept else x


@rule("flip")
def flip_twice(b: Builder, op: Op, x: Value) -> Value | None:
    """flip(flip(x)) -> flip(x), of the axes that are flipped once"""
    inner = source(x, "flip")
    if inner is None:
        return None
    return b.flip(inner.operands[0], axes=tuple(sorted(set(ints(inner, "axes")) ^ set(ints(op, "axes")))))
