"""Shapes and sequences without some of their entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape without its axes of size 1."""
    return tuple(n for n in shape if n != 1)


def without(values: Sequence[T], positions: Sequence[int]) -> tuple[T, ...]:
    """`values` but for those at `positions`."""
    return tuple(v for i, v in enumerate(values) if i not in positions)
