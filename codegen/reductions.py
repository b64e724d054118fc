"""The combining steps of reductions, written so that a loop over them becomes vector code."""

from __future__ import annotations

from typing import TypeAlias

from llvmlite import ir

from graphc.codegen.llvm_values import Value
from graphc.codegen.primitives import EMIT, Emit
from graphc.ir.types import DType

Builder: TypeAlias = ir.IRBuilder

# Sums and products may be taken in any order; nothing else about the arithmetic is loosened.
_REASSOCIATE = ("reassoc", "contract")


def _add(b: Builder, dtype: DType, acc: Value, x: Value) -> Value:
    return b.fadd(acc, x, flags=_REASSOCIATE) if dtype.is_float else b.add(acc, x)


def _mul(b: Builder, dtype: DType, acc: Value, x: Value) -> Value:
    return b.fmul(acc, x, flags=_REASSOCIATE) if dtype.is_float else b.mul(acc, x)


ACCUMULATE: dict[str, Emit] = {
    "accumulate_add": _add,
    "accumulate_mul": _mul,
    # `llvm.maximum` propagates NaN and is recognised as a reduction: three instructions per vector on x86
    "accumulate_min": EMIT["minimum"],
    "accumulate_max": EMIT["maximum"],
}
