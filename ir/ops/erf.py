"""The error function in double precision, vectorised.

Rational approximations from FDLIBM's s_erf.c (Sun Microsystems, 1993; freely usable with this notice), in four
intervals of |x|; error below 1 ulp of f64.
"""

from __future__ import annotations

import itertools

import numpy as np

from graphc.ir.opdef import Array

# erf(x) = x + x * P(x^2) / Q(x^2), |x| < 0.84375
_PP = (1.28379167095512558561e-01, -3.25042107247001499370e-01, -2.84817495755985104766e-02,
       -5.77027029648944159157e-03, -2.37630166566501626084e-05)  # fmt: skip
_QQ = (1.0, 3.97917223959155352819e-01, 6.50222499887672944485e-02, 5.08130628187576562776e-03,
       1.32494738004321644526e-04, -3.96022827877536812320e-06)  # fmt: skip
# erf(x) = ERX + P(x - 1) / Q(x - 1), 0.84375 <= x < 1.25
_ERX = 8.45062911510467529297e-01
_PA = (-2.36211856075265944077e-03, 4.14856118683748331666e-01, -3.72207876035701323847e-01,
       3.18346619901161753674e-01, -1.10894694282396677476e-01, 3.54783043256182359371e-02,
       -2.16637559486879084300e-03)  # fmt: skip
_QA = (1.0, 1.06420880400844228286e-01, 5.40397917702171048937e-01, 7.18286544141962662868e-02,
       1.26171219808761642112e-01, 1.36370839120290507362e-02, 1.19844998467991074170e-02)  # fmt: skip
# erf(x) = 1 - exp(-x^2 - 0.5625 + R(1/x^2) / S(1/x^2)) / x, 1.25 <= x < 1/0.35
_RA = (-9.86494403484714822705e-03, -6.93858572707181764372e-01, -1.05586262253232909814e01,
       -6.23753324503260060396e01, -1.62396669462573470355e02, -1.84605092906711035994e02,
       -8.12874355063065934246e01, -9.81432934416914548592e00)  # fmt: skip
_SA = (1.0, 1.96512716674392571292e01, 1.37657754143519042600e02, 4.34565877475229228821e02,
       6.45387271733267880336e02, 4.29008140027567833386e02, 1.08635005541779435134e02,
       6.57024977031928170135e00, -6.04244152148580987438e-02)  # fmt: skip
# the same, 1/0.35 <= x < 6
_RB = (-9.86494292470009928597e-03, -7.99283237680523006574e-01, -1.77579549177547519889e01,
       -1.60636384855821916062e02, -6.37566443368389627722e02, -1.02509513161107724954e03,
       -4.83519191608651397019e02)  # fmt: skip
_SB = (1.0, 3.03380607434824582924e01, 3.25792512996573918826e02, 1.53672958608443695994e03,
       3.19985821950859553908e03, 2.55305040643316442583e03, 4.74528541206955367215e02,
       -2.24409524465858183362e01)  # fmt: skip


def erf(x: Array) -> Array:
    """erf of each element of an f32 or f64 array, in f64 rounded to its type. NaN of NaN."""
    wide = np.atleast_1d(x).astype(np.float64).ravel()
    size = np.abs(wide)
    result = np.where(np.isnan(wide), np.nan, 1.0)  # 1 to the last bit from 6 on
    bounds = (0.0, 0.84375, 1.25, 1 / 0.35, 6.0)
    for part, (low, high) in zip((_small, _middle, _tail_a, _tail_b), itertools.pairwise(bounds), strict=True):
        inside = np.flatnonzero((size >= low) & (size < high))
        if inside.size:
            result[inside] = part(size[inside])
    return np.copysign(result, wide).astype(x.dtype).reshape(x.shape)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    result = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        result *= x
        result += c
    return result


def _small(x: Array) -> Array:
    z = x * x
    return x + x * (_polynomial(_PP, z) / _polynomial(_QQ, z))


def _middle(x: Array) -> Array:
    s = x - 1.0
    return _ERX + _polynomial(_PA, s) / _polynomial(_QA, s)


def _tail_a(x: Array) -> Array:
    return _tail(x, _RA, _SA)


def _tail_b(x: Array) -> Array:
    return _tail(x, _RB, _SB)


def _tail(x: Array, r: tuple[float, ...], s: tuple[float, ...]) -> Array:
    inverse = 1.0 / (x * x)
    # z is x with its low half cleared, so that z * z is exact.
    z = (x.view(np.int64) & ~0xFFFFFFFF).view(np.float64)
    exponent = (z - x) * (z + x) + _polynomial(r, inverse) / _polynomial(s, inverse)
    return 1.0 - np.exp(-z * z - 0.5625) * np.exp(exponent) / x
