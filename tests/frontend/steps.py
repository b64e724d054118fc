"""Training programs for tests: the same code eagerly and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc
from graphc import nn


class Net(nn.Module):
    """x [n, 3] -> [n, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(3, 4)
        self.fc2 = nn.Linear(4, 2)

    def forward(self, x: graphc.Tensor) -> graphc.Tensor:
        return self.fc2(graphc.tanh(self.fc1(x)))


def batch(n: int = 5, seed: int = 0) -> tuple[graphc.Tensor, graphc.Tensor]:
    """Inputs [n, 3] and targets [n, 2]."""
    rng = np.random.default_rng(seed)
    return tuple(graphc.tensor(rng.normal(size=(n, m)).astype(np.float32)) for m in (3, 2))  # type: ignore[return-value]


def sgd(parameters: Any, lr: float = 0.1) -> None:
    """One step of gradient descent, without an optimizer object."""
    with graphc.no_grad():
        for p in parameters:
            if p.grad is not None:
                p.sub_(p.grad * lr)


def clear(parameters: Any) -> None:
    """Forget gradients."""
    for p in parameters:
        p.grad = None


def state_of(*modules: nn.Module) -> dict[str, Any]:
    """All parameters and buffers, as lists."""
    return {f"{i}.{k}": v.tolist() for i, m in enumerate(modules) for k, v in m.state_dict().items()}


def same(make: Callable[[], tuple[Callable[..., Any], list[nn.Module]]], calls: int = 3, **options: Any) -> Any:
    """Run a program eagerly and compiled, from the same seed; assert equal results and equal final state. `make`
    returns the step and the modules it trains. Returns the compiled function."""
    found = []
    for compiled in (False, True):
        graphc.manual_seed(7)
        step, modules = make()
        function = graphc.compile(step, **options) if compiled else step
        outputs = []
        for i in range(calls):
            outputs.append(flat(function(*batch(seed=i))))
        found.append((outputs, state_of(*modules)))
    (eager, eager_state), (traced, traced_state) = found
    for a, b in zip(eager, traced, strict=True):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    assert eager_state.keys() == traced_state.keys()
    for name, value in eager_state.items():
        np.testing.assert_allclose(value, traced_state[name], rtol=1e-5, atol=1e-6, err_msg=name)
    return function


def flat(value: Any) -> list[Any]:
    """The tensors and numbers of a result, as nested lists."""
    if isinstance(value, graphc.Tensor):
        return [value.tolist()]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [x for v in value for x in flat(v)]
    return [] if value is None else [value]


def mse(a: graphc.Tensor, b: graphc.Tensor) -> graphc.Tensor:
    """The mean of squared differences."""
    return ((a - b) ** 2).mean()
