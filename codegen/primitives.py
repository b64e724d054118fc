"""Each scalar primitive of `graphc.ir.scalar` as LLVM instructions, on scalar or vector values.

`EMIT[name](builder, dtype, *operands)` builds the primitive; `dtype` is the element type of its operands (of the two
arms, for `select`), with the half precisions carried as f32 in registers. `cast`, which has two element types, is
`conversions.emit_cast`. The names in `FAULTING` take one more operand, a pointer to the i32 that a fault sets to 1;
they never trap, and after a fault their value is 0 (`check_range`: `low`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from llvmlite import ir

from graphc.codegen.integer_division import floor_div, integer_pow, mod, raise_fault
from graphc.codegen.llvm_values import Value, any_lane, constant, element, intrinsic
from graphc.codegen.philox import emit_philox
from graphc.codegen.vector_math import emit_math
from graphc.ir.types import DType

Emit = Callable[..., Value]
Builder: TypeAlias = ir.IRBuilder

FAULTING = frozenset({"floor_div", "mod", "pow", "check_range"})


def _add(b: Builder, dtype: DType, x: Value, y: Value) -> Value:
    return b.fadd(x, y) if dtype.is_float else b.add(x, y)


def _sub(b: Builder, dtype: DType, x: Value, y: Value) -> Value:
    return b.fsub(x, y) if dtype.is_float else b.sub(x, y)


def _mul(b: Builder, dtype: DType, x: Value, y: Value) -> Value:
    return b.fmul(x, y) if dtype.is_float else b.mul(x, y)


def _fma(b: Builder, dtype: DType, x: Value, y: Value, z: Value) -> Value:
    return intrinsic(b, "fma", (x, y, z))


def _div(b: Builder, dtype: DType, x: Value, y: Value) -> Value:
    return b.fdiv(x, y)


def _pow(b: Builder, dtype: DType, x: Value, y: Value, fault: Value) -> Value:
    return emit_math(b, "pow", x, y) if dtype.is_float else integer_pow(b, dtype, x, y, fault)


def _extremum(sign: str) -> Emit:
    def emit(b: Builder, dtype: DType, x: Value, y: Value) -> Value:
        if dtype.is_bool:
            return b.or_(x, y) if sign == ">" else b.and_(x, y)
        if not dtype.is_float:
            name = ("s" if dtype.kind == "int" else "u") + ("max" if sign == ">" else "min")
            return intrinsic(b, name, (x, y))
        # Which of 0.0 and -0.0 is larger is left open, as in NumPy: it would cost as much again.
        return intrinsic(b, "maximum" if sign == ">" else "minimum", (x, y), fastmath=("nsz",))

    return emit


def _neg(b: Builder, dtype: DType, x: Value) -> Value:
    return b.fneg(x) if dtype.is_float else b.neg(x)


def _abs(b: Builder, dtype: DType, x: Value) -> Value:
    if dtype.is_float:
        return intrinsic(b, "fabs", (x,))
    if dtype.kind == "uint":
        return x
    return b.select(b.icmp_signed("<", x, constant(x.type, 0)), b.neg(x), x)


def _rounding(name: str) -> Emit:
    return lambda b, dtype, x: intrinsic(b, name, (x,))


def _math(name: str) -> Emit:
    return lambda b, dtype, x: emit_math(b, name, x)


def _bitwise(name: str) -> Emit:
    return lambda b, dtype, *operands: getattr(b, name)(*operands)


def _lshr(b: Builder, dtype: DType, x: Value, n: Value) -> Value:
    """A shift by the width or more gives 0, as in NumPy."""
    type_ = x.type
    inside = b.icmp_unsigned("<", n, constant(type_, element(type_).width))
    zero = constant(type_, 0)
    return b.select(inside, b.lshr(x, b.select(inside, n, zero)), zero)


def _compare(sign: str) -> Emit:
    def emit(b: Builder, dtype: DType, x: Value, y: Value) -> Value:
        if dtype.is_float:
            return b.fcmp_unordered(sign, x, y) if sign == "!=" else b.fcmp_ordered(sign, x, y)
        return b.icmp_signed(sign, x, y) if dtype.kind == "int" else b.icmp_unsigned(sign, x, y)

    return emit


def _select(b: Builder, dtype: DType, condition: Value, if_true: Value, if_false: Value) -> Value:
    return b.select(condition, if_true, if_false)


def _check_range(b: Builder, dtype: DType, x: Value, low: Value, high: Value, fault: Value) -> Value:
    less = b.icmp_signed if dtype.kind == "int" else b.icmp_unsigned
    bad = b.or_(less("<", x, low), less(">=", x, high))
    raise_fault(b, any_lane(b, bad), fault)
    return b.select(bad, low, x)


def _philox(b: Builder, dtype: DType, key: Value, counter: Value) -> Value:
    return emit_philox(b, key, counter)


EMIT: dict[str, Emit] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "fma": _fma,
    "div": _div,
    "floor_div": floor_div,
    "mod": mod,
    "pow": _pow,
    "minimum": _extremum("<"),
    "maximum": _extremum(">"),
    "neg": _neg,
    "abs": _abs,
    "floor": _rounding("floor"),
    "ceil": _rounding("ceil"),
    "round": _rounding("nearbyint"),
    "sqrt": _rounding("sqrt"),
    "exp": _math("exp"),
    "expm1": _math("expm1"),
    "log": _math("log"),
    "log1p": _math("log1p"),
    "tanh": _math("tanh"),
    "erf": _math("erf"),
    "sin": _math("sin"),
    "cos": _math("cos"),
    "bit_and": _bitwise("and_"),
    "bit_or": _bitwise("or_"),
    "bit_xor": _bitwise("xor"),
    "bit_not": _bitwise("not_"),
    "lshr": _lshr,
    "eq": _compare("=="),
    "ne": _compare("!="),
    "lt": _compare("<"),
    "le": _compare("<="),
    "gt": _compare(">"),
    "ge": _compare(">="),
    "select": _select,
    "philox": _philox,
    "check_range": _check_range,
}
