"""Operands at which scalar primitives go wrong, for each element type."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.ir.types import DType

Array = np.ndarray[Any, Any]

_FLOATS = [0.0, 0.5, 1.0, 1.5, 2.5, 3.0, 0.1, 7.25, 127.5, 255.9, 300.0, 32768.0, 2.0**31, 2.0**63, 1e30, math.inf]


def edges(dtype: DType) -> Array:
    """Values of a dtype, with their negatives."""
    if dtype.is_bool:
        return np.array([False, True])
    if dtype.is_float:
        tiny = [float(np.finfo(dtype.numpy).smallest_subnormal), float(np.finfo(dtype.numpy).max)]
        positive = [*_FLOATS, *tiny]
        return np.array([*positive, *(-v for v in positive), math.nan], dtype.numpy)
    limits = np.iinfo(dtype.numpy)
    values = {limits.min, limits.min + 1, limits.max, limits.max - 1, limits.max // 2 + 1}
    values |= {v for v in (-100, -13, -7, -2, -1, 0, 1, 2, 3, 7, 8, 13, 63, 64, 100) if v >= limits.min}
    return np.array(sorted(values), dtype.numpy)


def combinations(*dtypes: DType) -> tuple[Array, ...]:
    """Every combination of edge values: one array for each operand."""
    grids = np.meshgrid(*map(edges, dtypes), indexing="ij")
    return tuple(np.ascontiguousarray(g.ravel()) for g in grids)


def identical(got: Array, expected: Array) -> Array:
    """Equal or both NaN; zeros of either sign are equal."""
    if expected.dtype.kind != "f":
        return np.asarray(got == expected)
    return np.asarray((got == expected) | (np.isnan(got) & np.isnan(expected)))
