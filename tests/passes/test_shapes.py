"""How shapes line up."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from graphc.ir.reshape_groups import Group, reshape_groups
from graphc.passes.shapes import without, without_ones


def test_groups_are_the_finest() -> None:
    assert reshape_groups((2, 3, 4), (6, 4)) == [Group((0, 1), (0,)), Group((2,), (1,))]
    assert reshape_groups((6, 4), (2, 3, 2, 2)) == [Group((0,), (0, 1)), Group((1,), (2, 3))]
    assert reshape_groups((4, 3), (2, 6)) == [Group((0, 1), (0, 1))]
    assert reshape_groups((1, 5, 1), (5, 1, 1)) == [Group((1,), (0,))]
    assert reshape_groups((), (1, 1)) == []
    assert reshape_groups((0, 3), (3, 0)) is None


@given(st.lists(st.integers(1, 6), max_size=4), st.data())
def test_groups_hold_the_same_elements(factors: list[int], data: st.DataObject) -> None:
    """Any two ways of multiplying neighbours of one list of factors."""
    source, result = (joined(factors, data) for _ in range(2))
    groups = reshape_groups(source, result)
    assert groups is not None
    for axes, shape in (
        ([a for g in groups for a in g.source], source),
        ([a for g in groups for a in g.result], result),
    ):
        assert axes == [a for a, n in enumerate(shape) if n != 1]
    for group in groups:
        sizes = [math.prod(shape[a] for a in axes) for axes, shape in ((group.source, source), (group.result, result))]
        assert sizes[0] == sizes[1] > 1


def joined(factors: list[int], data: st.DataObject) -> tuple[int, ...]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(factors)), max_size=3)))
    return tuple(int(np.prod(part, dtype=int)) for part in np.split(np.array(factors, int), cuts))


def test_without() -> None:
    assert without_ones((1, 2, 1, 3)) == (2, 3)
    assert without((5, 6, 7), [0, 2]) == (6,)
