"""Element-wise functions. Operands are promoted and broadcast as PyTorch does; shapes and dtypes that do not fit raise
ShapeError and DTypeError at the user's line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from graphc.dispatch import apply, clone
from graphc.dtypes import DEFAULT_FLOAT
from graphc.errors import AttributeValueError, DTypeError, fail
from graphc.ir.types import DType, bool_, i64
from graphc.promotion import (
    Number,
    Operand,
    as_operand,
    broadcast_shapes,
    broadcast_to,
    cast,
    match,
    number_of,
    require_dtype,
    result_type,
    splat,
)
from graphc.tensors.base import TensorBase

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor

# --- arithmetic of two operands


def add(input: Operand, other: Operand, *, alpha: Number = 1) -> Tensor:
    """input + alpha * other; of bools, their disjunction."""
    if alpha != 1:
        other = mul(other, alpha)
    if result_type(input, other).is_bool:
        return bitwise_or(input, other)
    return apply("add", match("add", input, other))


def sub(input: Operand, other: Operand, *, alpha: Number = 1) -> Tensor:
    """input - alpha * other. Raises DTypeError for bools."""
    if alpha != 1:
        other = mul(other, alpha)
    if result_type(input, other).is_bool:
        fail(DTypeError, "sub: bools cannot be subtracted; use ^ (exclusive or), or cast them to integers")
    return apply("sub", match("sub", input, other))


def mul(input: Operand, other: Operand) -> Tensor:
    """input * other; of bools, their conjunction."""
    if result_type(input, other).is_bool:
        return bitwise_and(input, other)
    return apply("mul", match("mul", input, other))


def div(input: Operand, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """input / other, a float; rounding_mode "floor" or "trunc" rounds the quotient and keeps integers."""
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode == "trunc":
        dtype = result_type(input, other)
        return cast(trunc(div(input, other)), dtype)
    if rounding_mode is not None:
        fail(AttributeValueError, f"div: rounding_mode must be None, 'floor' or 'trunc', got {rounding_mode!r}")
    return apply("div", match("div", input, other, dtype=_float_type(input, other)))


def floor_divide(input: Operand, other: Operand) -> Tensor:
    """input / other rounded towards minus infinity."""
    return apply("floor_div", match("floor_divide", input, other, dtype=_number_type("floor_divide", input, other)))


def remainder(input: Operand, other: Operand) -> Tensor:
    """input - other * floor(input / other): it has the sign of `other`."""
    return apply("mod", match("remainder", input, other, dtype=_number_type("remainder", input, other)))


def pow(input: Operand, exponent: Operand) -> Tensor:
    """input ** exponent. Small constant exponents become products and roots."""
    if isinstance(input, TensorBase) and isinstance(exponent, (bool, int, float)):
        found = _constant_power(input, exponent)
        if found is not None:
            return found
    return apply("pow", match("pow", input, exponent, dtype=_number_type("pow", input, exponent)))


def _constant_power(x: Tensor, exponent: Number) -> Tensor | None:
    dtype = result_type(x, exponent)
    if dtype.is_bool:
        return None
    if not dtype.is_float:
        if exponent < 0:
            fail(AttributeValueError, f"pow: an integer to the negative power {exponent}; cast the tensor to a float")
        return None if exponent not in (1, 2, 3) else _product(cast(x, dtype), int(exponent))
    x = cast(x, dtype)
    if exponent in (1, 2, 3):
        return _product(x, int(exponent))
    if exponent == 0.5:
        return sqrt(x)
    if exponent == -0.5:
        return rsqrt(x)
    if exponent in (-1, -2):
        return reciprocal(_product(x, int(-exponent)))
    return None


def _product(x: Tensor, times: int) -> Tensor:
    if times == 1:
        return clone(x)
    squared = apply("mul", [x, x])
    return apply("mul", [squared, x]) if times == 3 else squared


def maximum(input: Operand, other: Operand) -> Tensor:
    """The larger of both; NaN if either is."""
    return _extremum("maximum", input, other)


def minimum(input: Operand, other: Operand) -> Tensor:
    """The smaller of both; NaN if either is."""
    return _extremum("minimum", input, other)


def _extremum(name: str, input: Operand, other: Operand) -> Tensor:
    if result_type(input, other).is_bool:
        return bitwise_or(input, other) if name == "maximum" else bitwise_and(input, other)
    return apply(name, match(name, input, other))


def lerp(input: Operand, end: Operand, weight: Operand) -> Tensor:
    """input + weight * (end - input)."""
    return add(input, mul(weight, sub(end, input)))


def addcmul(input: Operand, tensor1: Operand, tensor2: Operand, *, value: Operand = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    return add(input, mul(mul(tensor1, tensor2), value))


def addcdiv(input: Operand, tensor1: Operand, tensor2: Operand, *, value: Operand = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    return add(input, mul(div(tensor1, tensor2), value))


# --- comparison and logic


def eq(input: Operand, other: Operand) -> Tensor:
    """input == other, element-wise."""
    return apply("eq", match("eq", input, other))


def ne(input: Operand, other: Operand) -> Tensor:
    """input != other, element-wise."""
    return apply("ne", match("ne", input, other))


def lt(input: Operand, other: Operand) -> Tensor:
    """input < other, element-wise."""
    return apply("lt", match("lt", input, other))


def le(input: Operand, other: Operand) -> Tensor:
    """input <= other, element-wise."""
    return apply("le", match("le", input, other))


def gt(input: Operand, other: Operand) -> Tensor:
    """input > other, element-wise."""
    return apply("gt", match("gt", input, other))


def ge(input: Operand, other: Operand) -> Tensor:
    """input >= other, element-wise."""
    return apply("ge", match("ge", input, other))


def bitwise_and(input: Operand, other: Operand) -> Tensor:
    """input & other, of integers or bools."""
    return _bitwise("bitwise_and", input, other)


def bitwise_or(input: Operand, other: Operand) -> Tensor:
    """input | other, of integers or bools."""
    return _bitwise("bitwise_or", input, other)


def bitwise_xor(input: Operand, other: Operand) -> Tensor:
    """input ^ other, of integers or bools."""
    return _bitwise("bitwise_xor", input, other)


def _bitwise(name: str, input: Operand, other: Operand) -> Tensor:
    operands = match(name, input, other)
    require_dtype(name, operands[0], "integer or bool")
    return apply(name, operands)


def bitwise_not(input: Tensor) -> Tensor:
    """~input, of integers or bools."""
    require_dtype("bitwise_not", input, "integer or bool")
    return apply("bitwise_not", [input])


def logical_not(input: Tensor) -> Tensor:
    """Whether each element is zero."""
    return apply("bitwise_not", [cast(input, bool_)])


def logical_and(input: Tensor, other: Tensor) -> Tensor:
    """Whether both elements are nonzero."""
    return apply("bitwise_and", match("logical_and", cast(input, bool_), cast(other, bool_)))


def logical_or(input: Tensor, other: Tensor) -> Tensor:
    """Whether either element is nonzero."""
    return apply("bitwise_or", match("logical_or", cast(input, bool_), cast(other, bool_)))


def logical_xor(input: Tensor, other: Tensor) -> Tensor:
    """Whether exactly one element is nonzero."""
    return apply("bitwise_xor", match("logical_xor", cast(input, bool_), cast(other, bool_)))


def isnan(input: Tensor) -> Tensor:
    """Whether each element is NaN."""
    return apply("ne", [input, input])


def isinf(input: Tensor) -> Tensor:
    """Whether each element is infinite."""
    if not input._type.dtype.is_float:
        return splat(False, bool_, input._type.shape)
    return eq(abs(input), math.inf)


def isfinite(input: Tensor) -> Tensor:
    """Whether each element is neither infinite nor NaN."""
    if not input._type.dtype.is_float:
        return splat(True, bool_, input._type.shape)
    return lt(abs(input), math.inf)


# --- functions of one operand that keep the element type


def neg(input: Tensor) -> Tensor:
    """-input. Raises DTypeError for bools."""
    require_dtype("neg", input, "number")
    return apply("neg", [input])


def abs(input: Tensor) -> Tensor:
    """|input|."""
    require_dtype("abs", input, "number")
    return apply("abs", [input])


def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1."""
    return input if input._type.dtype.is_bool else apply("sign", [input])


