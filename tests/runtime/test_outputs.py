"""Outputs of calls: fresh as far as anybody can tell, though large ones take memory that was given up."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.ir.types import TensorType, f32, i64
from graphc.runtime.memory import address_of
from graphc.runtime.outputs import KEPT, LARGE, Outputs
from graphc.runtime.program import ALIGNMENT, Port

BIG = TensorType(f32, (LARGE // 16, 5))
SMALL = TensorType(i64, (3,))


def outputs() -> Outputs:
    return Outputs([Port("small", SMALL), Port("big", BIG), Port("other", BIG)])


def test_types_and_alignment() -> None:
    small, big, other = outputs().take()
    assert (small.shape, small.dtype) == ((3,), np.int64)
    for array in (big, other):
        assert (array.shape, array.dtype) == (BIG.shape, np.float32)
        assert array.flags.carray
        assert address_of(array) % ALIGNMENT == 0


def test_memory_that_was_given_up_is_used_again() -> None:
    kept = outputs()
    first = [address_of(a) for a in kept.take()[1:]]
    assert [address_of(a) for a in kept.take()[1:]] == first


@pytest.mark.parametrize("hold", [lambda a: a, lambda a: a[2:4, 1], lambda a: a.reshape(-1)[7:], memoryview])
def test_what_somebody_refers_to_is_left_alone(hold: object) -> None:
    kept = outputs()
    array = kept.take()[1]
    array[...] = 1.0
    held = hold(array)  # type: ignore[operator]
    del array
    for _ in range(KEPT + 2):
        kept.take()[1][...] = 2.0
    assert (np.asarray(held) == 1.0).all()


def test_no_two_that_are_alive_share_memory() -> None:
    kept = outputs()
    alive = [array for _ in range(KEPT + 3) for array in kept.take()[1:]]
    for i, array in enumerate(alive):
        array[...] = i
    assert [float(a[0, 0]) for a in alive] == list(range(len(alive)))


def test_that_a_caller_froze_an_array_is_gone() -> None:
    kept = outputs()
    array = kept.take()[1]
    array.flags.writeable = False
    del array
    assert kept.take()[1].flags.writeable
