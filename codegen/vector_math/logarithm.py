"""log and log1p for f32.

The argument is 2^e (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), and log(1 + f) a polynomial. The coefficients are a
minimax fit of our own, rounded one after the other to f32.
"""

from __future__ import annotations

import math

from graphc.codegen.llvm_values import Value
from graphc.codegen.vector_math.lanes import Lanes, hexadecimal

LN2_HIGH = float.fromhex("0x1.62e4p-1")  # 16 bits, so that e LN2_HIGH is exact
LN2_LOW = float.fromhex("0x1.7f7d1cp-20")
_SQRT_HALF_BITS = 0x3F3504F3

# (log(1 + f) - f + f^2 / 2) / f^3: relative error of log(1 + f) below 2^-27.3
_LOG = hexadecimal(
    "0x1.555554p-2 -0x1.000226p-2 0x1.99a01ap-3 -0x1.547282p-3"
    " 0x1.22d956p-3 -0x1.0d82e4p-3 0x1.055e32p-3 -0x1.38c4d0p-4"
)


def _exponent(m: Lanes, bits: Value) -> Value:
    """e of the pattern of a positive normal number."""
    return m.shift_right(m.int_sub(bits, _SQRT_HALF_BITS), 23)


def _log_of_parts(m: Lanes, exponent: Value, f: Value) -> Value:
    """exponent * ln 2 + log(1 + f)."""
    e = m.b.sitofp(exponent, m.float_type)
    tail = m.mul(m.mul(f, f), m.fma(m.polynomial(f, _LOG), f, -0.5))
    leading = m.fma(e, LN2_HIGH, f)
    lost = m.add(f, m.fma(e, LN2_HIGH, m.neg(leading)))  # what rounding `leading` has lost
    return m.add(leading, m.add(m.fma(e, LN2_LOW, lost), tail))


def _special(m: Lanes, x: Value, shifted: Value, result: Value) -> Value:
    """The result for a NaN or infinite x, and where the logarithm's argument `shifted` is zero or negative."""
    result = m.select(m.compare("<", x, math.inf), result, x)
    result = m.select(m.compare("==", shifted, 0.0), -math.inf, result)
    return m.select(m.compare("<", shifted, 0.0), math.nan, result)


def log(m: Lanes, x: Value) -> Value:
    """-inf of a zero, NaN of a negative number."""
    subnormal = m.compare("<", x, 2.0**-126)
    bits = m.bits(m.select(subnormal, m.mul(x, 2.0**23), x))
    e = _exponent(m, bits)
    f = m.sub(m.from_bits(m.int_sub(bits, m.shift_left(e, 23))), 1.0)
    e = m.b.select(subnormal, m.int_sub(e, 23), e)
    return _special(m, x, x, _log_of_parts(m, e, f))


def log1p(m: Lanes, x: Value) -> Value:
    """1 + x is rounded only to find e; f = (x + 1) / 2^e - 1 is computed from x, with one rounding."""
    shifted = m.add(x, 1.0)
    e = _exponent(m, m.bits(shifted))
    four_over = m.from_bits(m.shift_left(m.int_sub(129, e), 23))  # 4 / 2^e: 1 / 2^e may be subnormal
    f = m.fma(m.mul(x, 0.25), four_over, m.fma(four_over, 0.25, -1.0))
    result = _special(m, x, shifted, _log_of_parts(m, e, f))
    return m.select(m.compare("<", m.abs(x), 2.0**-25), x, result)
