"""Arithmetic, rounding, minima and maxima of elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ir.errors import DivisionByZeroError, NegativeExponentError
from graphc.ir.graph import Op
from graphc.ir.opdef import Array, register
from graphc.ir.ops.checks import integer_range
from graphc.ir.ops.pointwise import pointwise
from graphc.ir.scalar import ScalarBuilder
from graphc.ir.types import DType

Scalars = ScalarBuilder[Any]


def highest(dtype: DType) -> float | int:
    """The largest value of a type: infinity, for floats."""
    return float("inf") if dtype.is_float else integer_range(dtype)[1]


def lowest(dtype: DType) -> float | int:
    """The smallest value of a type: minus infinity, for floats."""
    return float("-inf") if dtype.is_float else integer_range(dtype)[0]


def _zero(dtype: DType) -> float | int:
    return 0.0 if dtype.is_float else 0


def _one(dtype: DType) -> float | int:
    return 1.0 if dtype.is_float else 1


# --- sums and products

register(
    pointwise(
        "add",
        2,
        "number",
        "x + y; integers wrap.",
        np.add,
        "add",
        traits=("commutative", "associative"),
        identity=lambda d: -0.0 if d.is_float else 0,
    )
)

register(pointwise("sub", 2, "number", "x - y; integers wrap.", np.subtract, "sub", identity=_zero))

register(
    pointwise(
        "mul",
        2,
        "number",
        "x * y; integers wrap.",
        np.multiply,
        "mul",
        traits=("commutative", "associative"),
        identity=_one,
    )
)

register(pointwise("neg", 1, "number", "-x; integers wrap.", np.negative, "neg"))

# --- quotients and powers

register(pointwise("div", 2, "float", "x / y, of floats only.", np.divide, "div", identity=_one))


def _checked_divisor(name: str, y: Array) -> None:
    if y.dtype.kind in "iu" and not np.all(y):
        where = tuple(int(i) for i in np.argwhere(np.atleast_1d(y) == 0)[0])
        raise DivisionByZeroError(f"{name}: the integer divisor is zero at {where}; mask it first, with where")


def _floor_div(x: Array, y: Array) -> Array:
    _checked_divisor("floor_div", y)
    return np.floor_divide(x, y)


def _mod(x: Array, y: Array) -> Array:
    _checked_divisor("mod", y)
    return np.remainder(x, y)


register(
    pointwise(
        "floor_div",
        2,
        "number",
        "x / y rounded towards minus infinity, as Python's //; an integer zero divisor faults.",
        _floor_div,
        "floor_div",
        traits=("can_fault",),
    )
)

register(
    pointwise(
        "mod",
        2,
        "number",
        "x - y * floor(x / y), with the sign of y, as Python's %; an integer zero divisor faults.",
        _mod,
        "mod",
        traits=("can_fault",),
    )
)


def _pow(x: Array, y: Array) -> Array:
    if y.dtype.kind == "i" and np.any(y < 0):
        raise NegativeExponentError(f"pow: the integer exponent {int(np.min(y))} is negative; cast to a float first")
    return np.power(x, y)


register(
    pointwise(
        "pow",
        2,
        "number",
        "x to the power y; integers wrap, and a negative integer exponent faults.",
        _pow,
        "pow",
        traits=("can_fault",),
        identity=_one,
    )
)

# --- signs and rounding

register(pointwise("abs", 1, "number", "|x|; the smallest integer stays itself.", np.abs, "abs"))


def _sign_scalar(s: Scalars, op: Op, x: Any) -> Any:
    zero, one = s.like(0, x), s.like(1, x)
    if x.dtype.kind == "uint":
        return s.call("minimum", x, one)
    # x + 0 keeps NaN and turns -0.0 into 0.0.
    below = s.call("select", s.call("lt", x, zero), s.like(-1, x), s.call("add", x, zero))
    return s.call("select", s.call("gt", x, zero), one, below)


register(pointwise("sign", 1, "number", "-1, 0 or 1; NaN of NaN, 0.0 of -0.0.", np.sign, _sign_scalar))

register(pointwise("floor", 1, "float", "The nearest integer at or below x.", np.floor, "floor"))
register(pointwise("ceil", 1, "float", "The nearest integer at or above x.", np.ceil, "ceil"))
register(pointwise("round", 1, "float", "The nearest integer; halves go to the even one.", np.rint, "round"))

# --- minima and maxima

register(
    pointwise(
        "maximum",
        2,
        "number",
        "The larger of x and y; NaN if either is NaN.",
        np.maximum,
        "maximum",
        traits=("commutative", "associative", "idempotent"),
        identity=lowest,
    )
)

register(
    pointwise(
        "minimum",
        2,
        "number",
        "The smaller of x and y; NaN if either is NaN.",
        np.minimum,
        "minimum",
        traits=("commutative", "associative", "idempotent"),
        identity=highest,
    )
)

register(
    pointwise(
        "clamp",
        3,
        "number",
        "minimum(maximum(x, low), high); NaN if any is NaN.",
        lambda x, low, high: np.minimum(np.maximum(x, low), high),
        lambda s, op, x, low, high: s.call("minimum", s.call("maximum", x, low), high),
    )
)

register(
    pointwise(
        "relu",
        1,
        "number",
        "x where x > 0, else 0; NaN of NaN.",
        lambda x: np.where(x <= 0, np.zeros((), x.dtype), x),
        lambda s, op, x: s.call("select", s.call("le", x, s.like(0, x)), s.like(0, x), x),
    )
)
