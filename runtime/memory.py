"""Aligned memory for states, arenas and outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ir.types import TensorType

ALIGNMENT = 64  # bytes: one cache line, and the widest vector register


def aligned_bytes(size: int) -> np.ndarray[Any, Any]:
    """An uninitialised u8 array of `size` bytes whose first byte lies on a multiple of `ALIGNMENT`."""
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -address_of(raw) % ALIGNMENT
    return raw[start : start + size]


def aligned_empty(type: TensorType) -> np.ndarray[Any, Any]:
    """An uninitialised C-contiguous array of `type`, aligned to `ALIGNMENT`."""
    return aligned_bytes(type.nbytes).view(type.dtype.numpy).reshape(type.shape)


def address_of(array: np.ndarray[Any, Any]) -> int:
    """The address of the first element."""
    address: int = array.__array_interface__["data"][0]
    return address
