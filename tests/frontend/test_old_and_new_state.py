"""A compiled step writes states where they lie, and still whatever reads an old value sees the old value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from tests.frontend.steps import same, state_of

SIZE = 40  # wide enough for several tiles and vectors


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("a", graphc.randn(SIZE, SIZE))
        self.register_buffer("b", graphc.randn(SIZE, SIZE))


def swap(a: Any, b: Any) -> None:
    old = a.clone()
    a.copy_(b)
    b.copy_(old)


def rotate_through_products(a: Any, b: Any) -> None:
    """Each new value needs the other's old one, in another order of elements."""
    new_a, new_b = a + b.t() * 0.5, b + a.t() * 0.5
    a.copy_(new_a)
    b.copy_(new_b)


def normalise_by_each_other(a: Any, b: Any) -> None:
    new_a, new_b = a / (1.0 + b.abs().sum()), b / (1.0 + a.abs().sum())
    a.copy_(new_a)
    b.copy_(new_b)


def shift(a: Any, b: Any) -> None:
    a[1:] = a[:-1].clone()
    b[:, :-1] = b[:, 1:] + a[:, :-1]


CASES: list[Callable[[Any, Any], Any]] = [
    swap,
    rotate_through_products,
    normalise_by_each_other,
    shift,
    lambda a, b: a.copy_(a.t()),
    lambda a, b: a.copy_(a.flip(0) + b),
    lambda a, b: a.copy_(a @ a * 0.1),
    lambda a, b: a.copy_(a @ b * 0.1 + a),
    lambda a, b: a.add_(a.mean(0) * 0.5).add_(b.mean(1, keepdim=True)),
    lambda a, b: a.copy_(graphc.softmax(a, 0) + graphc.softmax(a, 1)),
    lambda a, b: a.copy_(a[graphc.arange(SIZE - 1, -1, -1)]),
    lambda a, b: (a.mul_(2), b.copy_(b * 0.9 + a * 0.1)),
    lambda a, b: (b.copy_(b * 0.9 + a * 0.1), a.mul_(2)),
    lambda a, b: a.view(-1)[: SIZE * SIZE // 2].copy_(a.view(-1)[SIZE * SIZE // 2 :]),
]
NAMES = [
    "swap",
    "each other's transposed",
    "each other's sum",
    "shifted",
    "transposed",
    "flipped",
    "squared",
    "times another",
    "its mean",
    "softmax both ways",
    "gathered",
    "average after",
    "average before",
    "halves",
]


@pytest.mark.parametrize("update", CASES, ids=NAMES)
def test_updates_that_read_old_values(update: Callable[[Any, Any], Any]) -> None:
    def make() -> Any:
        pair = Pair()

        def step(x: Any, y: Any) -> Any:
            before = pair.a.sum() + (pair.b * pair.b).sum(1).mean()
            update(pair.a, pair.b)
            return before, pair.a.sum(1), pair.b.mean()

        return step, [pair]

    same(make)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_step_that_faults_changes_nothing(momentum: float) -> None:
    graphc.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, SIZE), nn.ReLU(), nn.Linear(SIZE, 3))
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=momentum)

    @graphc.compile
    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    x = graphc.randn(8, 6)
    good = graphc.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    step(x, good)
    moments = [np.array(m) for state in optimizer.state.values() for m in state.values()]
    before = state_of(net)
    for bad in (3, -1):
        labels = good.clone()
        labels[5] = bad
        with pytest.raises(graphc.OutOfRangeError, match=r"test_old_and_new_state\.py:\d+"):
            step(x, labels)
        assert state_of(net) == before
    found = [np.array(m) for state in optimizer.state.values() for m in state.values()]
    for old, new in zip(moments, found, strict=True):
        np.testing.assert_array_equal(old, new)
    step(x, good)
    assert state_of(net) != before
    assert step.versions == 1


def test_a_fault_behind_an_unrelated_update_changes_nothing() -> None:
    counter, table = graphc.zeros(SIZE), graphc.ones(4, 3)

    @graphc.compile
    def step(rows: Any) -> Any:
        counter.add_(1)
        return graphc.index_select(table, 0, rows).sum()

    assert step(graphc.tensor([0, 3])).item() == 6.0
    with pytest.raises(graphc.OutOfRangeError):
        step(graphc.tensor([0, 4]))
    assert counter.tolist() == [1.0] * SIZE
