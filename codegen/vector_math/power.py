"""pow for f32, as 2^(y log2 |x|) in f64.

|x| is 2^e m with sqrt(1/2) <= m < sqrt(2), and log2(m) an odd polynomial in (m - 1) / (m + 1). The coefficients are
minimax fits of our own. Special cases are those of C99, annex F.
"""

from __future__ import annotations

import math

from graphc.codegen.llvm_values import F64, Value, intrinsic, reshape_type
from graphc.codegen.vector_math.lanes import Lanes, hexadecimal

_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
# Adding it rounds to an integer, which then stands in the low bits: 1.5 * 2^52.
_ROUNDER = float.fromhex("0x1.8p+52")
_ROUNDER_BITS = 0x4338000000000000

# log2((1 + s) / (1 - s)) / s in s^2: relative error below 2^-37.7
_LOG2 = hexadecimal(
    "0x1.71547652bee72p+1 0x1.ec709d1228228p-1 0x1.2777806d52097p-1 0x1.a58d471eacf77p-2 0x1.5ced4d7c3bf2fp-2"
)
# 2^r on |r| <= 1/2: relative error below 2^-29
_EXP2 = hexadecimal(
    "0x1.0000000265f4fp+0 0x1.62e430c934701p-1 0x1.ebfbdad55ce14p-3 0x1.c6aed2f7a920dp-5"
    " 0x1.3b2dbe882a86cp-7 0x1.5f464daeadfe5p-10 0x1.41d2c50082ae9p-13"
)


def _log2(d: Lanes, x: Value) -> Value:
    """log2 of a positive normal f64; infinite for infinity and for zero."""
    bits = d.bits(x)
    exponent = d.shift_right(d.int_sub(bits, _SQRT_HALF_BITS), 52)
    mantissa = d.from_bits(d.int_sub(bits, d.shift_left(exponent, 52)))
    e = d.sub(d.from_bits(d.int_add(exponent, _ROUNDER_BITS)), _ROUNDER)
    s = d.div(d.sub(mantissa, 1.0), d.add(mantissa, 1.0))
    result = d.fma(s, d.polynomial(d.mul(s, s), _LOG2), e)
    result = d.select(d.compare("==", x, 0.0), -math.inf, result)
    return d.select(d.compare("==", x, math.inf), math.inf, result)


def _exp2(d: Lanes, x: Value) -> Value:
    """2^x for |x| <= 160."""
    rounded = d.add(x, _ROUNDER)
    n = d.int_sub(d.bits(rounded), _ROUNDER_BITS)
    significand = d.polynomial(d.sub(x, d.sub(rounded, _ROUNDER)), _EXP2)
    return d.from_bits(d.int_add(d.bits(significand), d.shift_left(n, 52)))


def pow(m: Lanes, x: Value, y: Value) -> Value:
    b = m.b
    d = Lanes(b, reshape_type(F64, m.float_type))
    base = m.abs(x)
    exponent = d.mul(b.fpext(y, d.float_type), _log2(d, b.fpext(base, d.float_type)))
    # beyond these bounds the result is 0 or infinity in f32
    magnitude = b.fptrunc(_exp2(d, d.at_most(d.at_least(exponent, -160.0), 160.0)), m.float_type)
    magnitude = m.select(m.compare("==", base, 1.0), 1.0, magnitude)  # y may be infinite

    half = m.mul(y, 0.5)
    whole = m.compare("==", intrinsic(b, "trunc", (y,)), y)
    odd = b.and_(whole, b.fcmp_ordered("!=", intrinsic(b, "trunc", (half,)), half))
    negative = b.icmp_signed("<", m.bits(x), m.integer(0))
    result = m.select(b.and_(odd, negative), m.neg(magnitude), magnitude)

    undefined = b.and_(b.and_(m.compare("<", x, 0.0), m.compare(">", x, -math.inf)), b.not_(whole))
    undefined = b.or_(undefined, b.fcmp_unordered("uno", x, y))
    result = m.select(undefined, math.nan, result)
    return m.select(b.or_(m.compare("==", y, 0.0), m.compare("==", x, 1.0)), 1.0, result)