def positive(input: Tensor) -> Tensor:
    """+input: the tensor itself."""
    require_dtype("positive", input, "number")
    return input


def floor(input: Tensor) -> Tensor:
    """The nearest integer at or below each element."""
    return _rounding("floor", input)


def ceil(input: Tensor) -> Tensor:
    """The nearest integer at or above each element."""
    return _rounding("ceil", input)


def round(input: Tensor) -> Tensor:
    """The nearest integer; halves go to the even one."""
    return _rounding("round", input)


def trunc(input: Tensor) -> Tensor:
    """The nearest integer towards zero."""
    if not input._type.dtype.is_float:
        return input
    return where(lt(input, 0), ceil(input), floor(input))


def _rounding(name: str, input: Tensor) -> Tensor:
    require_dtype(name, input, "number")
    return apply(name, [input]) if input._type.dtype.is_float else clone(input)


def relu(input: Tensor) -> Tensor:
    """input where it is positive, else 0."""
    require_dtype("relu", input, "number")
    return apply("relu", [input])


def square(input: Tensor) -> Tensor:
    """input * input."""
    return mul(input, input)


# --- functions of one operand that give floats


def exp(input: Tensor) -> Tensor:
    """e to the power of each element."""
    return _of_float("exp", input)


def expm1(input: Tensor) -> Tensor:
    """exp(input) - 1, accurate near 0."""
    return _of_float("expm1", input)


