"""Values made from nothing: constants and coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from graphc.ir.attributes import Attributes, DenseArray
from graphc.ir.errors import AttributeValueError
from graphc.ir.graph import Op
from graphc.ir.opdef import Array, AttrSpec, OpDef, register
from graphc.ir.ops.checks import require_axis, require_dtype, require_number, tensor
from graphc.ir.ops.gradients import zero_vjp
from graphc.ir.ops.rounding import narrow, splat
from graphc.ir.ops.samples import Sample, example, over_types
from graphc.ir.scalar import ScalarBuilder
from graphc.ir.types import DType, TensorType, i64

# --- constant


def _constant_infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    value, dtype = attrs["value"], cast(DType, attrs["dtype"])
    result = tensor("constant", dtype, attrs["shape"])  # type: ignore[arg-type]
    if isinstance(value, DenseArray):
        if value.type != result:
            raise AttributeValueError(f"constant: the array is {value.type}, not the stated {result}")
    elif isinstance(value, (bool, int, float)):
        require_number("constant", value, dtype)
    else:
        raise AttributeValueError("constant: the value must be a number or an array")
    return [result]


def _constant_eval(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
    value = attrs["value"]
    if isinstance(value, DenseArray):
        return [value.array]
    return [splat(value, attrs["dtype"], attrs["shape"])]  # type: ignore[arg-type]


def _constant_scalar(s: ScalarBuilder[Any], op: Op, index: Any) -> Any:
    value = op.attributes["value"]
    if isinstance(value, DenseArray):
        if value.array.size != 1:
            raise ValueError("a constant array of several elements has no scalar expression")
        value = value.array.astype(value.type.dtype.accumulator.numpy).item()
    return s.const(value, op.results[0].type.dtype.accumulator)  # type: ignore[arg-type]


def _constant_samples(dtype: DType) -> list[Sample]:
    number: float | int | bool = 0.1 if dtype.is_float else True if dtype.is_bool else 7
    payloads: list[tuple[Any, tuple[int, ...]]] = [(number, (3, 5)), (number, ()), (number, (2, 0))]
    payloads += [(DenseArray(example(dtype, shape)), shape) for shape in ((), (3, 5), (0,))]
    return [([], {"value": value, "dtype": dtype, "shape": shape}) for value, shape in payloads]


register(
    OpDef(
        name="constant",
        kind="generate",
        doc="A number at every place, or an array of exactly this type.",
        attrs={"value": AttrSpec("any"), "dtype": AttrSpec(DType), "shape": AttrSpec("ints")},
        infer=_constant_infer,
        eval=_constant_eval,
        vjp=zero_vjp,
        scalar=_constant_scalar,
        n_operands=0,
        samples=over_types("any", _constant_samples),
    )
)

# --- iota


def _iota_infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    result = tensor("iota", cast(DType, attrs["dtype"]), attrs["shape"])  # type: ignore[arg-type]
    require_dtype("iota", result, "number")
    require_axis("iota", cast(int, attrs["axis"]), result)
    return [result]


def _iota_eval(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
    shape, axis = cast("tuple[int, ...]", attrs["shape"]), cast(int, attrs["axis"])
    with np.errstate(all="ignore"):
        line = narrow(np.arange(shape[axis], dtype=np.int64), cast(DType, attrs["dtype"]).numpy)
    line = line.reshape([-1 if d == axis else 1 for d in range(len(shape))]) if math.prod(shape) else line[:0]
    return [np.broadcast_to(line, shape) if line.size else np.empty(shape, line.dtype)]


def _iota_scalar(s: ScalarBuilder[Any], op: Op, index: Any) -> Any:
    result = op.results[0].type
    axis = cast(int, op.attributes["axis"])
    inner = math.prod(result.shape[axis + 1 :])
    coordinate = index
    if inner > 1:
        coordinate = s.call("floor_div", coordinate, s.const(inner, i64))
    if math.prod(result.shape[:axis]) > 1 and result.shape[axis] > 0:
        coordinate = s.call("mod", coordinate, s.const(result.shape[axis], i64))
    return s.cast(coordinate, result.dtype.accumulator)


def _iota_samples(dtype: DType) -> list[Sample]:
    places: list[tuple[tuple[int, ...], int]] = [((3, 4, 5), 1), ((3, 4, 5), 0), ((3, 4, 5), 2), ((7,), 0)]
    places += [((300,), 0), ((1,), 0), ((2, 0, 3), 1), ((2, 0, 3), 2)]
    return [([], {"dtype": dtype, "shape": shape, "axis": axis}) for shape, axis in places]


register(
    OpDef(
        name="iota",
        kind="generate",
        doc="Each element's coordinate along an axis.",
        attrs={"dtype": AttrSpec(DType), "shape": AttrSpec("ints"), "axis": AttrSpec(int)},
        infer=_iota_infer,
        eval=_iota_eval,
        vjp=zero_vjp,
        scalar=_iota_scalar,
        n_operands=0,
        samples=over_types("number", _iota_samples),
    )
)
