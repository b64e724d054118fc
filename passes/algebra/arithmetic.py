"""Rewrites of arithmetic: identities, signs, constants, powers, casts.

x + 0.0 is not x where x is -0.0, so only -0.0 is dropped from a float sum (and +0.0 from a difference). Nothing here
reassociates floats, save factors that are powers of two, which round nothing.
"""

from __future__ import annotations

from graphc.ir.builder import Builder
from graphc.ir.graph import Op, Value
from graphc.ir.opdef import registered
from graphc.ir.types import DType, f32, f64
from graphc.passes.algebra.table import names_of, rule, source
from graphc.passes.constants import as_element, is_constant, is_identity, is_number, is_power_of_two, splat_of


@rule(*names_of(trait="commutative"))
def constant_on_the_right(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """f(c, x) -> f(x, c), f commutative"""
    if is_constant(x) and not is_constant(y):
        return b.emit(op.name, [y, x], op.attributes).result
    return None


@rule(*[r.name for r in registered().values() if r.identity is not None and r.n_operands == 2])
def neutral_element(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """f(x, identity of f) -> x: x + -0.0, x - 0, x * 1, x / 1, x ** 1, maximum(x, smallest), x & true, ..."""
    return x if is_identity(op.name, y) else None


@rule(*names_of(trait="idempotent"))
def same_twice(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """f(x, x) -> x, f idempotent"""
    return x if x is y else None


# --- add, sub, mul, div -----------------------------------------------------------------------------------------------


@rule("add")
def add_negated(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """x + -y -> x - y;  -x + y -> y - x"""
    if negated := source(y, "neg"):
        return b.sub(x, negated.operands[0])
    if negated := source(x, "neg"):
        return b.sub(y, negated.operands[0])
    return None


@rule("add")
def add_chain(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """integers: (x + c1) + c2 -> x + (c1 + c2)"""
    inner = source(x, "add")
    c2 = splat_of(y)
    c1 = splat_of(inner.operands[1]) if inner else None
    if inner is None or c1 is None or c2 is None or not x.type.dtype.is_integer:
        return None
    return b.add(inner.operands[0], b.full_like(x, as_element(c1 + c2, x.type.dtype)))


@rule("sub")
def sub_from_zero(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """-0.0 - x -> -x;  integers: 0 - x -> -x"""
    return b.neg(y) if is_number(x, -0.0 if x.type.dtype.is_float else 0) else None


@rule("sub")
def sub_negated(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """x - -y -> x + y"""
    negated = source(y, "neg")
    return b.add(x, negated.operands[0]) if negated else None


@rule("sub")
def sub_itself(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """integers: x - x -> 0"""
    return b.full_like(x, 0) if x is y and x.type.dtype.is_integer else None


@rule("floor_div")
def floor_div_one(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """integers: x // 1 -> x"""
    return x if x.type.dtype.is_integer and is_number(y, 1) else None


@rule("mul", "div")
def times_minus_one(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """x * -1, x / -1 -> -x"""
    return b.neg(x) if is_number(y, -1) else None


@rule("mul")
def mul_zero(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """integers: x * 0 -> 0"""
    return y if x.type.dtype.is_integer and is_number(y, 0) else None


@rule("mul", "div")
def two_signs(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """-x * -y -> x * y;  -x / -y -> x / y"""
    left, right = source(x, "neg"), source(y, "neg")
    if left is None or right is None:
        return None
    return b.emit(op.name, [left.operands[0], right.operands[0]]).result


@rule("mul", "div")
def sign_into_constant(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """-x * c -> x * -c;  -x / c -> x / -c"""
    negated, c = source(x, "neg"), splat_of(y)
    if negated is None or c is None:
        return None
    return b.emit(op.name, [negated.operands[0], b.full_like(y, as_element(-c, y.type.dtype))]).result


@rule("mul")
def mul_chain(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """(x * c1) * c2 -> x * (c1 * c2), integers, or floats where both are powers of two and at least 1"""
    inner = source(x, "mul")
    c2 = splat_of(y)
    c1 = splat_of(inner.operands[1]) if inner else None
    if inner is None or c1 is None or c2 is None:
        return None
    dtype = x.type.dtype
    product = as_element(c1 * c2, dtype)
    if dtype.is_float and not (is_power_of_two(product) and all(is_power_of_two(c) and abs(c) >= 1 for c in (c1, c2))):
        return None
    return b.mul(inner.operands[0], b.full_like(x, product))


@rule("div")
def div_by_power_of_two(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """x / c -> x * (1 / c), c a power of two whose reciprocal the type holds"""
    c = splat_of(y)
    if c is None or not is_power_of_two(c):
        return None
    reciprocal = as_element(1 / c, y.type.dtype)
    return b.mul(x, b.full_like(y, reciprocal)) if is_power_of_two(reciprocal) else None


@rule("mod")
def mod_one(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """integers: x % 1 -> 0"""
    return b.full_like(x, 0) if x.type.dtype.is_integer and is_number(y, 1) else None


# --- neg, abs and other unary ops -------------------------------------------------------------------------------------


@rule("neg", "bitwise_not")
def involution(b: Builder, op: Op, x: Value) -> Value | None:
    """f(f(x)) -> x, f one of neg, bitwise_not"""
    inner = source(x, op.name)
    return inner.operands[0] if inner else None


@rule("abs", "sign", "floor", "ceil", "round", "relu")
def repeated(b: Builder, op: Op, x: Value) -> Value | None:
    """f(f(x)) -> f(x), f one of abs, sign, floor, ceil, round, relu"""
    return x if source(x, op.name) else None


@rule("floor", "ceil", "round")
def round_integral(b: Builder, op: Op, x: Value) -> Value | None:
    """floor, ceil, round of a value that one of them made -> that value"""
    return x if any(source(x, name) for name in ("floor", "ceil", "round")) else None


@rule("neg")
def neg_scaled(b: Builder, op: Op, x: Value) -> Value | None:
    """-(x * c) -> x * -c;  -(x / c) -> x / -c"""
    inner = source(x, "mul") or source(x, "div")
    c = splat_of(inner.operands[1]) if inner else None
    if inner is None or c is None:
        return None
    return b.emit(inner.name, [inner.operands[0], b.full_like(x, as_element(-c, x.type.dtype))]).result


@rule("abs")
def abs_negated(b: Builder, op: Op, x: Value) -> Value | None:
    """abs(-x) -> abs(x)"""
    negated = source(x, "neg")
    return b.abs(negated.operands[0]) if negated else None


# --- pow --------------------------------------------------------------------------------------------------------------


@rule("pow")
def pow_small(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """x ** 0 -> 1;  x ** 2 -> x * x;  f32, f64, integers: x ** 3 -> x * x * x (in rounding: nearer to
    PyTorch, which does the same);  x ** -1 -> 1 / x"""
    dtype = x.type.dtype
    if is_number(y, 0) or is_number(y, -0.0):
        return b.full_like(x, 1)
    if is_number(y, 2):
        return b.mul(x, x)
    if is_number(y, 3) and (dtype in (f32, f64) or dtype.is_integer):
        return b.mul(b.mul(x, x), x)
    if is_number(y, -1) and dtype.is_float:
        return b.div(b.full_like(x, 1), x)
    return None


# --- clamp ------------------------------------------------------------------------------------------------------------


@rule("clamp")
def clamp_to_everything(b: Builder, op: Op, x: Value, low: Value, high: Value) -> Value | None:
    """clamp(x, smallest, largest) -> x, where those are the type's ends"""
    return x if is_identity("maximum", low) and is_identity("minimum", high) else None


# --- cast -------------------------------------------------------------------------------------------------------------

# Source type -> types that hold each of its values.
LOSSLESS: dict[str, frozenset[str]] = {
    "bool": frozenset({"i8", "i16", "i32", "i64", "u8", "bf16", "f16", "f32", "f64"}),
    "i8": frozenset({"i16", "i32", "i64", "bf16", "f16", "f32", "f64"}),
    "u8": frozenset({"i16", "i32", "i64", "bf16", "f16", "f32", "f64"}),
    "i16": frozenset({"i32", "i64", "f32", "f64"}),
    "i32": frozenset({"i64", "f64"}),
    "bf16": frozenset({"f32", "f64"}),
    "f16": frozenset({"f32", "f64"}),
    "f32": frozenset({"f64"}),
}


@rule("cast")
def cast_to_its_type(b: Builder, op: Op, x: Value) -> Value | None:
    """cast(x) to the type of x -> x"""
    return x if x.type == op.result.type else None


@rule("cast")
def cast_chain(b: Builder, op: Op, x: Value) -> Value | None:
    """cast(cast(x)) -> cast(x), the inner one lossless (integer -> float -> integer only if lossless throughout: floats
    saturate where integers wrap)"""
    inner = source(x, "cast")
    if inner is None:
        return None
    origin = inner.operands[0]
    start, middle, end = origin.type.dtype, x.type.dtype, op.result.type.dtype
    if not holds(middle, start):
        return None
    if start.is_integer and middle.is_float and end.is_integer and not holds(end, start):
        return None
    return b.cast(origin, dtype=end)


def holds(wide: DType, narrow: DType) -> bool:
    """Whether every value of `narrow` is one of `wide`."""
    return wide == narrow or wide.name in LOSSLESS.get(narrow.name, ())


# --- check_index ------------------------------------------------------------------------------------------------------


@rule("check_index")
def check_again(b: Builder, op: Op, x: Value) -> Value | None:
    """check_index(check_index(x)) -> check_index(x), the inner range within the outer"""
    inner = source(x, "check_index")
    return x if inner and _within(inner.attributes["low"], inner.attributes["high"], op) else None


@rule("check_index")
def check_coordinate(b: Builder, op: Op, x: Value) -> Value | None:
    """check_index(iota) -> iota, its extent within the range and within its type"""
    iota = source(x, "iota")
    axis = iota.attributes["axis"] if iota else 0
    assert isinstance(axis, int)
    return x if iota and _holds_count(x, axis) and _within(0, x.type.shape[axis], op) else None


def _holds_count(x: Value, axis: int) -> bool:
    """Whether the coordinates along an axis fit the element type, so that they did not wrap."""
    return x.type.shape[axis] <= 1 << (8 * x.type.dtype.itemsize - (x.type.dtype.kind == "int"))


def _within(low: object, high: object, op: Op) -> bool:
    outer = op.attributes["low"], op.attributes["high"]
    assert all(isinstance(v, int) for v in (low, high, *outer))
    return outer[0] <= low and high <= outer[1]  # type: ignore[operator]
