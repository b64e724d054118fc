"""sin and cos for f32, accurate for every finite argument.

|x| is a 24-bit integer times a power of two. Its product with the bits of 2/pi that matter, modulo 4, is exact integer
arithmetic (Payne and Hanek, "Radian reduction for trigonometric functions", 1983): bits of 2/pi that contribute
multiples of 4 are skipped by a shift, and those too small to matter are left out. So there is one path for all
arguments, with no branch and no call. The coefficients are minimax fits of our own, rounded one after the other to f32.
"""

from __future__ import annotations

import math

from graphc.codegen.llvm_values import F64, I1, I32, I64, Value, constant, intrinsic, reshape_type
from graphc.codegen.vector_math.lanes import Lanes, hexadecimal

# 2/pi in fixed point: 25 zeros before the binary point, 231 bits after it.
_TWO_OVER_PI = (0x000000517CC1B727, 0x220A94FE13ABE8FA, 0x9A6EE06DB14ACC9E, 0x21C820FF28B1D5EF)

# (sin(r) - r) / r^3 and (cos(r) - 1 + r^2 / 2) / r^4 in r^2 for |r| <= 1: relative errors below 2^-31.4, 2^-29.3
_SIN = hexadecimal("-0x1.555556p-3 0x1.11113ep-7 -0x1.a01ffep-13 0x1.6de9f6p-19")
_COS = hexadecimal("0x1.555524p-5 -0x1.6bfaa0p-10 0x1.960920p-16")


def _quadrants(m: Lanes, magnitude: Value) -> Value:
    """magnitude * 2/pi modulo 4, in units of 2^-62, as i64; for 1 <= magnitude < infinity."""
    b = m.b
    wide = reshape_type(I64, m.float_type)
    bits = m.bits(magnitude)
    mantissa = b.zext(b.or_(b.and_(bits, m.integer(0x007FFFFF)), m.integer(0x00800000)), wide)
    shift = b.zext(m.int_sub(b.lshr(bits, m.integer(23)), 127), wide)
    word = [constant(wide, w) for w in _TWO_OVER_PI]
    first = b.icmp_unsigned("<", shift, constant(wide, 64))
    high, middle, low = (b.select(first, word[i], word[i + 1]) for i in range(3))
    # llvm.fshl shifts two words to the left, by `shift` modulo 64, and yields the upper one
    upper = intrinsic(b, "fshl", (high, middle, shift))
    lower = intrinsic(b, "fshl", (middle, low, shift))
    half = constant(wide, 32)
    carried = b.lshr(b.mul(mantissa, b.lshr(lower, half)), half)
    return b.add(b.mul(mantissa, upper), carried)


def _reduce(m: Lanes, magnitude: Value) -> tuple[Value, Value]:
    """The number of quarter turns nearest to `magnitude`, modulo 4 (as an integer), and the angle that remains."""
    b = m.b
    wide, double = reshape_type(I64, m.float_type), reshape_type(F64, m.float_type)
    turned = _quadrants(m, magnitude)
    quarter = b.lshr(b.add(turned, constant(wide, 1 << 61)), constant(wide, 62))
    rest = b.sitofp(b.sub(turned, b.shl(quarter, constant(wide, 62))), double)
    angle = b.fptrunc(b.fmul(rest, constant(double, math.pi / 2 * 2.0**-62)), m.float_type)
    small = m.compare("<", magnitude, 1.0)
    quarter = b.select(small, m.integer(0), b.trunc(quarter, reshape_type(I32, m.float_type)))
    return quarter, m.select(small, magnitude, angle)


def _turned_sine(m: Lanes, magnitude: Value, quarters: int, sign: Value | None) -> Value:
    """sin(magnitude + quarters * pi/2), its sign flipped where `sign` has its topmost bit set."""
    b = m.b
    quarter, r = _reduce(m, magnitude)
    quarter = m.int_add(quarter, quarters)
    square = m.mul(r, r)
    sine = m.fma(m.mul(r, square), m.polynomial(square, _SIN), r)
    cosine = m.polynomial(square, (1.0, -0.5, *_COS))
    odd = b.trunc(quarter, reshape_type(I1, m.float_type))
    flip = m.shift_left(b.and_(quarter, m.integer(2)), 30)
    if sign is not None:
        flip = b.xor(flip, b.and_(sign, m.integer(-(1 << 31))))
    result = m.from_bits(b.xor(m.bits(m.select(odd, cosine, sine)), flip))
    return m.select(m.compare("<", magnitude, math.inf), result, math.nan)


def sin(m: Lanes, x: Value) -> Value:
    return _turned_sine(m, m.abs(x), 0, m.bits(x))


def cos(m: Lanes, x: Value) -> Value:
    return _turned_sine(m, m.abs(x), 1, None)
