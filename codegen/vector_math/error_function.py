"""erf for f32.

A polynomial below 1, and above it 1 - exp(-G(|x|)) with a polynomial G = -log(1 - erf). The coefficients are minimax
fits of our own, rounded one after the other to f32.
"""

from __future__ import annotations

from graphc.codegen.llvm_values import Value
from graphc.codegen.vector_math.exponential import exp_of_remainder, power_of_two, reduce
from graphc.codegen.vector_math.lanes import Lanes, hexadecimal

# erf(x) / x - 1 in x^2 for |x| < 1: relative error of erf below 2^-29.3
_NEAR = hexadecimal(
    "0x1.06eba8p-3 -0x1.81273ep-2 0x1.ce2ce6p-4 -0x1.b7f71ap-6 0x1.53f224p-8 -0x1.a3515ep-11 0x1.4771fep-14"
)
# -log(1 - erf(x)) on 1 <= x < 3.95: relative error of erf below 2^-29.8
_FAR = hexadecimal(
    "0x1.6632f0p-12 0x1.2088e6p+0 0x1.46baf8p-1 0x1.a6530ap-4 -0x1.65cb50p-6 0x1.825b5cp-9 -0x1.86df9ap-13"
)


def erf(m: Lanes, x: Value) -> Value:
    magnitude = m.abs(x)
    square = m.mul(x, x)
    near_zero = m.fma(x, m.polynomial(square, _NEAR), x)
    exponent = m.polynomial(m.at_most(magnitude, 3.95), _FAR)  # from 3.92 on erf is 1 in f32
    n, r = reduce(m, m.neg(exponent))
    far = m.sub(1.0, m.mul(exp_of_remainder(m, r), power_of_two(m, n)))
    return m.select(m.compare("<", magnitude, 1.0), near_zero, m.copysign(far, x))
