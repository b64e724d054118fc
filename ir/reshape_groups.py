"""How two shapes of one size line up: what a reshape does to axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """Neighbouring axes of the source shape that a reshape turns into neighbouring axes of the result's."""

    source: tuple[int, ...]
    result: tuple[int, ...]


def reshape_groups(source: Sequence[int], result: Sequence[int]) -> list[Group] | None:
    """The finest split of a reshape into groups of axes of equal product, in order. Axes of size 1 are in no group.
    None for shapes with no elements, where axes do not line up."""
    if 0 in source or 0 in result:
        return None
    left = [(i, n) for i, n in enumerate(source) if n != 1]
    right = [(i, n) for i, n in enumerate(result) if n != 1]
    groups: list[Group] = []
    i = j = 0
    while i < len(left):
        from_axes, to_axes = [left[i][0]], [right[j][0]]
        a, b = left[i][1], right[j][1]
        i, j = i + 1, j + 1
        while a != b:
            if a < b:
                from_axes.append(left[i][0])
                a *= left[i][1]
                i += 1
            else:
                to_axes.append(right[j][0])
                b *= right[j][1]
                j += 1
        groups.append(Group(tuple(from_axes), tuple(to_axes)))
    return groups
