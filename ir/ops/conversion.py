"""Ops that change or guard an element and leave its meaning: cast, check_index, stop_gradient."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from graphc.ir.attributes import Attributes
from graphc.ir.errors import AttributeValueError, OutOfRangeError
from graphc.ir.graph import Op, Value
from graphc.ir.opdef import Array, AttrSpec, OpDef, register
from graphc.ir.ops.checks import FAMILIES, integer_range, require_dtype, tensor
from graphc.ir.ops.gradients import linear_vjp, zero_vjp
from graphc.ir.ops.rounding import narrow, widen
from graphc.ir.ops.samples import SHAPES, Sample, between, example, over_types, special
from graphc.ir.scalar import ScalarBuilder
from graphc.ir.types import DType, TensorType, bf16, f32, f64, from_numpy_dtype, i64

if TYPE_CHECKING:
    from graphc.ir.builder import Builder

# --- cast


def _cast_infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    return [tensor("cast", cast(DType, attrs["dtype"]), types[0].shape)]


def _cast_eval(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
    target = cast(DType, attrs["dtype"])
    x = arrays[0]
    if from_numpy_dtype(x.dtype) == target:
        return [x]
    with np.errstate(all="ignore"):
        wide = widen(x)
        if wide.dtype.kind == "f" and target.is_integer:
            return [_saturate(wide, target)]
        return [narrow(wide, target.numpy)]


def _saturate(x: Array, target: DType) -> Array:
    low, high = integer_range(target)
    inside = x.astype(target.numpy)
    clamped = np.where(x >= float(high + 1), target.numpy.type(high), np.where(x <= float(low), low, inside))
    return np.where(np.isnan(x), 0, clamped).astype(target.numpy)


def _cast_vjp(b: Builder, op: Op, ct: Value) -> list[Value | None]:
    dtype = op.operands[0].type.dtype
    return [b.cast(ct, dtype=dtype) if dtype.is_float else None]


_EDGES = (
    1.5,
    -1.5,
    127.0,
    128.0,
    -128.0,
    -129.0,
    255.0,
    256.0,
    3e4,
    7e4,
    2.0**31,
    -(2.0**31),
    2.0**63,
    -(2.0**63),
    1e30,
)


def _cast_samples() -> list[Sample]:
    found: list[Sample] = []
    for source, target in itertools.product(FAMILIES["any"], repeat=2):
        with np.errstate(all="ignore"):
            edges = np.array(_EDGES if source.is_float else (), source.numpy)
        array = np.concatenate([special(source), example(source, (19,)), edges])
        found.append(([array], {"dtype": target}))
    return [*found, ([example(f32, ())], {"dtype": f64}), ([example(f32, (2, 0))], {"dtype": bf16})]


register(
    OpDef(
        name="cast",
        kind="pointwise",
        doc="x in another element type. A float becomes an integer by truncation, saturating, NaN giving 0; integers "
        "wrap; bf16 and f16 are rounded from f32; bool is x != 0.",
        attrs={"dtype": AttrSpec(DType)},
        infer=_cast_infer,
        eval=_cast_eval,
        vjp=linear_vjp(_cast_vjp),
        scalar=lambda s, op, x: s.cast(x, op.results[0].type.dtype.accumulator),
        n_operands=1,
        samples=_cast_samples,
    )
)

# --- check_index


def _check_infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    require_dtype("check_index", types[0], "integer")
    if attrs["low"] > attrs["high"]:  # type: ignore[operator]
        raise AttributeValueError(f"check_index: low {attrs['low']} exceeds high {attrs['high']}; swap them")
    return [types[0]]


def _check_eval(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
    (x,) = arrays
    low, high = cast(int, attrs["low"]), cast(int, attrs["high"])
    outside = (x < low) | (x >= high)
    if np.any(outside):
        value = int(x[outside].ravel()[0]) if x.ndim else int(x)
        raise OutOfRangeError(f"check_index: {value} is out of range; it must lie in {low} <= x < {high}")
    return [x]


def _check_scalar(s: ScalarBuilder[Any], op: Op, x: Any) -> Any:
    # In i64, which holds every bound; a narrower type may not.
    low, high = op.attributes["low"], op.attributes["high"]
    checked = s.call("check_range", s.cast(x, i64), s.const(low, i64), s.const(high, i64))  # type: ignore[arg-type]
    return s.cast(checked, x.dtype)


register(
    OpDef(
        name="check_index",
        kind="pointwise",
        doc="x itself; faults unless low <= x < high at every element.",
        attrs={"low": AttrSpec(int), "high": AttrSpec(int)},
        infer=_check_infer,
        eval=_check_eval,
        scalar=_check_scalar,
        fault=OutOfRangeError,
        n_operands=1,
        samples=over_types(
            "integer",
            lambda dtype: [([example(dtype, shape, 0, between(1, 5))], {"low": 1, "high": 6}) for shape in SHAPES],
        ),
    )
)

# --- stop_gradient

register(
    OpDef(
        name="stop_gradient",
        kind="pointwise",
        doc="x itself, with no gradient.",
        infer=lambda types, attrs: [types[0]],
        eval=lambda arrays, attrs: [arrays[0]],
        vjp=zero_vjp,
        scalar=lambda s, op, x: x,
        n_operands=1,
        samples=over_types("any", lambda dtype: [([example(dtype, shape)], {}) for shape in ((3, 5), (), (2, 0))]),
    )
)