def log(input: Tensor) -> Tensor:
    """The natural logarithm."""
    return _of_float("log", input)


def log1p(input: Tensor) -> Tensor:
    """log(1 + input), accurate near 0."""
    return _of_float("log1p", input)


def log2(input: Tensor) -> Tensor:
    """The logarithm to base 2."""
    return mul(log(input), 1 / math.log(2))


def log10(input: Tensor) -> Tensor:
    """The logarithm to base 10."""
    return mul(log(input), 1 / math.log(10))


def sqrt(input: Tensor) -> Tensor:
    """The square root."""
    return _of_float("sqrt", input)


def rsqrt(input: Tensor) -> Tensor:
    """1 / sqrt(input)."""
    return _of_float("rsqrt", input)


def reciprocal(input: Tensor) -> Tensor:
    """1 / input."""
    return div(1, input)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return _of_float("tanh", input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-input))."""
    return _of_float("sigmoid", input)


def erf(input: Tensor) -> Tensor:
    """The error function."""
    return _of_float("erf", input)


def sin(input: Tensor) -> Tensor:
    """The sine of each element, in radians."""
    return _of_float("sin", input)


def cos(input: Tensor) -> Tensor:
    """The cosine of each element, in radians."""
    return _of_float("cos", input)


def _of_float(name: str, input: Tensor) -> Tensor:
    dtype = input._type.dtype
    return apply(name, [input if dtype.is_float else cast(input, DEFAULT_FLOAT)])


# --- selection


def where(condition: Tensor, input: Operand, other: Operand) -> Tensor:
    """input where the condition holds, else other; all three are broadcast. Raises DTypeError for a condition that is
    not bool."""
    if not condition._type.dtype.is_bool:
        fail(DTypeError, f"where: the condition {condition._type} must be bool; compare it with something first")
    dtype = result_type(input, other)
    a, b = as_operand(input), as_operand(other)
    shape = _common("where", [x for x in (condition, a, b) if isinstance(x, TensorBase)])
    return apply("where", [_fit(condition, bool_, shape), _fit(a, dtype, shape), _fit(b, dtype, shape)])


def masked_fill(input: Tensor, mask: Tensor, value: Operand) -> Tensor:
    """`value` where the mask holds, else input; the element type stays."""
    if not mask._type.dtype.is_bool:
        fail(DTypeError, f"masked_fill: the mask {mask._type} must be bool; compare it with something first")
    dtype = input._type.dtype
    shape = _common("masked_fill", [input, mask])
    return apply("where", [_fit(mask, bool_, shape), _fit(as_operand(value), dtype, shape), _fit(input, dtype, shape)])


def clamp(input: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """Elements below `min` become `min`, those above `max` become `max`. NaN stays. Raises AttributeValueError where
    neither bound is given."""
    if min is None and max is None:
        fail(AttributeValueError, "clamp: give min, max, or both")
    dtype = result_type(*(x for x in (input, min, max) if x is not None))
    low: Operand = _bound(dtype, False) if min is None else min
    high: Operand = _bound(dtype, True) if max is None else max
    return apply("clamp", match("clamp", input, low, high, dtype=dtype))


clip = clamp


def clamp_min(input: Tensor, min: Operand) -> Tensor:
    """Elements below `min` become `min`."""
    return clamp(input, min=min)


def clamp_max(input: Tensor, max: Operand) -> Tensor:
    """Elements above `max` become `max`."""
    return clamp(input, max=max)


def _bound(dtype: DType, upper: bool) -> Number:
    if dtype.is_float:
        return math.inf if upper else -math.inf
    if dtype.kind == "uint":
        return number_of(-1, dtype) if upper else 0
    return 2 ** (8 * dtype.itemsize - 1) - 1 if upper else -(2 ** (8 * dtype.itemsize - 1))


def _common(name: str, tensors: list[Tensor]) -> tuple[int, ...]:
    return broadcast_shapes(*(x._type.shape for x in tensors), name=name)


def _fit(x: Tensor | Number, dtype: DType, shape: tuple[int, ...]) -> Tensor:
    return broadcast_to(cast(x, dtype), shape) if isinstance(x, TensorBase) else splat(x, dtype, shape)


def _float_type(*operands: Operand) -> DType:
    dtype = result_type(*operands)
    return dtype if dtype.is_float else DEFAULT_FLOAT


def _number_type(name: str, *operands: Operand) -> DType:
    dtype = result_type(*operands)
    if dtype.is_bool and name != "pow":
        fail(DTypeError, f"{name} does not take bools; cast them first")
    return i64 if dtype.is_bool else dtype
