"""Python numbers and indices that do not fit, and what the errors say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc.errors import AttributeValueError, DTypeError, OutOfRangeError

WRAPS: list[Callable[[Any], Any]] = [lambda f: f, graphc.compile]


@pytest.mark.parametrize("wrap", WRAPS, ids=["eager", "compiled"])
def test_integers_of_more_than_64_bits(wrap: Callable[[Any], Any]) -> None:
    with pytest.raises(
        AttributeValueError, match=r"\.py:\d+: an integer of 71 bits does not fit into 64 bits, nor .*i64"
    ):
        wrap(lambda x: x + 2**70)(graphc.arange(3))
    with pytest.raises(AttributeValueError, match=r"an integer of 1329 bits is too large for f32"):
        wrap(lambda x: x * 10**400)(graphc.ones(3))


@pytest.mark.parametrize("wrap", WRAPS, ids=["eager", "compiled"])
def test_integers_that_fit(wrap: Callable[[Any], Any]) -> None:
    assert wrap(lambda x: x + 2**70)(graphc.zeros(1)).item() == 2.0**70
    assert wrap(lambda x: x - 2**63)(graphc.zeros(1, dtype=graphc.int64)).item() == -(2**63)
    assert wrap(lambda x: x - 5)(graphc.ones(1, dtype=graphc.uint8)).item() == 252


def test_indices_out_of_range_are_named_as_given() -> None:
    x, i = graphc.zeros(3, 4), graphc.tensor([0, -4])
    with pytest.raises(OutOfRangeError, match=r"index: -4 is out of range; it must lie in -3 <= x < 3"):
        x[i]
    with pytest.raises(OutOfRangeError, match=r"index: -5 is out of range; it must lie in -4 <= x < 4"):
        x[graphc.tensor([0, 1]), graphc.tensor([-5, 0])]
    with pytest.raises(OutOfRangeError, match=r"one_hot: the class 3 is out of range; it must lie in 0 <= x < 3"):
        F.one_hot(graphc.tensor([0, 3]), 3)
    for f in (lambda x, i: x[i], lambda x, i: F.one_hot(i, 3)):
        with pytest.raises(OutOfRangeError, match=r"test_numbers_that_do_not_fit\.py:\d+: .*out of range"):
            graphc.compile(f)(x, i)


@pytest.mark.parametrize("dtype", [np.complex64, np.uint32, np.dtype("<U1"), object, np.dtype(">f4")])
def test_arrays_of_unsupported_types_are_refused_at_the_users_line(dtype: Any) -> None:
    array = np.zeros(3, dtype)
    message = r"test_numbers_that_do_not_fit\.py:\d+: dtype .* is not supported; use one of float16"
    for f in (graphc.compile(lambda x: x), graphc.from_numpy, lambda x: graphc.ones(3) + x):
        with pytest.raises(DTypeError, match=message):
            f(array)


def test_arrays_of_unsupported_types_are_refused_after_others() -> None:
    f = graphc.compile(lambda x: x * 2)
    assert f(np.ones(2, np.float32)).tolist() == [2, 2]
    with pytest.raises(DTypeError, match="dtype complex64 is not supported"):
        f(np.ones(2, np.complex64))
