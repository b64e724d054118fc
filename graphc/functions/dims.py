"""Dimensions as users write them: negative ones count from the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphc.errors import AttributeValueError, OutOfRangeError, fail

Dims = int | Sequence[int] | None


def dim_of(name: str, dim: int, rank: int) -> int:
    """A dimension as 0 <= dim < rank; a tensor without dimensions accepts 0 and -1. Raises OutOfRangeError."""
    limit = max(rank, 1)
    if not -limit <= dim < limit:
        fail(OutOfRangeError, f"{name}: dimension {dim} does not exist in a tensor of {rank} dimensions")
    return dim % limit


def dims_of(name: str, dims: Dims, rank: int) -> tuple[int, ...]:
    """Sorted, distinct dimensions; None and () stand for all. Raises OutOfRangeError, and AttributeValueError where
    one appears twice."""
    if dims is None:
        return tuple(range(rank))
    given = [dims] if isinstance(dims, int) else list(dims)
    if not given:
        return tuple(range(rank))
    found = [dim_of(name, d, rank) for d in given]
    if len(set(found)) != len(found):
        fail(AttributeValueError, f"{name}: a dimension appears twice in {tuple(given)}")
    return tuple(sorted(found)) if rank else ()


def sizes_of(name: str, sizes: Sequence[object]) -> tuple[int, ...]:
    """Sizes given one by one or as one sequence. Raises TypeError for anything that is not an integer."""
    flat: Iterable[object] = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], Sequence) else sizes
    found = tuple(flat)
    for n in found:
        if not hasattr(n, "__index__") or isinstance(n, bool):
            raise TypeError(f"{name}: sizes must be integers, got {n!r}")
    return tuple(n.__index__() for n in found)  # type: ignore[attr-defined]
