"""`requires_grad_()` inside a compiled function: gradients are those of the eager run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc
from graphc import Tensor


def used_before(x: Tensor) -> Tensor:
    doubled = x * 2
    x.requires_grad_()
    (doubled * x).sum().backward()
    return x.grad


def detached_first(x: Tensor) -> Tensor:
    x.requires_grad_()
    (x.detach() * x).sum().backward()
    return x.grad


def detached_last(x: Tensor) -> Tensor:
    x.requires_grad_()
    (x * x.detach()).sum().backward()
    return x.grad


def detached_before(x: Tensor) -> Tensor:
    detached = x.detach()
    x.requires_grad_()
    (x * x * detached).sum().backward()
    return x.grad


def viewed_before(x: Tensor) -> Tensor:
    head = x[:2]
    x.requires_grad_()
    (x[:2] * head * x[2:]).sum().backward()
    return x.grad


def computed(x: Tensor) -> Tensor:
    w = x + 1
    before = w.exp()
    w.requires_grad_()
    (w * before * w.detach()).sum().backward()
    return w.grad


def after_a_write(x: Tensor) -> Tensor:
    w = x.clone()
    w.mul_(3)
    w.requires_grad_()
    (w * w.detach() * x).sum().backward()
    return w.grad


@pytest.mark.parametrize(
    "function",
    [used_before, detached_first, detached_last, detached_before, viewed_before, computed, after_a_write],
    ids=lambda f: f.__name__,
)
def test_gradients_are_those_of_eager(function: Callable[[Tensor], Tensor]) -> None:
    x = np.arange(1, 5, dtype=np.float32)
    expected = function(graphc.tensor(x)).numpy()
    np.testing.assert_allclose(graphc.compile(function)(graphc.tensor(x)).numpy(), expected, rtol=1e-6)
