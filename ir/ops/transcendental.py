"""Exponentials, logarithms, roots and the functions made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ir.graph import Op
from graphc.ir.opdef import Array, register
from graphc.ir.ops.erf import erf
from graphc.ir.ops.pointwise import pointwise
from graphc.ir.scalar import ScalarBuilder

register(pointwise("exp", 1, "float", "e to the power x.", np.exp, "exp"))
register(pointwise("expm1", 1, "float", "exp(x) - 1, accurate near 0.", np.expm1, "expm1"))
register(pointwise("log", 1, "float", "The natural logarithm; NaN below 0.", np.log, "log"))
register(pointwise("log1p", 1, "float", "log(1 + x), accurate near 0.", np.log1p, "log1p"))
register(pointwise("sqrt", 1, "float", "The square root; NaN below 0.", np.sqrt, "sqrt"))
register(
    pointwise(
        "rsqrt",
        1,
        "float",
        "1 / sqrt(x).",
        lambda x: np.divide(x.dtype.type(1), np.sqrt(x)),
        lambda s, op, x: s.call("div", s.like(1, x), s.call("sqrt", x)),
    )
)
register(pointwise("tanh", 1, "float", "The hyperbolic tangent.", np.tanh, "tanh"))


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, x.dtype.type(1)) / (1 + e)


def _sigmoid_scalar(s: ScalarBuilder[Any], op: Op, x: Any) -> Any:
    # exp(-|x|) never overflows, and keeps the small values of the left tail.
    one = s.like(1, x)
    e = s.call("exp", s.call("neg", s.call("abs", x)))
    numerator = s.call("select", s.call("lt", x, s.like(0, x)), e, one)
    return s.call("div", numerator, s.call("add", one, e))


register(pointwise("sigmoid", 1, "float", "1 / (1 + exp(-x)).", _sigmoid, _sigmoid_scalar))
register(pointwise("erf", 1, "float", "The error function, 2/sqrt(pi) times the integral of exp(-t^2).", erf, "erf"))
register(pointwise("sin", 1, "float", "The sine of x radians.", np.sin, "sin"))
register(pointwise("cos", 1, "float", "The cosine of x radians.", np.cos, "cos"))
