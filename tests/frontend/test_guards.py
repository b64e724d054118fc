"""Everything that a compiled function reads by name is looked at again: nothing is frozen silently."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from tests.frontend import settings_module

X = graphc.ones(2)


class Config:
    scale = 2.0


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x: Any) -> Any:
        return self.fc(x) * Config.scale + FORWARD_BIAS


FORWARD_BIAS = 0.0


def test_class_attributes(monkeypatch: Any) -> None:
    step = graphc.compile(lambda x: x * Config.scale)
    assert step(X).tolist() == [2.0, 2.0]
    monkeypatch.setattr(Config, "scale", 3.0)
    assert step(X).tolist() == [3.0, 3.0]


def test_attributes_of_python_modules(monkeypatch: Any) -> None:
    step = graphc.compile(lambda x: x * settings_module.SCALE * np.pi)
    np.testing.assert_allclose(step(X).numpy(), [2 * np.pi] * 2, rtol=1e-6)
    monkeypatch.setattr(settings_module, "SCALE", 1.0)
    np.testing.assert_allclose(step(X).numpy(), [np.pi] * 2, rtol=1e-6)


def test_what_forward_reads(monkeypatch: Any) -> None:
    net = Model()
    step = graphc.compile(lambda x: net(x))
    for name, value in ((None, None), ("scale", 5.0), ("bias", 1.0)):
        if name == "scale":
            monkeypatch.setattr(Config, "scale", value)
        elif name == "bias":
            monkeypatch.setitem(globals(), "FORWARD_BIAS", value)
        np.testing.assert_allclose(step(X).detach().numpy(), net(X).detach().numpy(), rtol=1e-6)
    assert step.versions == 3


def test_a_model_that_is_an_argument() -> None:
    step = graphc.compile(lambda net, x: net(x))
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    for net in (first, second, first):
        np.testing.assert_allclose(step(net, X).detach().numpy(), net(X).detach().numpy(), rtol=1e-6)
    assert step.versions == 2
    assert step.lower(first, X).graph("traced").states[0].name == "weight"
    first.weight = nn.Parameter(graphc.zeros(2, 2))
    np.testing.assert_allclose(step(first, X).detach().numpy(), first.bias.detach().numpy(), rtol=1e-6)


def test_objects_with_methods() -> None:
    class Trainer:
        def __init__(self) -> None:
            self.factor = 2.0
            self.options = {"power": 2}

        def helper(self, x: Any) -> Any:
            return x * self.factor

        def __call__(self, x: Any) -> Any:
            return self.helper(x) ** self.options["power"]

    trainer = Trainer()
    for step in (graphc.compile(trainer), graphc.compile(trainer.__call__), graphc.compile(lambda x: trainer(x))):
        trainer.factor, trainer.options["power"] = 2.0, 2
        assert step(X).tolist() == [4.0, 4.0]
        trainer.factor = 3.0
        assert step(X).tolist() == [9.0, 9.0]
        trainer.options["power"] = 3
        assert step(X).tolist() == [27.0, 27.0]


def scaled(x: Any, by: Any) -> Any:
    return x * by * SCALE


SCALE = 2.0


def test_partial_functions_and_compiled_helpers(monkeypatch: Any) -> None:
    helper = graphc.compile(scaled)
    steps = [graphc.compile(partial(scaled, by=3.0)), graphc.compile(lambda x: helper(x, 3.0))]
    for step in steps:
        assert step(X).tolist() == [6.0, 6.0]
    monkeypatch.setitem(globals(), "SCALE", 1.0)
    for step in steps:
        assert step(X).tolist() == [3.0, 3.0]


def test_inner_functions() -> None:
    factor = 2.0

    @graphc.compile
    def step(x: Any) -> Any:
        def inner(y: Any) -> Any:
            return (y * factor).sum()

        return graphc.grad(inner)(x) + sum(x * factor for _ in range(2))

    assert step(X).tolist() == [6.0, 6.0]
    factor = 1.0
    assert step(X).tolist() == [3.0, 3.0]


def test_rebinding_a_model() -> None:
    net = nn.Linear(2, 2)
    step = graphc.compile(lambda x: net(x))
    step(X)
    net = nn.Linear(2, 2)
    np.testing.assert_allclose(step(X).detach().numpy(), net(X).detach().numpy(), rtol=1e-6)


def test_nan_does_not_recompile() -> None:
    limit = float("nan")
    step = graphc.compile(lambda x: graphc.where(x > limit, x, 0.0))
    step(X)
    step(X)
    assert step.versions == 1


def test_requires_grad_inside_a_function() -> None:
    w = graphc.ones(2, requires_grad=True)

    @graphc.compile
    def toggled(x: Any) -> Any:
        w.requires_grad_(False)
        part = (w * x).sum()
        w.requires_grad_(True)
        return part + (w * w).sum()

    for _ in range(2):
        w.grad = None
        toggled(X).backward()
        assert w.grad.tolist() == [2.0, 2.0]
    assert toggled.versions == 1

    @graphc.compile
    def left(x: Any) -> Any:
        w.requires_grad_(False)
        return w * x

    with pytest.raises(graphc.TracingError, match="requires_grad of 'w' is changed"):
        left(X)
    assert w.requires_grad


def test_tensors_computed_outside() -> None:
    w = graphc.ones(2, requires_grad=True)
    hidden = w * 3

    inner = graphc.compile(lambda x: (hidden * hidden * x).sum())
    inner(X).backward()
    assert w.grad.tolist() == [18.0, 18.0]

    @graphc.compile
    def step(x: Any) -> Any:
        (hidden * x).sum().backward()

    with pytest.raises(graphc.DifferentiationError, match="'hidden', which was computed outside"):
        step(X)

    @graphc.compile
    def of_argument(x: Any) -> Any:
        (x * x).sum().backward()

    with pytest.raises(graphc.AutogradError, match="reaches an argument that was computed"):
        of_argument(w * 2)


def test_states_in_overlapping_arrays() -> None:
    array = np.zeros(4, np.float32)
    a, b = graphc.from_numpy(array[:3]), graphc.from_numpy(array[1:])
    step = graphc.compile(lambda x: (a + b + x).sum())
    with pytest.raises(graphc.StateError, match="overlapping arrays"):
        step(graphc.ones(3))


WEIGHTS = [1.0, 2.0]


def test_numbers_in_containers() -> None:
    options = {"a": 1.0, "b": 2.0}
    step = graphc.compile(lambda x: sum(x * w for w in WEIGHTS) + sum(options.values()))
    assert step(X).tolist() == [6.0, 6.0]
    options["c"] = 1.0
    assert step(X).tolist() == [7.0, 7.0]
    WEIGHTS.append(1.0)
    try:
        assert step(X).tolist() == [8.0, 8.0]
    finally:
        WEIGHTS.pop()
    assert step.versions == 3


def test_functions_wrapped_by_graphc() -> None:
    factor = 2.0

    @graphc.compile
    @graphc.no_grad()
    def under(x: Any) -> Any:
        return x * factor

    slope = graphc.compile(graphc.grad(lambda x: (x * x * factor).sum()))
    assert under(X).tolist() == [2.0, 2.0]
    assert slope(X).tolist() == [4.0, 4.0]
    factor = 3.0
    assert under(X).tolist() == [3.0, 3.0]
    assert slope(X).tolist() == [6.0, 6.0]
