"""The distance of f32 results from exact ones."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_LARGEST = float(np.finfo(np.float32).max)


def ulps(got: Array, exact: Array) -> Array:
    """|got - exact| in units in the last place (2^-149 for subnormals) of the f64 `exact`; infinite where just one is
    NaN or where an infinity or its sign is missed. A result past the largest f32 must be infinite."""
    with np.errstate(all="ignore"):
        magnitude = np.abs(exact)
        exponent = np.floor(np.log2(np.where((magnitude > 0) & np.isfinite(exact), magnitude, 1.0)))
        unit = np.exp2(np.clip(exponent, -126, 127) - 23)
        error = np.abs(got.astype(np.float64) - exact) / unit
        overflow = (magnitude > _LARGEST) & np.isinf(got) & (np.signbit(got) == np.signbit(exact))
        same = (np.isnan(got) & np.isnan(exact)) | (got.astype(np.float64) == exact) | overflow
        return np.where(same, 0.0, np.where(np.isnan(error), np.inf, error))
