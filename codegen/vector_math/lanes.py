"""A short notation for arithmetic on the lanes of a float type and of the integers of its width."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from graphc.codegen.llvm_values import F64, I32, I64, Value, constant, element, intrinsic, reshape_type

Operand = Value | float | int


def hexadecimal(digits: str) -> tuple[float, ...]:
    """Floats written in hexadecimal, so that every bit of them is shown."""
    return tuple(map(float.fromhex, digits.split()))


class Lanes:
    """Builds instructions on values of one float type (`float_type`, scalar or vector) or on integers of the same
    width (`int_type`). Operands may be Python numbers. `fma` is one rounding; the others may be contracted."""

    def __init__(self, b: ir.IRBuilder, float_type: ir.Type):
        self.b = b
        self.float_type = float_type
        self.int_type = reshape_type(I64 if element(float_type) == F64 else I32, float_type)

    def number(self, x: Operand) -> Value:
        return constant(self.float_type, x) if isinstance(x, float) else x

    def integer(self, x: Operand) -> Value:
        return constant(self.int_type, x) if isinstance(x, int) else x

    # --- floats

    def fma(self, x: Operand, y: Operand, z: Operand) -> Value:
        return intrinsic(self.b, "fmuladd", (self.number(x), self.number(y), self.number(z)))

    def add(self, x: Operand, y: Operand) -> Value:
        return self.b.fadd(self.number(x), self.number(y))

    def sub(self, x: Operand, y: Operand) -> Value:
        return self.b.fsub(self.number(x), self.number(y))

    def mul(self, x: Operand, y: Operand) -> Value:
        return self.b.fmul(self.number(x), self.number(y))

    def div(self, x: Operand, y: Operand) -> Value:
        return self.b.fdiv(self.number(x), self.number(y))

    def neg(self, x: Value) -> Value:
        return self.b.fneg(x)

    def abs(self, x: Value) -> Value:
        return intrinsic(self.b, "fabs", (x,))

    def copysign(self, magnitude: Operand, sign: Value) -> Value:
        return intrinsic(self.b, "copysign", (self.number(magnitude), sign))

    def polynomial(self, x: Value, coefficients: Sequence[float]) -> Value:
        """The sum of coefficients[k] * x^k, by Horner's rule."""
        result = self.number(coefficients[-1])
        for c in coefficients[-2::-1]:
            result = self.fma(result, x, c)
        return result

    # --- comparisons, false where an operand is NaN, and choices

    def compare(self, sign: str, x: Operand, y: Operand) -> Value:
        return self.b.fcmp_ordered(sign, self.number(x), self.number(y))

    def select(self, condition: Value, if_true: Operand, if_false: Operand) -> Value:
        return self.b.select(condition, self.number(if_true), self.number(if_false))

    def at_least(self, x: Value, low: float) -> Value:
        """max(x, low), or NaN for NaN."""
        return self.select(self.compare("<", x, low), low, x)

    def at_most(self, x: Value, high: float) -> Value:
        return self.select(self.compare(">", x, high), high, x)

    # --- integers and bit patterns

    def bits(self, x: Value) -> Value:
        return self.b.bitcast(x, self.int_type)

    def from_bits(self, x: Value) -> Value:
        return self.b.bitcast(x, self.float_type)

    def int_add(self, x: Operand, y: Operand) -> Value:
        return self.b.add(self.integer(x), self.integer(y))

    def int_sub(self, x: Operand, y: Operand) -> Value:
        return self.b.sub(self.integer(x), self.integer(y))

    def shift_left(self, x: Operand, n: Operand) -> Value:
        return self.b.shl(self.integer(x), self.integer(n))

    def shift_right(self, x: Operand, n: Operand) -> Value:
        """Arithmetic: the sign is kept."""
        return self.b.ashr(self.integer(x), self.integer(n))
