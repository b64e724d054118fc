"""Example operands for the records: drawn from a domain, the same at every call, over shapes and element types.

Tests run every op on its samples: types, scalar expressions, gradients (on those that are finite), compiled kernels.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.ir.opdef import Array
from graphc.ir.ops.checks import FAMILIES, integer_range
from graphc.ir.types import DType, f32, i32

Sample = tuple[list[Array], dict[str, Any]]
Samples = Callable[[], list[Sample]]
Draw = Callable[["np.random.Generator", DType, tuple[int, ...]], Array]

SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (3, 5), (67,), (2, 0, 3))
_FEW_SHAPES: tuple[tuple[int, ...], ...] = ((), (19,))
_SPECIAL_FLOATS = (float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 100.0, -100.0)


def between(low: float, high: float) -> Draw:
    """Floats of low <= x < high, or integers from low to high (from 0, where unsigned); any bool."""

    def draw(random: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> Array:
        if dtype.is_float:
            return np.asarray(random.uniform(low, high, shape)).astype(np.float32).astype(dtype.numpy)
        first = max(int(np.ceil(low)), 0 if dtype.kind != "int" else int(np.ceil(low)))
        last = 1 if dtype.is_bool else int(np.floor(high))
        return np.asarray(random.integers(first, last, shape, endpoint=True)).astype(dtype.numpy)

    return draw


def nonzero(low: float, high: float) -> Draw:
    """As `between`, for positive bounds, with random signs where the type has one."""

    def draw(random: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> Array:
        size = between(low, high)(random, dtype, shape)
        negate = random.integers(0, 2, shape).astype(bool)
        return size if dtype.kind == "uint" else np.where(negate, -size, size)

    return draw


NUMBERS = between(-3, 3)
"""The domain of an op that takes any number."""


def example(dtype: DType, shape: Sequence[int], seed: int = 0, draw: Draw = NUMBERS) -> Array:
    """One operand."""
    return draw(np.random.default_rng([seed, *shape]), dtype, tuple(shape))


def every(*columns: Array) -> Array:
    """Allows every combination of special values."""
    return np.ones(len(columns[0]), np.bool_)


def _principal(family: str) -> DType:
    """The type of a family that gets the most samples: f32, or i32, or the only one."""
    types = FAMILIES[family]
    return next((d for d in (f32, i32) if d in types), types[0])


def pointwise_samples(family: str, domains: Sequence[Draw], allowed: Callable[..., Any]) -> Samples:
    """For a pointwise op on operands of one type: each domain over shapes and types; then every combination of special
    values (NaN, infinities, signed zeros, the ends of an integer range) that `allowed(*columns)` does not mask out."""

    def samples() -> list[Sample]:
        found: list[Sample] = []
        for dtype in FAMILIES[family]:
            for shape in SHAPES if dtype == _principal(family) else _FEW_SHAPES:
                found.append(([example(dtype, shape, i, draw) for i, draw in enumerate(domains)], {}))
            columns = [np.array(c) for c in zip(*itertools.product(special(dtype), repeat=len(domains)), strict=True)]
            with np.errstate(invalid="ignore"):
                kept = allowed(*columns)
            found.append(([column[kept] for column in columns], {}))
        return found

    return samples


def special(dtype: DType) -> Array:
    """The values of a type that are most often got wrong."""
    if dtype.is_float:
        return np.array(_SPECIAL_FLOATS, dtype.numpy)
    if dtype.is_bool:
        return np.array([False, True])
    low, high = integer_range(dtype)
    return np.array(sorted({low, low + 1, max(low, -1), 0, 1, 2, high - 1, high}), dtype.numpy)


def over_types(family: str, make: Callable[[DType], list[Sample]]) -> Samples:
    """All samples of `make` for the principal type of the family, and its first one for every other type."""

    def samples() -> list[Sample]:
        found: list[Sample] = []
        for dtype in FAMILIES[family]:
            made = make(dtype)
            found.extend(made if dtype == _principal(family) else made[:1])
        return found

    return samples
