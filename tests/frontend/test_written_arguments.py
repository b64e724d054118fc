"""Arguments that a compiled function writes in place, and what they must not be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import TracingError

OUTSIDE = graphc.zeros(4)


@graphc.compile
def written(x: Any, y: Any) -> Any:
    x.add_(1)
    return y * 2


@graphc.compile
def read_outside(x: Any) -> Any:
    x.add_(1)
    return OUTSIDE * 2


def test_an_argument_is_written_in_place() -> None:
    x = graphc.zeros(4)
    assert written(x, graphc.ones(4)).tolist() == [2, 2, 2, 2]
    assert x.tolist() == [1, 1, 1, 1]


def test_interleaved_views_are_apart() -> None:
    x = graphc.zeros(6)
    assert written(x[::2], x[1::2]).tolist() == [0, 0, 0]
    assert x.tolist() == [1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("second", [slice(0, 3), slice(1, 4)])
def test_written_arguments_that_overlap_others_are_refused(second: slice) -> None:
    x = graphc.zeros(4)
    with pytest.raises(TracingError, match=r"'written' writes in place to 'x', which shares memory with .*clone\(\)"):
        written(x[:3], x[second])
    assert x.tolist() == [0, 0, 0, 0]


def test_written_arguments_that_are_state_are_refused() -> None:
    with pytest.raises(TracingError, match="'read_outside' writes in place to 'x', which shares memory"):
        read_outside(OUTSIDE)
    assert OUTSIDE.tolist() == [0, 0, 0, 0]


def test_read_only_arrays_are_refused_before_anything_runs() -> None:
    array = np.zeros(4, np.float32)
    array.setflags(write=False)
    with pytest.raises(TracingError, match="writes in place to 'x', whose memory is read-only"):
        written(array, graphc.ones(4))


def test_leaked_tensors_are_no_arguments() -> None:
    leaked = []

    @graphc.compile
    def f(x: Any) -> Any:
        leaked.append(x * 2)
        return x

    f(graphc.ones(3))
    for _ in range(2):
        with pytest.raises(TracingError, match=r"was made at .* while 'f' was traced, and has no value outside"):
            f(leaked[0])
