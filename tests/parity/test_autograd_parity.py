"""Eager backward passes give PyTorch's gradients, and refuse what PyTorch refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import graphc

pytestmark = pytest.mark.parity

VALUES = [[0.5, -1.5, 2.0], [1.25, 0.75, -0.5]]


def run(T: Any, program: Callable[[Any, Any], Any]) -> list[Any]:
    """The program's result, its gradient by x, and the same for errors: their fact."""
    x = T.tensor(VALUES, requires_grad=True)
    try:
        found = program(T, x)
    except RuntimeError:
        return ["error"]
    return [None if v is None else v.detach().tolist() for v in (found, x.grad)]


def accumulate(T: Any, x: Any) -> Any:
    (x * x).sum().backward()
    (3 * x).sum().backward()
    return x.grad


def reuse(T: Any, x: Any) -> Any:
    y = x * 2
    (y * y + y).sum().backward()
    return y


def with_cotangent(T: Any, x: Any) -> Any:
    y = x * x
    y.backward(T.tensor(VALUES))
    return y


def detached(T: Any, x: Any) -> Any:
    y = x.detach() * x
    y.sum().backward()
    return y


def no_grad_part(T: Any, x: Any) -> Any:
    with T.no_grad():
        factor = x.exp()
    y = factor * x
    y.sum().backward()
    return y


def enable_inside(T: Any, x: Any) -> Any:
    with T.no_grad(), T.enable_grad():
        y = x * x
    y.sum().backward()
    return y


def retained(T: Any, x: Any) -> Any:
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    return y


def twice(T: Any, x: Any) -> Any:
    y = (x * x).sum()
    y.backward()
    y.backward()
    return y


def in_place_on_intermediate(T: Any, x: Any) -> Any:
    y = x * 2
    y.mul_(3).add_(x)
    y.sum().backward()
    return y


def in_place_overwrites_needed(T: Any, x: Any) -> Any:
    y = x.exp()
    z = y * y
    y.add_(1)
    z.sum().backward()
    return z


def in_place_overwrites_unneeded(T: Any, x: Any) -> Any:
    y = x * 2
    z = y + 1
    y.add_(1)
    (z + y).sum().backward()
    return z


def in_place_on_leaf(T: Any, x: Any) -> Any:
    x.add_(1)
    return x


def in_place_on_leaf_view(T: Any, x: Any) -> Any:
    x[0].mul_(2)
    return x


def leaf_under_no_grad(T: Any, x: Any) -> Any:
    with T.no_grad():
        x.mul_(2)
    (x * x).sum().backward()
    return x


def stale_leaf(T: Any, x: Any) -> Any:
    y = (x * x).sum()
    with T.no_grad():
        x.mul_(2)
    y.backward()
    return y


def stale_leaf_unneeded(T: Any, x: Any) -> Any:
    y = (x * 3).sum()
    with T.no_grad():
        x.mul_(2)
    y.backward()
    return y


def filled_buffer(T: Any, x: Any) -> Any:
    out = T.zeros(2, 3)
    out[0] = x[1] * 2
    out[1, 1:] = x[0, :2].exp()
    (out * out).sum().backward()
    return out


def view_written_through_base(T: Any, x: Any) -> Any:
    y = x * 1
    v = y.view(-1)
    y.mul_(3)
    (v * v).sum().backward()
    return v


def base_written_through_view(T: Any, x: Any) -> Any:
    y = x * 1
    v = y.t()
    v[1].mul_(5)
    (y * y).sum().backward()
    return y


def copied_in(T: Any, x: Any) -> Any:
    y = T.zeros(2, 3)
    y.copy_(x)
    (y * y).sum().backward()
    return y


def second_order(T: Any, x: Any) -> Any:
    (g,) = T.autograd.grad((x**3).sum(), x, create_graph=True)
    (g * g).sum().backward()
    return g


def third_order(T: Any, x: Any) -> Any:
    g = (x**4).sum()
    for _ in range(3):
        (g,) = T.autograd.grad(g.sum(), x, create_graph=True)
    return g


def penalty(T: Any, x: Any) -> Any:
    y = T.softmax(x @ x.t(), 1)
    (g,) = T.autograd.grad(y[0, 0], x, create_graph=True)
    (g.norm() + y.sum()).backward()
    return g


def by_intermediate(T: Any, x: Any) -> Any:
    y = x * 2
    (g,) = T.autograd.grad((y * y).sum(), y)
    return g


def unused(T: Any, x: Any) -> Any:
    z = T.ones(2, requires_grad=True)
    return T.autograd.grad(x.sum(), z, allow_unused=True)[0]


def unused_refused(T: Any, x: Any) -> Any:
    z = T.ones(2, requires_grad=True)
    return T.autograd.grad(x.sum(), z)[0]


def clone_flows(T: Any, x: Any) -> Any:
    y = x.clone()
    y.mul_(2)
    y.sum().backward()
    return y


def constant_result(T: Any, x: Any) -> Any:
    y = T.ones(2).sum()
    y.backward()
    return y


def through_floor_and_argmax(T: Any, x: Any) -> Any:
    y = x.floor() * x + x.argmax(1, keepdim=True) * x
    y.sum().backward()
    return y


def mode_switch(T: Any, x: Any) -> Any:
    with T.set_grad_enabled(False):
        y = x * 2
    assert not y.requires_grad
    return (x * 2).requires_grad and x


def in_place_under_no_grad_on_intermediate(T: Any, x: Any) -> Any:
    y = x.exp()
    with T.no_grad():
        y.mul_(2)
    y.sum().backward()
    return y


def reused_after_write_under_no_grad(T: Any, x: Any) -> Any:
    y = x * 2
    with T.no_grad():
        y.mul_(2)
    (y * y).sum().backward()
    return y


PROGRAMS = [v for v in list(globals().values()) if callable(v) and getattr(v, "__module__", "") == __name__]
PROGRAMS = [p for p in PROGRAMS if p is not run]


@pytest.mark.parametrize("program", PROGRAMS, ids=[p.__name__ for p in PROGRAMS])
def test_like_pytorch(program: Callable[[Any, Any], Any]) -> None:
    ours, theirs = run(graphc, program), run(torch, program)
    assert [type(v) for v in ours] == [type(v) for v in theirs]
    for a, b in zip(ours, theirs, strict=True):
        if isinstance(b, list):
            np.testing.assert_allclose(np.array(a, np.float64), np.array(b, np.float64), rtol=1e-4, atol=1e-5)


def test_the_programs_refused() -> None:
    refused = {p.__name__ for p in PROGRAMS if run(torch, p) == ["error"]}
    assert refused == {
        "twice",
        "in_place_overwrites_needed",
        "in_place_on_leaf",
        "in_place_on_leaf_view",
        "stale_leaf",
        "unused_refused",
        "constant_result",
        "in_place_under_no_grad_on_intermediate",
    }
