"""Arithmetic, rounding, minima and maxima of elements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.ir.errors import DivisionByZeroError, NegativeExponentError
from graphc.ir.graph import Op, Value
from graphc.ir.opdef import Array, register
from graphc.ir.ops.checks import integer_range
from graphc.ir.ops.gradients import linear_vjp, vjp_of, zero_vjp, zeros
from graphc.ir.ops.pointwise import pointwise
from graphc.ir.ops.samples import NUMBERS, between, nonzero
from graphc.ir.scalar import ScalarBuilder
from graphc.ir.types import DType

if TYPE_CHECKING:
    from graphc.ir.builder import Builder

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
        vjp=linear_vjp(lambda b, op, ct: [ct, ct]),
        traits=("commutative", "associative"),
        identity=lambda d: -0.0 if d.is_float else 0,
    )
)

register(
    pointwise(
        "sub",
        2,
        "number",
        "x - y; integers wrap.",
        np.subtract,
        "sub",
        vjp=linear_vjp(lambda b, op, ct: [ct, b.neg(ct)]),
        identity=_zero,
    )
)

register(
    pointwise(
        "mul",
        2,
        "number",
        "x * y; integers wrap.",
        np.multiply,
        "mul",
        vjp=linear_vjp(lambda b, op, ct: [b.mul(ct, op.operands[1]), b.mul(ct, op.operands[0])]),
        traits=("commutative", "associative"),
        identity=_one,
    )
)

register(
    pointwise(
        "neg", 1, "number", "-x; integers wrap.", np.negative, "neg", vjp=linear_vjp(lambda b, op, ct: [b.neg(ct)])
    )
)

# --- quotients and powers


def _div_vjp(b: Builder, ct: Value, x: Value, y: Value, quotient: Value) -> tuple[Value, Value]:
    scaled = b.div(ct, y)
    return scaled, b.neg(b.mul(scaled, quotient))


register(
    pointwise(
        "div",
        2,
        "float",
        "x / y, of floats only.",
        np.divide,
        "div",
        vjp=vjp_of(_div_vjp),
        identity=_one,
        domains=(NUMBERS, nonzero(0.5, 3)),
    )
)


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
        vjp=zero_vjp,
        fault=DivisionByZeroError,
        domains=(NUMBERS, nonzero(1, 3)),
        allowed=lambda x, y: (y.dtype.kind not in "iu") | (y != 0),
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
        vjp=vjp_of(lambda b, ct, x, y, z: (ct, b.neg(b.mul(ct, b.floor_div(x, y))))),
        fault=DivisionByZeroError,
        domains=(NUMBERS, nonzero(1, 3)),
        allowed=lambda x, y: (y.dtype.kind not in "iu") | (y != 0),
    )
)


def _pow(x: Array, y: Array) -> Array:
    if y.dtype.kind == "i" and np.any(y < 0):
        raise NegativeExponentError(f"pow: the integer exponent {int(np.min(y))} is negative; cast to a float first")
    return np.power(x, y)


def _pow_vjp(b: Builder, ct: Value, x: Value, y: Value, z: Value) -> tuple[Value, Value]:
    # Where a factor of 0 meets an infinite one, the base is replaced by 1 before anything is computed from it, so that
    # derivatives of this expression stay finite as well.
    zero, one = b.full_like(x, 0), b.full_like(x, 1)
    at_zero = b.eq(x, zero)
    base = b.where(b.bitwise_and(b.eq(y, zero), at_zero), one, x)
    by_base = b.mul(ct, b.mul(y, b.pow(base, b.sub(y, one))))
    flat = b.bitwise_and(at_zero, b.ge(y, zero))
    slope = b.mul(z, b.log(b.where(flat, one, x)))
    return by_base, b.mul(ct, slope)


register(
    pointwise(
        "pow",
        2,
        "number",
        "x to the power y; integers wrap, and a negative integer exponent faults.",
        _pow,
        "pow",
        vjp=vjp_of(_pow_vjp),
        fault=NegativeExponentError,
        identity=_one,
        domains=(between(0.5, 3), between(0, 3)),
        allowed=lambda x, y: (y.dtype.kind not in "iu") | (y >= 0),
    )
)

# --- signs and rounding

register(
    pointwise(
        "abs",
        1,
        "number",
        "|x|; the smallest integer stays itself.",
        np.abs,
        "abs",
        vjp=vjp_of(lambda b, ct, x, y: b.mul(ct, b.sign(x))),
    )
)


def _sign_scalar(s: Scalars, op: Op, x: Any) -> Any:
    zero, one = s.like(0, x), s.like(1, x)
    if x.dtype.kind == "uint":
        return s.call("minimum", x, one)
    # x + 0 keeps NaN and turns -0.0 into 0.0.
    below = s.call("select", s.call("lt", x, zero), s.like(-1, x), s.call("add", x, zero))
    return s.call("select", s.call("gt", x, zero), one, below)


register(pointwise("sign", 1, "number", "-1, 0 or 1; NaN of NaN, 0.0 of -0.0.", np.sign, _sign_scalar, vjp=zero_vjp))

register(pointwise("floor", 1, "float", "The nearest integer at or below x.", np.floor, "floor", vjp=zero_vjp))
register(pointwise("ceil", 1, "float", "The nearest integer at or above x.", np.ceil, "ceil", vjp=zero_vjp))
register(
    pointwise("round", 1, "float", "The nearest integer; halves go to the even one.", np.rint, "round", vjp=zero_vjp)
)

# --- minima and maxima


def _extremum_vjp(loses: str) -> Any:
    """The operand that is not `loses` than the other takes the cotangent; equal ones take half each."""

    def rule(b: Builder, op: Op, ct: Value) -> list[Value]:
        x, y = op.operands
        zero = zeros(b, ct.type)
        shared = b.where(b.eq(x, y), b.mul(ct, b.full_like(ct, 0.5)), ct)
        return [b.where(b.emit(loses, pair).result, zero, shared) for pair in ((x, y), (y, x))]

    return linear_vjp(rule)


register(
    pointwise(
        "maximum",
        2,
        "number",
        "The larger of x and y; NaN if either is NaN; of 0.0 and -0.0, either.",
        np.maximum,
        "maximum",
        vjp=_extremum_vjp("lt"),
        traits=("commutative", "associative", "idempotent"),
        identity=lowest,
    )
)

register(
    pointwise(
        "minimum",
        2,
        "number",
        "The smaller of x and y; NaN if either is NaN; of 0.0 and -0.0, either.",
        np.minimum,
        "minimum",
        vjp=_extremum_vjp("gt"),
        traits=("commutative", "associative", "idempotent"),
        identity=highest,
    )
)


def _clamp_vjp(b: Builder, op: Op, ct: Value) -> list[Value]:
    x, low, high = op.operands
    zero = zeros(b, ct.type)
    inside = b.bitwise_and(b.ge(x, low), b.le(x, high))
    below = b.bitwise_and(b.lt(x, low), b.lt(low, high))
    above = b.bitwise_or(b.gt(x, high), b.lt(high, low))
    return [b.where(condition, ct, zero) for condition in (inside, below, above)]


register(
    pointwise(
        "clamp",
        3,
        "number",
        "minimum(maximum(x, low), high); NaN if any is NaN.",
        lambda x, low, high: np.minimum(np.maximum(x, low), high),
        lambda s, op, x, low, high: s.call("minimum", s.call("maximum", x, low), high),
        vjp=linear_vjp(_clamp_vjp),
        domains=(NUMBERS, between(-2, 0), between(0.5, 2)),
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
        vjp=linear_vjp(lambda b, op, ct: [b.where(b.le(op.result, zeros(b, ct.type)), zeros(b, ct.type), ct)]),
    )
)
