"""Exponentials, logarithms, roots and the functions made of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.ir.graph import Op, Value
from graphc.ir.opdef import Array, register
from graphc.ir.ops.erf import erf
from graphc.ir.ops.gradients import vjp_of
from graphc.ir.ops.pointwise import pointwise
from graphc.ir.ops.samples import between
from graphc.ir.scalar import ScalarBuilder

if TYPE_CHECKING:
    from graphc.ir.builder import Builder

register(pointwise("exp", 1, "float", "e to the power x.", np.exp, "exp", vjp=vjp_of(lambda b, ct, x, y: b.mul(ct, y))))
register(
    pointwise(
        "expm1",
        1,
        "float",
        "exp(x) - 1, accurate near 0.",
        np.expm1,
        "expm1",
        vjp=vjp_of(lambda b, ct, x, y: b.mul(ct, b.add(y, b.full_like(y, 1)))),
    )
)

register(
    pointwise(
        "log",
        1,
        "float",
        "The natural logarithm; NaN below 0.",
        np.log,
        "log",
        vjp=vjp_of(lambda b, ct, x, y: b.div(ct, x)),
        domains=[between(0.1, 5)],
    )
)

register(
    pointwise(
        "log1p",
        1,
        "float",
        "log(1 + x), accurate near 0.",
        np.log1p,
        "log1p",
        vjp=vjp_of(lambda b, ct, x, y: b.div(ct, b.add(x, b.full_like(x, 1)))),
        domains=[between(-0.5, 3)],
    )
)

register(
    pointwise(
        "sqrt",
        1,
        "float",
        "The square root; NaN below 0.",
        np.sqrt,
        "sqrt",
        vjp=vjp_of(lambda b, ct, x, y: b.div(b.mul(ct, b.full_like(ct, 0.5)), y)),
        domains=[between(0.1, 5)],
    )
)

register(
    pointwise(
        "rsqrt",
        1,
        "float",
        "1 / sqrt(x).",
        lambda x: np.divide(x.dtype.type(1), np.sqrt(x)),
        lambda s, op, x: s.call("div", s.like(1, x), s.call("sqrt", x)),
        vjp=vjp_of(lambda b, ct, x, y: b.mul(ct, b.mul(b.full_like(y, -0.5), b.mul(y, b.mul(y, y))))),
        domains=[between(0.1, 5)],
    )
)

register(
    pointwise(
        "tanh",
        1,
        "float",
        "The hyperbolic tangent.",
        np.tanh,
        "tanh",
        vjp=vjp_of(lambda b, ct, x, y: b.mul(ct, b.sub(b.full_like(y, 1), b.mul(y, y)))),
    )
)


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, x.dtype.type(1)) / (1 + e)


def _sigmoid_scalar(s: ScalarBuilder[Any], op: Op, x: Any) -> Any:
    # exp(-|x|) never overflows, and keeps the small values of the left tail.
    one = s.like(1, x)
    e = s.call("exp", s.call("neg", s.call("abs", x)))
    numerator = s.call("select", s.call("lt", x, s.like(0, x)), e, one)
    return s.call("div", numerator, s.call("add", one, e))


register(
    pointwise(
        "sigmoid",
        1,
        "float",
        "1 / (1 + exp(-x)).",
        _sigmoid,
        _sigmoid_scalar,
        vjp=vjp_of(lambda b, ct, x, y: b.mul(ct, b.mul(y, b.sub(b.full_like(y, 1), y)))),
    )
)


def _erf_vjp(b: Builder, ct: Value, x: Value, y: Value) -> Value:
    slope = b.mul(b.full_like(x, 2 / math.sqrt(math.pi)), b.exp(b.neg(b.mul(x, x))))
    return b.mul(ct, slope)


register(
    pointwise(
        "erf",
        1,
        "float",
        "The error function, 2/sqrt(pi) times the integral of exp(-t^2).",
        erf,
        "erf",
        vjp=vjp_of(_erf_vjp),
    )
)

register(
    pointwise(
        "sin", 1, "float", "The sine of x radians.", np.sin, "sin", vjp=vjp_of(lambda b, ct, x, y: b.mul(ct, b.cos(x)))
    )
)

register(
    pointwise(
        "cos",
        1,
        "float",
        "The cosine of x radians.",
        np.cos,
        "cos",
        vjp=vjp_of(lambda b, ct, x, y: b.neg(b.mul(ct, b.sin(x)))),
    )
)
