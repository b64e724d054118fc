"""Ops that move elements and compute nothing: each result element is one operand element or a fill value."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from graphc.ir.attributes import Attributes
from graphc.ir.errors import AttributeValueError, ShapeError
from graphc.ir.graph import Op, Value
from graphc.ir.opdef import Access, Array, AttrSpec, OpDef, register
from graphc.ir.ops.checks import require_axes, require_axis, require_number, require_per_axis, tensor
from graphc.ir.ops.gradients import linear_vjp
from graphc.ir.ops.rounding import splat
from graphc.ir.ops.samples import Sample, example, over_types
from graphc.ir.reshape_groups import reshape_groups
from graphc.ir.types import DType, TensorType, from_numpy_dtype

if TYPE_CHECKING:
    from graphc.ir.builder import Builder

Ints = tuple[int, ...]
Index = tuple[Any, ...]


def _ints(attrs: Attributes, key: str) -> Ints:
    return cast(Ints, attrs[key])


# --- broadcast


def _broadcast_infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    (x,) = types
    result = tensor("broadcast", x.dtype, _ints(attrs, "shape"))
    dims = _ints(attrs, "dims")
    require_per_axis("broadcast", "dims", dims, x)
    require_axes("broadcast", dims, result)
    for size, dim in zip(x.shape, dims, strict=True):
        if size not in (1, result.shape[dim]):
            raise ShapeError(f"broadcast: {x} does not fit {result} with dims {dims}; each size must be equal or 1")
    return [result]


def _broadcast_eval(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
    shape, dims = _ints(attrs, "shape"), _ints(attrs, "dims")
    aligned = [1] * len(shape)
    for size, dim in zip(arrays[0].shape, dims, strict=True):
        aligned[dim] = size
    return [np.broadcast_to(arrays[0].reshape(aligned), shape)]


def _broadcast_index(op: Op, index: Index) -> list[Access]:
    sizes, dims = op.operands[0].type.shape, _ints(op.attributes, "dims")
    return [Access(0, tuple(0 if n == 1 else index[d] for n, d in zip(sizes, dims, strict=True)))]


def _broadcast_vjp(b: Builder, op: Op, ct: Value) -> list[Value | None]:
    operand, dims = op.operands[0].type, _ints(op.attributes, "dims")
    kept = [d for d, n in zip(dims, operand.shape, strict=True) if n == ct.type.shape[d]]
    summed = b.sum(ct, axes=tuple(d for d in range(ct.type.rank) if d not in kept))
    return [b.reshape(summed, shape=operand.shape)]


def _broadcast_samples(dtype: DType) -> list[Sample]:
    places: list[tuple[Ints, Ints, Ints]] = [((3, 1), (2, 3, 5), (1, 2)), ((), (3, 5), ()), ((5,), (3, 5), (1,))]
    places += [((3,), (3, 5), (0,)), ((3, 5), (3, 5), (0, 1)), ((1,), (2, 0), (0,)), ((1, 1), (4, 3, 2), (0, 2))]
    return [([example(dtype, shape)], {"shape": target, "dims": dims}) for shape, target, dims in places]


register(
    OpDef(
        name="broadcast",
        kind="layout",
        doc="Operand axis i becomes result axis dims[i]; along it the size is the same, or 1 and repeated.",
        attrs={"shape": AttrSpec("ints"), "dims": AttrSpec("ints")},
        infer=_broadcast_infer,
        eval=_broadcast_eval,
        index_map=_broadcast_index,
        vjp=linear_vjp(_broadcast_vjp),
        n_operands=1,
        samples=over_types("any", _broadcast_samples),
    )
)

# --- reshape


def _reshape_infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    result = tensor("reshape", types[0].dtype, _ints(attrs, "shape"))
    if result.size != types[0].size:
        raise ShapeError(f"reshape: {types[0]} has {types[0].size} elements, {result} has {result.size}")
    return [result]


def _reshape_index(op: Op, index: Index) -> list[Access]:
    source, target = op.operands[0].type.shape, op.results[0].type.shape
    found: list[Any] = [0] * len(source)
    for group in reshape_groups(source, target) or ():
        # Linear within the group, then split again; the first axis of a group needs no remainder.
        linear: Any = 0
        for axis in group.result:
            linear = index[axis] if axis == group.result[0] else linear * target[axis] + index[axis]
        for position, axis in enumerate(group.source):
            inner = math.prod(source[a] for a in group.source[position + 1 :])
            coordinate = linear // inner if inner > 1 else linear
            found[axis] = coordinate % source[axis] if position else coordinate
    return [Access(0, tuple(found))]


def _reshape_samples(dtype: DType) -> list[Sample]:
    places: list[tuple[Ints, Ints]] = [((4, 6), (2, 3, 4)), ((2, 3, 4), (24,)), ((24,), (4, 1, 6)), ((1, 1), ())]
    places += [((), (1,)), ((2, 3, 4, 5), (6, 20)), ((6, 20), (2, 3, 1, 4, 5)), ((0, 3), (5, 0)), ((3, 5), (3, 5))]
    return [([example(dtype, shape)], {"shape": target}) for shape, target in places]


register(
    OpDef(
        name="reshape",
        kind="layout",
        doc="The same elements in row-major order under another shape.",
        attrs={"shape": AttrSpec("ints")},
        infer=_reshape_infer,
        eval=lambda arrays, attrs: [arrays[0].reshape(_ints(attrs, "shape"))],
        index_map=_reshape_index,
        vjp=linear_vjp(lambda b, op, ct: [b.reshape(ct, shape=op.operands[0].type.shape)]),
        n_operands=1,
        samples=over_types("any", _reshape_samples),
    )
)

# --- transpose


def _transpose_infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    (x,) = types
    perm = _ints(attrs, "perm")
    if sorted(perm) != list(range(x.rank)):
        raise AttributeValueError(f"transpose: {perm} is no permutation of the {x.rank} axes of {x}")
    return [x.with_shape(tuple(x.shape[p] for p in perm))]


def _transpose_index(op: Op, index: Index) -> list[Access]:
    found: list[Any] = [None] * len(index)
    for axis, source in enumerate(_ints(op.attributes, "perm")):
        found[source] = index[axis]
    return [Access(0, tuple(found))]


def _transpose_vjp(b: Builder, op: Op, ct: Value) -> list[Value | None]:
    perm = _ints(op.attributes, "perm")
    return [b.transpose(ct, perm=tuple(perm.index(axis) for axis in range(len(perm))))]


def _transpose_samples(dtype: DType) -> list[Sample]:
    places: list[tuple[Ints, Ints]] = [((3, 5), (1, 0)), ((2, 3, 4), (2, 0, 1)), ((2, 3, 4), (0, 2, 1)), ((), ())]
    places += [((2, 1, 0), (2, 1, 0)), ((7,), (0,))]
    return [([example(dtype, shape)], {"perm": perm}) for shape, perm in places]


register(
    OpDef(
        name="transpose",
        kind="layout",
        doc="Result axis i is operand axis perm[i].",
        attrs={"perm": AttrSpec("ints")},
        infer=_transpose_infer,
        eval=lambda arrays, attrs: [arrays[0].transpose(_ints(attrs, "perm"))],
        index_map=_transpose_index,
        vjp=linear_vjp(_transpose_vjp),
        n_operands=1,
        samples=over_types("any", _transpose_samples),
    )
)

# --- slice


def _slice_infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    (x,) = types
    start, stop, step = (_ints(attrs, key) for key in ("start", "stop", "step"))
    for key, values in (("start", start), ("stop", stop), ("step", step)):
        require_per_axis("slice", key, values, x)
    for axis, size in enumerate(x.shape):
        if not 0 <= start[axis] <= stop[axis] <= size or step[axis] < 1:
            raise AttributeValueError(
                f"slice: {start[axis]}:{stop[axis]}:{step[axis]} on axis {axis} of {x}; it needs "
                f"0 <= start <= stop <= {size} and step >= 1"
            )
    return [x.with_shape(tuple(-(-(b - a) // s) for a, b, s in zip(start, stop, step, strict=True)))]


def _slice_eval(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
    parts = zip(_ints(attrs, "start"), _ints(attrs, "stop"), _ints(attrs, "step"), strict=True)
    return [np.asarray(arrays[0][tuple(slice(*part) for part in parts)])]


def _slice_index(op: Op, index: Index) -> list[Access]:
    found = []
    for i, start, step in zip(index, _ints(op.attributes, "start"), _ints(op.attributes, "step"), strict=True):
        scaled = i * step if step != 1 else i
        found.append(scaled + start if start else scaled)
    return [Access(0, tuple(found))]


def _slice_vjp(b: Builder, op: Op, ct: Value) -> list[Value | None]:
    start, step = _ints(op.attributes, "start"), _ints(op.attributes, "step")
    high = tuple(
        size - first - ((n - 1) * k + 1 if n else 0)
        for size, first, n, k in zip(op.operands[0].type.shape, start, ct.type.shape, step, strict=True)
    )
    return [b.pad(ct, low=start, high=high, interior=tuple(k - 1 for k in step), value=0.0)]


def _slice_samples(dtype: DType) -> list[Sample]:
    places: list[tuple[Ints, Ints, Ints, Ints]] = [((6, 9), (1, 2), (5, 9), (2, 3)), ((6,), (0,), (6,), (1,))]
    places += [
        ((6,), (2,), (2,), (1,)),
        ((), (), (), ()),
        ((5, 4), (0, 1), (5, 2), (1, 1)),
        ((3, 0), (1, 0), (3, 0), (5, 2)),
    ]
    return [
        ([example(dtype, shape)], {"start": start, "stop": stop, "step": step}) for shape, start, stop, step in places
    ]


register(
    OpDef(
        name="slice",
        kind="layout",
        doc="Along each axis, elements start, start + step, ... below stop.",
        attrs={"start": AttrSpec("ints"), "stop": AttrSpec("ints"), "step": AttrSpec("ints")},
        infer=_slice_infer,
        eval=_slice_eval,
        index_map=_slice_index,
        vjp=linear_vjp(_slice_vjp),
        n_operands=1,
        samples=over_types("any", _slice_samples),
    )
)

# --- pad


def _pad_infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    (x,) = types
    low, high, interior = (_ints(attrs, key) for key in ("low", "high", "interior"))
    for key, values in (("low", low), ("high", high), ("interior", interior)):
        require_per_axis("pad", key, values, x)
        if any(v < 0 for v in values):
            raise AttributeValueError(f"pad: {key} {values} has a negative entry; use slice to cut")
    require_number("pad", attrs["value"], x.dtype)
    sizes = (a + n + max(n - 1, 0) * k + b for a, n, k, b in zip(low, x.shape, interior, high, strict=True))
    return [tensor("pad", x.dtype, tuple(sizes))]


def _pad_eval(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
    (x,) = arrays
    (result_type,) = _pad_infer([TensorType(from_numpy_dtype(x.dtype), x.shape)], attrs)
    result = splat(attrs["value"], result_type.dtype, result_type.shape)  # type: ignore[arg-type]
    places = tuple(
        slice(a, a + max(0, (n - 1) * (k + 1) + 1), k + 1)
        for a, n, k in zip(_ints(attrs, "low"), x.shape, _ints(attrs, "interior"), strict=True)
    )
    result[places] = x
    return [result]


def _pad_index(op: Op, index: Index) -> list[Access]:
    sizes, attrs = op.operands[0].type.shape, op.attributes
    found, conditions = [], []
    low, high, interior = (_ints(attrs, key) for key in ("low", "high", "interior"))
    for i, size, before, after, gap in zip(index, sizes, low, high, interior, strict=True):
        if before:
            conditions.append(i >= before)
        if after or not size:
            conditions.append(i < before + (size - 1) * (gap + 1) + 1 if size else i < before)
        shifted = i - before if before else i
        if gap and size > 1:
            conditions.append(shifted % (gap + 1) == 0)
            shifted = shifted // (gap + 1)
        found.append(shifted)
    when = None
    for condition in conditions:
        when = condition if when is None else when & condition
    return [Access(0, tuple(found), when)]


def _pad_vjp(b: Builder, op: Op, ct: Value) -> list[Value | None]:
    low, step = _ints(op.attributes, "low"), tuple(k + 1 for k in _ints(op.attributes, "interior"))
    stop = tuple(
        first + ((n - 1) * k + 1 if n else 0) for first, n, k in zip(low, op.operands[0].type.shape, step, strict=True)
    )
    return [b.slice(ct, start=low, stop=stop, step=step)]


def _pad_samples(dtype: DType) -> list[Sample]:
    value: float | int | bool = -1.5 if dtype.is_float else True if dtype.is_bool else 7
    places: list[tuple[Ints, Ints, Ints, Ints]] = [((3, 2), (1, 0), (2, 3), (2, 1)), ((4,), (0,), (0,), (0,))]
    places += [((4,), (2,), (0,), (0,)), ((4,), (0,), (3,), (0,)), ((1,), (1,), (1,), (4,)), ((), (), (), ())]
    places += [((0, 2), (1, 0), (2, 0), (3, 0)), ((3,), (0,), (0,), (1,))]
    return [
        ([example(dtype, shape)], {"low": low, "high": high, "interior": interior, "value": value})
        for shape, low, high, interior in places
    ]


register(
    OpDef(
        name="pad",
        kind="layout",
        doc="Along each axis, `low` fill values before, `high` after and `interior` between neighbours.",
        attrs={
            "low": AttrSpec("ints"),
            "high": AttrSpec("ints"),
            "interior": AttrSpec("ints"),
            "value": AttrSpec("scalar"),
        },
        infer=_pad_infer,
        eval=_pad_eval,
        index_map=_pad_index,
        vjp=linear_vjp(_pad_vjp),
        n_operands=1,
        samples=over_types("any", _pad_samples),
    )
)

# --- concat


def _concat_infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    axis = cast(int, attrs["axis"])
    if not types:
        raise ShapeError("concat: it needs at least one operand")
    first = types[0]
    require_axis("concat", axis, first)
    for other in types[1:]:
        rest = [(a, b) for d, (a, b) in enumerate(zip(first.shape, other.shape, strict=False)) if d != axis]
        if other.dtype != first.dtype or other.rank != first.rank or any(a != b for a, b in rest):
            raise ShapeError(f"concat: {first} and {other} may differ in the size of axis {axis} only; cast or reshape")
    total = sum(t.shape[axis] for t in types)
    return [tensor("concat", first.dtype, (*first.shape[:axis], total, *first.shape[axis + 1 :]))]


def _concat_index(op: Op, index: Index) -> list[Access]:
    axis = cast(int, op.attributes["axis"])
    sizes = [v.type.shape[axis] for v in op.operands]
    ends = list(itertools.accumulate(sizes))
    accesses = []
    for operand, (size, end) in enumerate(zip(sizes, ends, strict=True)):
        if size:
            shifted = index[axis] - (end - size) if end > size else index[axis]
            when = None if end == ends[-1] else index[axis] < end
            accesses.append(Access(operand, (*index[:axis], shifted, *index[axis + 1 :]), when))
    return accesses or [Access(0, index)]


def _concat_vjp(b: Builder, op: Op, ct: Value) -> list[Value | None]:
    axis = cast(int, op.attributes["axis"])
    ends = itertools.accumulate(v.type.shape[axis] for v in op.operands)
    whole = ct.type.shape
    parts: list[Value | None] = []
    for operand, end in zip(op.operands, ends, strict=True):
        first = end - operand.type.shape[axis]
        start = tuple(first if d == axis else 0 for d in range(len(whole)))
        stop = tuple(end if d == axis else n for d, n in enumerate(whole))
        parts.append(b.slice(ct, start=start, stop=stop, step=(1,) * len(whole)))
    return parts


def _concat_samples(dtype: DType) -> list[Sample]:
    places: list[tuple[list[Ints], int]] = [([(2, 3), (1, 3), (4, 3)], 0), ([(2, 3), (2, 1)], 1), ([(3,)], 0)]
    places += [([(0, 3), (2, 3), (0, 3)], 0), ([(2, 0), (2, 0)], 1), ([(2, 3, 2), (2, 5, 2)], 1)]
    return [([example(dtype, s, i) for i, s in enumerate(shapes)], {"axis": axis}) for shapes, axis in places]


register(
    OpDef(
        name="concat",
        kind="layout",
        doc="The operands one after the other along an axis.",
        attrs={"axis": AttrSpec(int)},
        infer=_concat_infer,
        eval=lambda arrays, attrs: [np.concatenate(arrays, axis=cast(int, attrs["axis"]))],
        index_map=_concat_index,
        vjp=linear_vjp(_concat_vjp),
        n_operands=None,
        samples=over_types("any", _concat_samples),
    )
)

# --- flip


def _flip_infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    require_axes("flip", _ints(attrs, "axes"), types[0])
    return [types[0]]


def _flip_index(op: Op, index: Index) -> list[Access]:
    axes, shape = _ints(op.attributes, "axes"), op.operands[0].type.shape
    return [Access(0, tuple((shape[d] - 1) - i if d in axes else i for d, i in enumerate(index)))]


def _flip_samples(dtype: DType) -> list[Sample]:
    places: list[tuple[Ints, Ints]] = [((3, 5), (1,)), ((3, 5), (0, 1)), ((2, 3, 4), (0, 2)), ((), ()), ((2, 0), (0,))]
    return [([example(dtype, shape)], {"axes": axes}) for shape, axes in places]


register(
    OpDef(
        name="flip",
        kind="layout",
        doc="The order of the elements reversed along some axes.",
        attrs={"axes": AttrSpec("ints")},
        infer=_flip_infer,
        eval=lambda arrays, attrs: [np.asarray(np.flip(arrays[0], _ints(attrs, "axes")))],
        index_map=_flip_index,
        vjp=linear_vjp(lambda b, op, ct: [b.flip(ct, axes=_ints(op.attributes, "axes"))]),
        n_operands=1,
        samples=over_types("any", _flip_samples),
    )
)
