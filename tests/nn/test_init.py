"""Initialisation: seeds, bounds, element types, and what is refused. The distributions are compared with PyTorch's in
tests/parity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import AttributeValueError

RANDOM = [
    "uniform_",
    "normal_",
    "trunc_normal_",
    "xavier_uniform_",
    "xavier_normal_",
    "kaiming_uniform_",
    "kaiming_normal_",
    "orthogonal_",
]


@pytest.mark.parametrize("name", RANDOM)
def test_seeds(name: str) -> None:
    fill: Callable[..., Any] = getattr(nn.init, name)

    def draw() -> Any:
        return fill(graphc.empty(4, 5)).tolist()

    graphc.manual_seed(7)
    first, second = draw(), draw()
    assert first != second
    graphc.manual_seed(7)
    assert [draw(), draw()] == [first, second]
    own = [fill(graphc.empty(4, 5), generator=graphc.Generator(3)).tolist() for _ in range(2)]
    assert own[0] == own[1] != first


@pytest.mark.parametrize("name", [*RANDOM, "zeros_", "ones_", "eye_"])
@pytest.mark.parametrize("dtype", [graphc.float64, graphc.float16, graphc.bfloat16], ids=str)
def test_parameters_are_filled_in_place(name: str, dtype: Any) -> None:
    p = nn.Parameter(graphc.full((4, 4), 77.0, dtype=dtype))
    memory = p.detach().numpy()
    assert getattr(nn.init, name)(p) is p
    assert np.shares_memory(p.detach().numpy(), memory)
    assert p.requires_grad
    assert p.is_leaf
    assert p.dtype == dtype
    assert np.abs(p.detach().double().numpy()).max() < 10


def test_bounds() -> None:
    x = nn.init.uniform_(graphc.empty(10_000), -0.25, 0.5).numpy()
    assert -0.25 <= x.min() < -0.249
    assert 0.499 < x.max() <= 0.5
    for low, high in ((-0.5, 0.7), (2.0, 2.5), (-40.0, -39.0)):
        x = nn.init.trunc_normal_(graphc.empty(3000), a=low, b=high).numpy()
        assert low <= x.min() < x.max() <= high
        assert np.isfinite(x).all()


def test_layers_repeat_under_a_seed() -> None:
    def weights() -> Any:
        graphc.manual_seed(11)
        return [p.tolist() for p in nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)).parameters()]

    first = weights()
    assert first == weights()
    assert first[2:4] == [[1.0] * 4, [0.0] * 4]
    layer = nn.Linear(3, 4)
    before = layer.weight.tolist()
    layer.reset_parameters()
    assert layer.weight.tolist() != before


def test_layers_without_elements() -> None:
    assert nn.Linear(0, 3)(graphc.zeros(2, 0)).shape == (2, 3)
    assert nn.Linear(3, 0)(graphc.zeros(2, 3)).shape == (2, 0)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: nn.init.xavier_uniform_(graphc.empty(3)),
            r"xavier_uniform_: fans need two dimensions or more, got f32\[3\]",
        ),
        (lambda: nn.init.kaiming_normal_(graphc.empty(3)), "kaiming_normal_: fans need two dimensions or more"),
        (
            lambda: nn.init.kaiming_uniform_(graphc.empty(3, 3), mode="in"),
            "kaiming_uniform_: mode must be 'fan_in' or 'fan_out', got 'in'",
        ),
        (lambda: nn.init.calculate_gain("swish"), "calculate_gain: unknown nonlinearity 'swish'; known are linear, "),
        (lambda: nn.init.eye_(graphc.empty(3)), r"eye_: the tensor must have two dimensions, got f32\[3\]"),
        (lambda: nn.init.orthogonal_(graphc.empty(3)), r"orthogonal_: the tensor needs two dimensions or more"),
        (
            lambda: nn.init.trunc_normal_(graphc.empty(3), a=1.0, b=1.0),
            "trunc_normal_: needs a < b and std > 0, got a=1",
        ),
    ],
)
def test_errors(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(AttributeValueError, match=r"test_init.py:\d+: " + text):
        call()
