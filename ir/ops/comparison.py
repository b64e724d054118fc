"""Comparisons, selection and bitwise logic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.ir.attributes import Attributes
from graphc.ir.errors import DTypeError, ShapeError
from graphc.ir.graph import Op, Value
from graphc.ir.opdef import Array, OpDef, register
from graphc.ir.ops.checks import require_same
from graphc.ir.ops.gradients import linear_vjp, zeros
from graphc.ir.ops.pointwise import pointwise
from graphc.ir.ops.samples import Sample, example, over_types
from graphc.ir.types import DType, TensorType, bool_

if TYPE_CHECKING:
    from graphc.ir.builder import Builder

# --- comparisons: false where either is NaN, except ne

register(pointwise("eq", 2, "any", "x == y.", np.equal, "eq", result=bool_, traits=("commutative",)))
register(pointwise("ne", 2, "any", "x != y.", np.not_equal, "ne", result=bool_, traits=("commutative",)))
register(pointwise("lt", 2, "any", "x < y.", np.less, "lt", result=bool_))
register(pointwise("le", 2, "any", "x <= y.", np.less_equal, "le", result=bool_))
register(pointwise("gt", 2, "any", "x > y.", np.greater, "gt", result=bool_))
register(pointwise("ge", 2, "any", "x >= y.", np.greater_equal, "ge", result=bool_))

# --- bitwise logic


def _all_ones(dtype: DType) -> int | bool:
    return True if dtype.is_bool else 255 if dtype.kind == "uint" else -1


def _no_ones(dtype: DType) -> int | bool:
    return False if dtype.is_bool else 0


def _bitwise(name: str, doc: str, function: Any, primitive: str, traits: Sequence[str], identity: Any) -> OpDef:
    traits = ("commutative", "associative", *traits)
    return pointwise(name, 2, "bool or integer", doc, function, primitive, traits=traits, identity=identity)


register(_bitwise("bitwise_and", "x & y.", np.bitwise_and, "bit_and", ("idempotent",), _all_ones))
register(_bitwise("bitwise_or", "x | y.", np.bitwise_or, "bit_or", ("idempotent",), _no_ones))
register(_bitwise("bitwise_xor", "x ^ y.", np.bitwise_xor, "bit_xor", (), _no_ones))
register(pointwise("bitwise_not", 1, "bool or integer", "~x; logical not of a bool.", np.invert, "bit_not"))

# --- selection


def _where_infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    condition, x, y = types
    if not condition.dtype.is_bool:
        raise DTypeError(f"where: the condition {condition} must be bool; compare it with something first")
    require_same("where", [x, y])
    if condition.shape != x.shape:
        raise ShapeError(f"where: the condition {condition} and the values {x} differ in shape; broadcast one of them")
    return [x]


def _where_eval(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
    return [np.where(*arrays)]


def _where_vjp(b: Builder, op: Op, ct: Value) -> list[Value | None]:
    condition, zero = op.operands[0], zeros(b, ct.type)
    return [None, b.where(condition, ct, zero), b.where(condition, zero, ct)]


def _where_samples(dtype: DType) -> list[Sample]:
    return [
        ([example(bool_, shape), example(dtype, shape, 1), example(dtype, shape, 2)], {})
        for shape in ((19,), (), (3, 5), (2, 0))
    ]


register(
    OpDef(
        name="where",
        kind="pointwise",
        doc="x where the condition holds, else y.",
        infer=_where_infer,
        eval=_where_eval,
        scalar=lambda s, op, condition, x, y: s.call("select", condition, x, y),
        vjp=linear_vjp(_where_vjp),
        n_operands=3,
        samples=over_types("any", _where_samples),
    )
)
