"""Clipping of gradients, eagerly and in a compiled step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.errors import AutogradError, TracingError

ROWS = [[3.0, 4.0], [0.0, 12.0]]


def with_grads(*grads: list[float] | None) -> list[nn.Parameter]:
    made = []
    for grad in grads:
        p = nn.Parameter(graphc.zeros(2))
        p.grad = None if grad is None else graphc.tensor(grad)
        made.append(p)
    return made


@pytest.mark.parametrize(
    ("norm_type", "total"), [(2.0, 13.0), (1.0, 19.0), (float("inf"), 12.0), (3.0, (27 + 64 + 1728) ** (1 / 3))]
)
@pytest.mark.parametrize("max_norm", [1.0, 100.0])
def test_norm(norm_type: float, total: float, max_norm: float) -> None:
    parameters = with_grads(ROWS[0], None, ROWS[1])
    found = nn.utils.clip_grad_norm_(parameters, max_norm, norm_type)
    assert found.item() == pytest.approx(total, rel=1e-5)
    scale = min(1.0, max_norm / (total + 1e-6))
    np.testing.assert_allclose(parameters[0].grad.numpy(), scale * np.array(ROWS[0]), rtol=1e-5)  # type: ignore[union-attr]
    np.testing.assert_allclose(parameters[2].grad.numpy(), scale * np.array(ROWS[1]), rtol=1e-5)  # type: ignore[union-attr]
    assert parameters[1].grad is None


def test_one_tensor_and_none() -> None:
    (p,) = with_grads([3.0, 4.0])
    assert nn.utils.clip_grad_norm_(p, 1.0).item() == pytest.approx(5.0)
    assert nn.utils.clip_grad_norm_(with_grads(None), 1.0).item() == 0.0


def test_value() -> None:
    parameters = with_grads([3.0, -4.0], None)
    nn.utils.clip_grad_value_(parameters, 3.5)
    assert parameters[0].grad.tolist() == [3.0, -3.5]  # type: ignore[union-attr]


def test_a_norm_that_is_not_finite() -> None:
    parameters = with_grads([float("inf"), 1.0])
    with pytest.raises(AutogradError, match="the norm of the gradients is inf"):
        nn.utils.clip_grad_norm_(parameters, 1.0, error_if_nonfinite=True)
    assert parameters[0].grad.tolist() == [float("inf"), 1.0]  # type: ignore[union-attr]


@pytest.mark.parametrize("by_value", [False, True])
def test_clipping_in_a_compiled_step(by_value: bool) -> None:
    results: list[list[Any]] = []
    for wrap in (lambda f: f, graphc.compile):
        graphc.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

        def step(x: Any, net: nn.Module = net, optimizer: optim.Optimizer = optimizer) -> Any:
            optimizer.zero_grad()
            loss = net(x).exp().sum()
            loss.backward()
            if by_value:
                nn.utils.clip_grad_value_(net.parameters(), 0.5)
                norm = loss
            else:
                norm = nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            return loss, norm

        run = wrap(step)
        rng = np.random.default_rng(0)
        outs = [run(graphc.tensor(rng.normal(size=(5, 3)).astype(np.float32))) for _ in range(3)]
        results.append([*(x.item() for out in outs for x in out), *(p.detach().numpy() for p in net.parameters())])
    for eager, compiled in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, eager, rtol=1e-5, atol=1e-6)


def test_the_check_for_finite_norms_does_not_trace() -> None:
    p = nn.Parameter(graphc.ones(2))

    @graphc.compile
    def step() -> None:
        p.sum().backward()
        nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)

    with pytest.raises(TracingError, match="error_if_nonfinite branches on the norm"):
        step()
