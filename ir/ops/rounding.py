"""How `eval` rounds: bf16 and f16 are computed in f32 and rounded once per op; IEEE results raise no warning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from graphc.ir.attributes import Attributes
from graphc.ir.opdef import Array, Eval
from graphc.ir.types import DType

_HALVES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


def widen(array: Array) -> Array:
    """bf16 and f16 as f32; any other array as it is."""
    return array.astype(np.float32) if array.dtype in _HALVES else array


def narrow(result: Any, dtype: np.dtype[Any]) -> Array:
    """A computed value as an array of `dtype`; halves are rounded from f32, whatever it was computed in."""
    array = np.asarray(result)
    if array.dtype == dtype:
        return array
    if dtype in _HALVES:
        array = array.astype(np.float32)
    return array.astype(dtype)


def elementwise(function: Callable[..., Any]) -> Eval:
    """The `eval` of a pointwise op: `function` on widened operands, rounded to the type of the first one, unless it
    yields bools."""

    def evaluate(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
        with np.errstate(all="ignore"):
            result = np.asarray(function(*map(widen, arrays)))
            return [result if result.dtype == np.bool_ else narrow(result, arrays[0].dtype)]

    return evaluate


def splat(value: float | int | bool, dtype: DType, shape: Sequence[int]) -> Array:
    """`value` at every place of an array."""
    with np.errstate(all="ignore"):
        carried = np.asarray(value, dtype=dtype.accumulator.numpy)
        return np.full(tuple(shape), carried.astype(dtype.numpy), dtype=dtype.numpy)
