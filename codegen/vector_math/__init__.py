"""The mathematical functions of the kernel language, lane by lane.

f32 has vector code of its own: straight-line, without branches or calls, so a loop over it vectorises. `MAX_ULP` bounds
its error; infinities, NaN, signed zeros and overflow are those of C99, annex F; subnormals are kept. f64 calls libm,
once per element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from graphc.codegen.llvm_values import F32, Value, element, libm
from graphc.codegen.vector_math.error_function import erf
from graphc.codegen.vector_math.exponential import exp, expm1, tanh
from graphc.codegen.vector_math.lanes import Lanes
from graphc.codegen.vector_math.logarithm import log, log1p
from graphc.codegen.vector_math.power import pow
from graphc.codegen.vector_math.trigonometric import cos, sin

# Largest error of the f32 functions over all floats, in units in the last place of the exact result, with or without
# a fused multiply-add.
MAX_ULP: dict[str, float] = {
    "exp": 1.1,
    "expm1": 1.3,
    "log": 1.0,
    "log1p": 1.6,
    "tanh": 1.4,
    "erf": 1.3,
    "sin": 1.6,
    "cos": 1.6,
    "pow": 0.6,
}

_SINGLE: dict[str, Callable[..., Any]] = {
    "exp": exp,
    "expm1": expm1,
    "log": log,
    "log1p": log1p,
    "tanh": tanh,
    "erf": erf,
    "sin": sin,
    "cos": cos,
    "pow": pow,
}


def emit_math(b: ir.IRBuilder, name: str, *operands: Value) -> Value:
    """The function `name`, one of those above, of f32 or f64 values."""
    type_ = operands[0].type
    if element(type_) == F32:
        return _SINGLE[name](Lanes(b, type_), *operands)
    return libm(b, name, operands)
