"""Division, remainder and power with the semantics of Python's operators; on integers none of them ever traps."""

from __future__ import annotations

from typing import TypeAlias

from llvmlite import ir

from graphc.codegen.llvm_values import Value, any_lane, constant, element, intrinsic, libm, per_lane
from graphc.ir.types import DType

Builder: TypeAlias = ir.IRBuilder


def raise_fault(b: Builder, condition: Value, fault: Value) -> None:
    """Store 1 through `fault` if `condition` (one i1) holds."""
    with b.if_then(condition, likely=False):
        store_fault(b, fault)


def store_fault(b: Builder, fault: Value) -> None:
    """Store 1 through `fault`."""
    b.store(ir.Constant(ir.IntType(32), 1), fault)


def _safe_divisor(b: Builder, dtype: DType, x: Value, y: Value, zero_divisor: Value) -> Value:
    """`y`, or 1 where dividing by y would trap: y = 0, and the smallest integer by -1 (whose quotient wraps)."""
    unsafe = zero_divisor
    if dtype.kind == "int":
        smallest = constant(x.type, -(1 << (element(x.type).width - 1)))
        wraps = b.and_(b.icmp_signed("==", x, smallest), b.icmp_signed("==", y, constant(x.type, -1)))
        unsafe = b.or_(unsafe, wraps)
    return b.select(unsafe, constant(x.type, 1), y)


def _rounds_down(b: Builder, remainder: Value, y: Value) -> Value:
    """Whether truncated division must be corrected: a remainder of the other sign than the divisor."""
    zero = constant(y.type, 0)
    return b.and_(b.icmp_signed("!=", remainder, zero), b.icmp_signed("<", b.xor(remainder, y), zero))


def floor_quotient(b: Builder, x: Value, y: Value) -> Value:
    """x // y of signed integers, y > 0."""
    correction = b.zext(_rounds_down(b, b.srem(x, y), y), x.type)
    return b.sub(b.sdiv(x, y), correction, flags=["nsw"])


def floor_remainder(b: Builder, x: Value, y: Value) -> Value:
    """x % y of signed integers, y > 0."""
    remainder = b.srem(x, y)
    return b.select(_rounds_down(b, remainder, y), b.add(remainder, y, flags=["nsw"]), remainder)


def floor_div(b: Builder, dtype: DType, x: Value, y: Value, fault: Value) -> Value:
    if dtype.is_float:
        return _float_floor_div(b, x, y)
    zero = constant(x.type, 0)
    by_zero = b.icmp_unsigned("==", y, zero)
    raise_fault(b, any_lane(b, by_zero), fault)
    divisor = _safe_divisor(b, dtype, x, y, by_zero)
    if dtype.kind == "uint":
        return b.select(by_zero, zero, b.udiv(x, divisor))
    quotient, remainder = b.sdiv(x, divisor), b.srem(x, divisor)
    floored = b.select(_rounds_down(b, remainder, divisor), b.sub(quotient, constant(x.type, 1)), quotient)
    return b.select(by_zero, zero, floored)


def mod(b: Builder, dtype: DType, x: Value, y: Value, fault: Value) -> Value:
    if dtype.is_float:
        return _float_mod(b, x, y)
    by_zero = b.icmp_unsigned("==", y, constant(x.type, 0))
    raise_fault(b, any_lane(b, by_zero), fault)
    divisor = _safe_divisor(b, dtype, x, y, by_zero)
    if dtype.kind == "uint":
        return b.urem(x, divisor)
    remainder = b.srem(x, divisor)
    return b.select(_rounds_down(b, remainder, divisor), b.add(remainder, divisor), remainder)


def _fmod(b: Builder, x: Value, y: Value) -> Value:
    """C's fmod, by libm: it is exact, which no short vector sequence is for large quotients."""
    return libm(b, "fmodf" if isinstance(element(x.type), ir.FloatType) else "fmod", (x, y))


def _float_mod(b: Builder, x: Value, y: Value) -> Value:
    """The remainder with the sign of the divisor; the zero remainder too has the divisor's sign. NaN for y = 0."""
    zero = constant(x.type, 0.0)
    remainder = _fmod(b, x, y)
    other_sign = b.xor(b.fcmp_ordered("<", y, zero), b.fcmp_ordered("<", remainder, zero))
    nonzero = b.select(other_sign, b.fadd(remainder, y), remainder)
    is_zero = b.and_(b.fcmp_ordered("==", remainder, zero), b.fcmp_unordered("!=", y, zero))
    return b.select(is_zero, intrinsic(b, "copysign", (zero, y)), nonzero)


def _float_floor_div(b: Builder, x: Value, y: Value) -> Value:
    """floor(x / y) computed as NumPy, Python and PyTorch do: from the exact remainder. x / y for y = 0."""
    zero, one = constant(x.type, 0.0), constant(x.type, 1.0)
    remainder = _fmod(b, x, y)
    exact = b.fdiv(b.fsub(x, remainder), y)
    nonzero_remainder = b.fcmp_unordered("!=", remainder, zero)
    other_sign = b.xor(b.fcmp_ordered("<", y, zero), b.fcmp_ordered("<", remainder, zero))
    quotient = b.select(b.and_(nonzero_remainder, other_sign), b.fsub(exact, one), exact)
    floored = intrinsic(b, "floor", (quotient,))
    # the division may have rounded just below an integer
    rounded_below = b.fcmp_ordered(">", b.fsub(quotient, floored), constant(x.type, 0.5))
    floored = b.select(rounded_below, b.fadd(floored, one), floored)
    true_quotient = b.fdiv(x, y)
    floored = b.select(b.fcmp_ordered("==", quotient, zero), intrinsic(b, "copysign", (zero, true_quotient)), floored)
    return b.select(b.fcmp_ordered("==", y, zero), true_quotient, floored)


def integer_pow(b: Builder, dtype: DType, x: Value, y: Value, fault: Value) -> Value:
    """x to the power y, wrapping, by repeated squaring. A negative exponent faults and gives 0."""
    return per_lane(b, lambda base, exponent: _scalar_pow(b, dtype, base, exponent, fault), (x, y), element(x.type))


def _scalar_pow(b: Builder, dtype: DType, x: Value, y: Value, fault: Value) -> Value:
    type_ = x.type
    zero, one = constant(type_, 0), constant(type_, 1)
    start = one
    if dtype.kind == "int":
        negative = b.icmp_signed("<", y, zero)
        raise_fault(b, negative, fault)
        start, y = b.select(negative, zero, one), b.select(negative, zero, y)
    before = b.block
    head, body, done = (b.append_basic_block(f"pow.{part}") for part in ("head", "body", "done"))
    b.branch(head)
    b.position_at_end(head)
    power, square, exponent = (b.phi(type_) for _ in range(3))
    b.cbranch(b.icmp_unsigned("!=", exponent, zero), body, done)
    b.position_at_end(body)
    odd = b.icmp_unsigned("!=", b.and_(exponent, one), zero)
    following = (b.select(odd, b.mul(power, square), power), b.mul(square, square), b.lshr(exponent, one))
    b.branch(head)
    for phi, first, value in zip((power, square, exponent), (start, x, y), following, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(value, body)
    b.position_at_end(done)
    return power
