"""graphc.grad and graphc.value_and_grad, eagerly and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc

X = graphc.tensor([0.5, -1.0, 2.0])


def cube(x: Any) -> Any:
    return (x**3).sum()


def affine(p: Any, x: Any) -> Any:
    return (graphc.tanh(p["w"] * x + p["b"][0]) * p["b"][1]).sum()


W = graphc.tensor([2.0, 3.0, 4.0], requires_grad=True)


PROGRAMS: dict[str, Callable[[], Any]] = {
    "grad": lambda: graphc.grad(cube)(X),
    "value": lambda: graphc.value_and_grad(cube)(X),
    "second": lambda: graphc.grad(lambda x: graphc.grad(cube)(x).sum())(X),
    "third": lambda: graphc.grad(lambda x: graphc.grad(lambda y: graphc.grad(cube)(y).sum())(x).sum())(X),
    "argnums": lambda: graphc.grad(lambda x, y: (x * y * y).sum(), argnums=(0, 1))(X, X + 1),
    "argnum": lambda: graphc.grad(lambda x, y: (x * y * y).sum(), argnums=1)(X, X + 1),
    "tree": lambda: graphc.grad(affine)({"w": X, "b": (X * 2, graphc.ones(3))}, X),
    "aux": lambda: graphc.value_and_grad(lambda x: (cube(x), {"sin": x.sin()}), has_aux=True)(X),
    "grad-aux": lambda: graphc.grad(lambda x: (cube(x), x * 2), has_aux=True)(X),
    "unused": lambda: graphc.grad(lambda x, y: cube(x), argnums=(0, 1))(X, X),
    "constant": lambda: graphc.grad(lambda x: graphc.ones(1).sum())(X),
    "number": lambda: graphc.grad(lambda s: (s * X).sum())(2.0),
    "closure": lambda: graphc.grad(lambda x: (x * X * X).sum())(X),
    "same-argument": lambda: graphc.grad(lambda x: (x * X).sum() + cube(x))(X * 1),
    "detach": lambda: graphc.grad(lambda x: (x * x.detach()).sum())(X),
    "mixed": lambda: graphc.grad(lambda x: (graphc.grad(lambda y: (y * y * x).sum())(x) * x).sum())(X),
    "under no_grad": lambda: graphc.no_grad()(lambda: graphc.grad(cube)(X))(),
    "hessian-vector": lambda: graphc.grad(lambda x: (graphc.grad(cube)(x) * X).sum())(X + 1),
    "in place": lambda: graphc.grad(lambda x: (x.clone().mul_(2) * x).sum())(X),
}
EXPECTED: dict[str, Any] = {
    "grad": 3 * X.numpy() ** 2,
    "second": 6 * X.numpy(),
    "third": [6.0] * 3,
    "constant": [0.0] * 3,
    "closure": X.numpy() ** 2,
    "mixed": 6 * X.numpy() ** 2,
    "detach": X.numpy(),
    "in place": 4 * X.numpy(),
}


def flat(value: Any) -> list[Any]:
    if isinstance(value, graphc.Tensor):
        assert not value.requires_grad
        return [value.numpy()]
    if isinstance(value, dict):
        value = list(value.values())
    return [x for v in value for x in flat(v)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_eager_and_compiled(name: str) -> None:
    eager, compiled = flat(PROGRAMS[name]()), flat(graphc.compile(PROGRAMS[name])())
    assert len(eager) == len(compiled) > 0
    for a, b in zip(eager, compiled, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    if name in EXPECTED:
        np.testing.assert_allclose(eager[0], EXPECTED[name], rtol=1e-5, atol=1e-6)


def test_structures() -> None:
    value, (a, b) = graphc.value_and_grad(lambda p, x: affine(p, x), argnums=(0, 1))(
        {"w": X, "b": [X, graphc.ones(3)]}, X
    )
    assert value.shape == ()
    assert list(a) == ["w", "b"]
    assert isinstance(a["b"], list)
    assert b.shape == (3,)
    (value, aux), g = graphc.value_and_grad(lambda x: (cube(x), "text"), has_aux=True)(X)
    assert aux == "text"
    assert g.dtype == X.dtype


def test_results_are_on_the_tape_of_what_the_function_closes_over() -> None:
    g = graphc.grad(lambda x: (x * x * W).sum())(X)
    assert g.requires_grad
    g.sum().backward()
    np.testing.assert_allclose(W.grad.numpy(), 2 * X.numpy(), rtol=1e-6)
    W.grad = None
    with graphc.no_grad():
        assert not graphc.grad(lambda x: (x * x * W).sum())(X).requires_grad


def test_arguments_on_the_tape() -> None:
    x = X.clone().requires_grad_()
    graphc.grad(cube)(x * 2).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 24 * X.numpy(), rtol=1e-5)


def test_arguments_are_left_alone() -> None:
    x = X.clone()
    graphc.grad(lambda x: cube(x.mul_(2)) if False else cube(x * 2))(x)
    assert x.grad is None
    assert not x.requires_grad


@pytest.mark.parametrize("compiled", [False, True])
def test_errors(compiled: bool) -> None:
    def check(function: Callable[..., Any], kind: type[Exception], message: str, *args: Any) -> None:
        with pytest.raises(kind, match=message):
            (graphc.compile(function) if compiled else function)(*args)

    check(graphc.grad(lambda x: x * x), graphc.ShapeError, r"must return one element, got a tensor of shape \(3,\)", X)
    check(graphc.grad(cube), graphc.DTypeError, r"argument of type i64\[3\]", X.long())
    check(graphc.grad(lambda x: x.sum().long()), graphc.DTypeError, "must return a float", X)
    check(graphc.grad(cube, argnums=2), TypeError, "no argument 2", X)
    check(graphc.grad(lambda x: 1.0), TypeError, "must return a tensor", X)
