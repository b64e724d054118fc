"""Which memory views, copies and `.data` show, eagerly and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)

LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "whole": lambda x: x,
    "transposed": lambda x: x.transpose(0, 1),
    "twice transposed": lambda x: x.transpose(0, 1).transpose(0, 1),
    "columns": lambda x: x[..., 1:],
    "rows": lambda x: x[1:],
    "every second": lambda x: x[:, ::2],
    "new dimension": lambda x: x[:, None],
    "expanded": lambda x: x[:1].expand(3, 3, 4),
    "expanded by nothing": lambda x: x.expand(2, 3, 4),
    "permuted then cut": lambda x: x.permute(2, 0, 1)[:2],
    "reshaped": lambda x: x.view(4, 6),
    "split": lambda x: x.chunk(2, dim=-1)[1],
    "copied": lambda x: x.transpose(0, 2).clone(),
    "computed from a transpose": lambda x: -x.transpose(0, 2),
    "computed from two": lambda x: x.transpose(0, 2) + x.transpose(0, 2),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_contiguity_is_the_same_in_a_trace(layout: Callable[[Any], Any]) -> None:
    found: list[bool] = []

    def f(x: Any) -> Any:
        y = layout(x * 1)
        found.append(y.is_contiguous())
        return y.contiguous().view(-1)

    eager, compiled = f(graphc.tensor(X)), graphc.compile(f)(graphc.tensor(X))
    assert found[0] == found[1]
    np.testing.assert_array_equal(eager.numpy(), compiled.numpy())


def test_heads_are_joined_by_contiguous_and_view() -> None:
    def f(x: Any) -> Any:
        heads = x.view(2, 3, 2, 2).transpose(1, 2)
        return (heads * 2).transpose(1, 2).contiguous().view(2, 3, 4)

    np.testing.assert_array_equal(graphc.compile(f)(graphc.tensor(X)).numpy(), 2 * X)


def test_a_write_through_a_reshape_of_a_result_reaches_it() -> None:
    def f(x: Any) -> Any:
        y = x.transpose(0, 2).exp()
        y.reshape(-1).fill_(1.0)
        return y

    eager, compiled = f(graphc.tensor(X)), graphc.compile(f)(graphc.tensor(X))
    np.testing.assert_array_equal(eager.numpy(), np.ones((4, 3, 2), np.float32))
    np.testing.assert_array_equal(compiled.numpy(), eager.numpy())


def by_subtraction(p: Any) -> None:
    p.data -= 0.1 * p.grad


def by_replacement(p: Any) -> None:
    p.data = p.data - 0.1 * p.grad


def by_method(p: Any) -> None:
    p.data.sub_(0.1 * p.grad)


@pytest.mark.parametrize("update", [by_subtraction, by_replacement, by_method])
def test_data_of_parameters_is_written_in_a_step(update: Callable[[Any], None]) -> None:
    rng = np.random.default_rng(0)
    xs = [graphc.tensor(rng.normal(size=(5, 3)).astype(np.float32)) for _ in range(3)]
    results = []
    for wrap in (lambda f: f, graphc.compile):
        graphc.manual_seed(0)
        net = nn.Linear(3, 2)

        def step(x: Any, net: nn.Module = net) -> Any:
            net.zero_grad()
            loss = net(x).square().mean()
            loss.backward()
            for p in net.parameters():
                update(p)
            return loss

        run = wrap(step)
        results.append([*(run(x).item() for x in xs), *(p.detach().numpy().tolist() for p in net.parameters())])
    for eager, compiled in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, eager, rtol=1e-5, atol=1e-6)
