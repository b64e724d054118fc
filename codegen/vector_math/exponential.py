"""exp, expm1 and tanh for f32.

x = n ln 2 + r with an integer n and |r| <= ln(2) / 2, then exp(x) = 2^n exp(r) (Cody and Waite, "Software Manual for
the Elementary Functions", 1980). The coefficients are minimax fits of our own, rounded one after the other to f32.
"""

from __future__ import annotations

from graphc.codegen.llvm_values import Value
from graphc.codegen.vector_math.lanes import Lanes, hexadecimal

LOG2_E = float.fromhex("0x1.715476p+0")
LN2_HIGH = float.fromhex("0x1.62e4p-1")  # 16 bits, so that x - n LN2_HIGH is exact
LN2_LOW = float.fromhex("0x1.7f7d1cp-20")
# Adding it rounds to an integer, which then stands in the low bits: 1.5 * 2^23.
ROUNDER = float.fromhex("0x1.8p+23")
ROUNDER_BITS = 0x4B400000

# (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2: relative error of exp(r) below 2^-28.2,
_EXP = hexadecimal("0x1.fffffcp-2 0x1.555492p-3 0x1.5558b0p-5 0x1.12399cp-7 0x1.6a4ed2p-10")
# and of expm1(r) below 2^-31.1
_EXPM1 = hexadecimal("0x1.000000p-1 0x1.555556p-3 0x1.5554f6p-5 0x1.111004p-7 0x1.6d3c96p-10 0x1.a24316p-13")
# (tanh(x) - x) / x^3 in x^2 for |x| < 0.625: relative error of tanh below 2^-27.7
_TANH = hexadecimal("-0x1.555532p-2 0x1.1106f6p-3 -0x1.b835a4p-5 0x1.51f8cep-6 -0x1.750ce2p-8")


def reduce(m: Lanes, x: Value) -> tuple[Value, Value]:
    """n (as an integer) and r. |x| must be below about 2^21."""
    rounded = m.fma(x, LOG2_E, ROUNDER)
    n = m.sub(rounded, ROUNDER)
    r = m.fma(n, -LN2_LOW, m.fma(n, -LN2_HIGH, x))
    return m.int_sub(m.bits(rounded), ROUNDER_BITS), r


def power_of_two(m: Lanes, n: Value) -> Value:
    """2^n for -127 < n < 128."""
    return m.from_bits(m.shift_left(m.int_add(n, 127), 23))


def exp_of_remainder(m: Lanes, r: Value) -> Value:
    return m.add(m.fma(m.mul(r, r), m.polynomial(r, _EXP), r), 1.0)


def exp(m: Lanes, x: Value) -> Value:
    # beyond these bounds the result is 0 or infinity, which the arithmetic yields by itself
    n, r = reduce(m, m.at_most(m.at_least(x, -104.0), 89.0))
    half = m.shift_right(n, 1)  # 2^n need not be a float, though the result is
    scaled = m.mul(exp_of_remainder(m, r), power_of_two(m, half))
    return m.mul(scaled, power_of_two(m, m.int_sub(n, half)))


def expm1(m: Lanes, x: Value) -> Value:
    """2^n (expm1(r) + 1) - 1, with everything halved so that 2^n does not overflow."""
    n, r = reduce(m, m.at_most(m.at_least(x, -18.0), 89.0))
    half_scale = power_of_two(m, m.int_sub(n, 1))
    tail = m.mul(m.mul(r, r), m.polynomial(r, _EXPM1))
    leading = m.fma(half_scale, r, m.sub(half_scale, 0.5))
    half_result = m.fma(half_scale, tail, leading)
    # keeps -0 and subnormals, which halving would not
    return m.select(m.compare("<", m.abs(x), 2.0**-25), x, m.add(half_result, half_result))


def tanh(m: Lanes, x: Value) -> Value:
    """1 - 2 / (exp(2 |x|) + 1), or near zero a polynomial."""
    magnitude = m.abs(x)
    square = m.mul(x, x)
    near_zero = m.fma(m.mul(magnitude, square), m.polynomial(square, _TANH), magnitude)
    clamped = m.at_most(magnitude, 10.0)  # tanh(10) is 1 in f32
    n, r = reduce(m, m.add(clamped, clamped))
    exponential = m.mul(exp_of_remainder(m, r), power_of_two(m, n))
    far = m.sub(1.0, m.div(2.0, m.add(exponential, 1.0)))
    return m.copysign(m.select(m.compare("<", magnitude, 0.625), near_zero, far), x)
