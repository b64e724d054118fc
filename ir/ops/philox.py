"""Philox4x32-10, the counter-based generator behind the random ops, on whole arrays of counters.

J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.ir.opdef import Array

_ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)  # the golden ratio and sqrt(3) - 1
_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)


def philox4x32(counter: Sequence[Array], key: tuple[int, int]) -> tuple[Array, Array, Array, Array]:
    """The four output words for four counter words (u64 arrays of values below 2^32) and two key words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0 = c0 * _MULTIPLIERS[0]
        p1 = c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (p1 >> _WORD) ^ c1 ^ np.uint64(k0),
            p1 & _LOW,
            (p0 >> _WORD) ^ c3 ^ np.uint64(k1),
            p0 & _LOW,
        )
        k0 = (k0 + _KEY_STEPS[0]) & 0xFFFFFFFF
        k1 = (k1 + _KEY_STEPS[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def philox(key: int, counters: Array) -> tuple[Array, Array]:
    """Words 0 and 1 (u64 arrays of values below 2^32) for a 64-bit key and i64 counters, whose words 2 and 3 are 0."""
    wide = counters.view(np.uint64)
    zero = np.zeros_like(wide)
    words = philox4x32((wide & _LOW, wide >> _WORD, zero, zero), (key & 0xFFFFFFFF, (key >> 32) & 0xFFFFFFFF))
    return words[0], words[1]
