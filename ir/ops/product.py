"""The gradient of a product: for each element the product of all others, exact where some are zero, to every order."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from graphc.ir.graph import Value

if TYPE_CHECKING:
    from graphc.ir.builder import Builder


def exclusive_products(b: Builder, x: Value, axes: tuple[int, ...]) -> Value:
    """For each element, the product of all others along `axes`. No division: a tree of partial products is built
    upwards, then every node passes to each child what it got itself times the other child."""
    kept = [d for d in range(x.type.rank) if d not in axes]
    perm = (*kept, *axes)
    moved = b.transpose(x, perm=perm)
    rows, n = math.prod(x.type.shape[d] for d in kept), math.prod(x.type.shape[d] for d in axes)
    flat = _exclusive_in_rows(b, b.reshape(moved, shape=(rows, n)))
    return b.transpose(b.reshape(flat, shape=moved.type.shape), perm=tuple(perm.index(d) for d in range(len(perm))))


def _exclusive_in_rows(b: Builder, x: Value) -> Value:
    rows, n = x.type.shape
    if n < 2:
        return b.full_like(x, 1)
    width = 1 << (n - 1).bit_length()
    level = b.pad(x, low=(0, 0), high=(0, width - n), interior=(0, 0), value=1.0)
    levels = [level]
    while level.type.shape[1] > 2:
        level = b.mul(_every_second(b, level, 0), _every_second(b, level, 1))
        levels.append(level)
    others = _siblings(b, levels.pop())
    while levels:
        level = levels.pop()
        others = b.mul(_repeat_each(b, others), _siblings(b, level))
    return b.slice(others, start=(0, 0), stop=(rows, n), step=(1, 1))


def _every_second(b: Builder, x: Value, first: int) -> Value:
    rows, n = x.type.shape
    return b.slice(x, start=(0, first), stop=(rows, n), step=(1, 2))


def _siblings(b: Builder, x: Value) -> Value:
    """Each element replaced by the other one of its pair."""
    rows, n = x.type.shape
    pairs = b.flip(b.reshape(x, shape=(rows, n // 2, 2)), axes=(2,))
    return b.reshape(pairs, shape=(rows, n))


def _repeat_each(b: Builder, x: Value) -> Value:
    """Each element twice in a row."""
    rows, n = x.type.shape
    twice = b.broadcast(x, shape=(rows, n, 2), dims=(0, 1))
    return b.reshape(twice, shape=(rows, 2 * n))
