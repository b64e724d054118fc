"""A call of a cached version costs little Python, however many parameters there are."""

from __future__ import annotations

import sys
from typing import Any

import graphc
from graphc import nn, optim
from tests.frontend.steps import batch


def calls_made(function: Any, *args: Any) -> int:
    """Python and C functions called during one call."""
    count = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        function(*args)
    finally:
        sys.setprofile(None)
    return count


def step_of(layers: int) -> Any:
    net = nn.Sequential(*(nn.Linear(3, 3) for _ in range(layers)))
    criterion, optimizer = nn.CrossEntropyLoss(), optim.Adam(net.parameters())

    @graphc.compile
    def train_step(images: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = criterion(net(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    return train_step


def test_a_cached_call_does_not_look_at_parameters() -> None:
    x, y = batch()[0], graphc.zeros(5, dtype=graphc.int64)
    counts = []
    for layers in (1, 6):
        step = step_of(layers)
        step(x, y)
        step(x, y)
        counts.append(calls_made(step, x, y))
        assert step.versions == 1
    assert counts[0] == counts[1]
    assert counts[0] < 150


def test_a_learning_rate_schedule_does_not_recompile() -> None:
    net = nn.Linear(3, 2)
    optimizer = optim.SGD(net.parameters(), lr=0.5)

    @graphc.compile
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = ((net(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    x, y = batch()
    for rate in (0.5, 0.25, 0.0):
        optimizer.param_groups[0]["lr"] = rate
        before = net.weight.tolist()
        step(x, y)
        assert (net.weight.tolist() == before) == (rate == 0.0)
    assert step.versions == 1
