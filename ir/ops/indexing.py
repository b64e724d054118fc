"""Reading and accumulating at indices held in a tensor. Indices are never negative; one out of range faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from graphc.ir.attributes import Attributes
from graphc.ir.errors import DTypeError, OutOfRangeError, ShapeError
from graphc.ir.graph import Op, Value
from graphc.ir.opdef import Access, Array, AttrSpec, OpDef, register
from graphc.ir.ops.checks import require_axis, require_dtype, tensor
from graphc.ir.ops.gradients import linear_vjp, zeros
from graphc.ir.ops.rounding import narrow, widen
from graphc.ir.ops.samples import Sample, Samples, between, example, over_types
from graphc.ir.types import DType, TensorType, i32, i64

if TYPE_CHECKING:
    from graphc.ir.builder import Builder

Index = tuple[Any, ...]
_ATTRS = {"axis": AttrSpec(int)}


def _axis(attrs: Attributes) -> int:
    return cast(int, attrs["axis"])


def _check_range(name: str, indices: Array, axis: int, shape: tuple[int, ...]) -> None:
    outside = np.flatnonzero((indices < 0) | (indices >= shape[axis]))
    if outside.size:
        raise OutOfRangeError(
            f"{name}: index {int(indices.flat[outside[0]])} is out of range on axis {axis} of shape {shape}; "
            f"it must lie in 0 <= index < {shape[axis]}"
        )


def _require_indices(name: str, indices: TensorType) -> None:
    if not indices.dtype.is_integer:
        raise DTypeError(f"{name}: the indices {indices} must be integers; cast them first")


# Shapes of data, indices and updates, and the axis; small extents, so that indices repeat.
Place = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]
_SLICE_PLACES: tuple[Place, ...] = (
    ((4, 5), (9,), (9, 5), 0),
    ((4, 5), (2, 3), (4, 2, 3), 1),
    ((4, 5), (), (5,), 0),
    ((3,), (1,), (1,), 0),
    ((4, 5), (0,), (0, 5), 0),
    ((2, 3, 4), (6,), (2, 6, 4), 1),
)
_ELEMENT_PLACES: tuple[Place, ...] = (
    ((4, 5), (9, 5), (9, 5), 0),
    ((4, 5), (3, 7), (3, 7), 1),
    ((3,), (1,), (1,), 0),
    ((4, 5), (0, 3), (0, 3), 0),
    ((2, 3, 4), (2, 5, 3), (2, 5, 3), 1),
)


def _samples(dtype: DType, places: Sequence[Place], updates: bool) -> list[Sample]:
    found: list[Sample] = []
    for number, (data, indices, updated, axis) in enumerate(places):
        index_type = i32 if number % 2 else i64
        arrays = [example(dtype, data), example(index_type, indices, 1, between(0, data[axis] - 1))]
        found.append(([*arrays, example(dtype, updated, 2)] if updates else arrays, {"axis": axis}))
    return found


# --- take and index_add: a whole slice at each index


def _taken_shape(name: str, data: TensorType, indices: TensorType, attrs: Attributes) -> tuple[int, ...]:
    axis = _axis(attrs)
    require_axis(name, axis, data)
    _require_indices(name, indices)
    return tensor(name, data.dtype, (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])).shape


def _take_infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    data, indices = types
    return [data.with_shape(_taken_shape("take", data, indices, attrs))]


def _take_eval(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
    data, indices = arrays
    _check_range("take", indices, _axis(attrs), data.shape)
    return [np.asarray(np.take(data, indices, axis=_axis(attrs)))]


def _slice_accesses(op: Op, index: Index) -> list[Access]:
    """Of an element of the taken slices: where its index stands, and where in `data` or `base` it belongs."""
    axis, rank = _axis(op.attributes), op.operands[1].type.rank
    return [Access(1, index[axis : axis + rank]), Access(0, (*index[:axis], None, *index[axis + rank :]))]


def _take_vjp(b: Builder, op: Op, ct: Value) -> list[Value | None]:
    data, indices = op.operands
    return [b.index_add(zeros(b, data.type), indices, ct, axis=_axis(op.attributes)), None]


register(
    OpDef(
        name="take",
        kind="gather",
        doc="take(data, indices): the slices of data along an axis at each index, in place of that axis.",
        attrs=_ATTRS,
        infer=_take_infer,
        eval=_take_eval,
        vjp=linear_vjp(_take_vjp),
        index_map=_slice_accesses,
        fault=OutOfRangeError,
        n_operands=2,
        samples=over_types("any", lambda dtype: _samples(dtype, _SLICE_PLACES, updates=False)),
    )
)


def _require_updates(name: str, base: TensorType, updates: TensorType, shape: tuple[int, ...]) -> None:
    require_dtype(name, base, "number")
    if updates.dtype != base.dtype:
        raise DTypeError(f"{name}: base {base} and updates {updates} differ in element type; cast one of them")
    if updates.shape != shape:
        raise ShapeError(
            f"{name}: updates {updates} into base {base} must have shape {shape}; broadcast or reshape them"
        )


def _index_add_infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    base, indices, updates = types
    _require_updates("index_add", base, updates, _taken_shape("index_add", base, indices, attrs))
    return [base]


def _index_add_eval(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
    base, indices, updates = arrays
    axis = _axis(attrs)
    _check_range("index_add", indices, axis, base.shape)
    result = np.array(widen(base))
    slices = widen(updates).reshape(*base.shape[:axis], indices.size, *base.shape[axis + 1 :])
    with np.errstate(all="ignore"):
        np.add.at(np.moveaxis(result, axis, 0), indices.ravel(), np.moveaxis(slices, axis, 0))
        return [narrow(result, base.dtype)]


def _scatter(
    name: str,
    inverse: str,
    doc: str,
    infer: Any,
    evaluate: Any,
    index_map: Callable[[Op, Index], list[Access]],
    samples: Samples,
) -> OpDef:
    """`inverse` is the op that reads what this one writes."""

    def rule(b: Builder, op: Op, ct: Value) -> list[Value | None]:
        return [ct, None, b.emit(inverse, (ct, op.operands[1]), op.attributes).result]

    return OpDef(
        name=name,
        kind="scatter",
        doc=doc,
        attrs=_ATTRS,
        infer=infer,
        eval=evaluate,
        vjp=linear_vjp(rule),
        index_map=index_map,
        fault=OutOfRangeError,
        n_operands=3,
        samples=samples,
    )


register(
    _scatter(
        "index_add",
        "take",
        "index_add(base, indices, updates): base with each slice of updates added at its index along an axis, in "
        "row-major order of updates; bf16 and f16 accumulate in f32.",
        _index_add_infer,
        _index_add_eval,
        _slice_accesses,
        over_types("number", lambda dtype: _samples(dtype, _SLICE_PLACES, updates=True)),
    )
)

# --- gather and scatter_add: one index for each element


def _require_element_indices(name: str, data: TensorType, indices: TensorType, attrs: Attributes) -> None:
    axis = _axis(attrs)
    require_axis(name, axis, data)
    _require_indices(name, indices)
    fits = indices.rank == data.rank and all(
        d == axis or n <= m for d, (n, m) in enumerate(zip(indices.shape, data.shape, strict=True))
    )
    if not fits:
        raise ShapeError(
            f"{name}: the indices {indices} must have the rank of {data} and be no larger except on axis {axis}"
        )


def _gather_infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    data, indices = types
    _require_element_indices("gather", data, indices, attrs)
    return [tensor("gather", data.dtype, indices.shape)]


def _element_places(indices: Array, axis: int) -> tuple[Array, ...]:
    """Open index arrays that address, for each element of `indices`, its place in the data."""
    return tuple(indices if d == axis else line for d, line in enumerate(np.ix_(*map(range, indices.shape))))


def _gather_eval(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
    data, indices = arrays
    _check_range("gather", indices, _axis(attrs), data.shape)
    return [np.asarray(data[_element_places(indices.astype(np.int64), _axis(attrs))])]


def _element_accesses(op: Op, index: Index) -> list[Access]:
    axis = _axis(op.attributes)
    return [Access(1, index), Access(0, (*index[:axis], None, *index[axis + 1 :]))]


def _gather_vjp(b: Builder, op: Op, ct: Value) -> list[Value | None]:
    data, indices = op.operands
    return [b.scatter_add(zeros(b, data.type), indices, ct, axis=_axis(op.attributes)), None]


register(
    OpDef(
        name="gather",
        kind="gather",
        doc="gather(data, indices): for each element of indices, the element of data at its place with the coordinate "
        "along an axis replaced by the index.",
        attrs=_ATTRS,
        infer=_gather_infer,
        eval=_gather_eval,
        vjp=linear_vjp(_gather_vjp),
        index_map=_element_accesses,
        fault=OutOfRangeError,
        n_operands=2,
        samples=over_types("any", lambda dtype: _samples(dtype, _ELEMENT_PLACES, updates=False)),
    )
)


def _scatter_add_infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    base, indices, updates = types
    _require_element_indices("scatter_add", base, indices, attrs)
    _require_updates("scatter_add", base, updates, indices.shape)
    return [base]


def _scatter_add_eval(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
    base, indices, updates = arrays
    _check_range("scatter_add", indices, _axis(attrs), base.shape)
    result = np.array(widen(base))
    with np.errstate(all="ignore"):
        np.add.at(result, _element_places(indices.astype(np.int64), _axis(attrs)), widen(updates))
        return [narrow(result, base.dtype)]


register(
    _scatter(
        "scatter_add",
        "gather",
        "scatter_add(base, indices, updates): base with each element of updates added at its place, the coordinate "
        "along an axis replaced by the index, in row-major order of updates; bf16 and f16 accumulate in f32.",
        _scatter_add_infer,
        _scatter_add_eval,
        _element_accesses,
        over_types("number", lambda dtype: _samples(dtype, _ELEMENT_PLACES, updates=True)),
    )
)
