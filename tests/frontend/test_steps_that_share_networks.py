"""Two steps that share networks: each clears the gradients of its own, and leaves some in the other's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc import nn, optim
from graphc.errors import StateError

Pair = tuple[Callable[[Any, Any], Any], Callable[[Any], Any], list[graphc.Tensor]]


def pair(wrap: Callable[[Any], Any]) -> Pair:
    """A discriminator's step, a generator's step, and the parameters of both."""
    graphc.manual_seed(0)
    generator, critic = nn.Linear(4, 3), nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
    of_generator = optim.Adam(generator.parameters(), lr=0.01)
    of_critic = optim.SGD(critic.parameters(), lr=0.1, momentum=0.9)

    @wrap
    def critic_step(x: Any, z: Any) -> Any:
        of_critic.zero_grad()
        real, fake = critic(x), critic(generator(z).detach())
        loss = F.softplus(-real).mean() + F.softplus(fake).mean()
        loss.backward()
        of_critic.step()
        return loss

    @wrap
    def generator_step(z: Any) -> Any:
        of_generator.zero_grad()
        loss = F.softplus(-critic(generator(z))).mean()
        loss.backward()
        of_generator.step()
        return loss

    return critic_step, generator_step, [*generator.parameters(), *critic.parameters()]


def noise(seed: int, *shape: int) -> graphc.Tensor:
    return graphc.tensor(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def trained(wrap: Callable[[Any], Any], order: str) -> list[Any]:
    critic_step, generator_step, parameters = pair(wrap)
    losses = [
        (critic_step(noise(i, 6, 3), noise(i + 9, 6, 4)) if which == "c" else generator_step(noise(i, 6, 4))).item()
        for i, which in enumerate(order)
    ]
    return [losses, *(p.detach().numpy() for p in parameters)]


@pytest.mark.parametrize("order", ["cgcgcg", "gcgcgc", "ccgccgg", "ggcc"])
def test_steps_that_share_networks_train_as_eagerly(order: str) -> None:
    for eager, compiled in zip(trained(lambda f: f, order), trained(graphc.compile, order), strict=True):
        np.testing.assert_allclose(compiled, eager, rtol=1e-5, atol=1e-6)


def test_steps_that_share_networks_compile_once_when_the_order_is_settled() -> None:
    critic_step, generator_step, _ = pair(graphc.compile)
    for i in range(4):
        critic_step(noise(i, 6, 3), noise(i, 6, 4))
        generator_step(noise(i, 6, 4))
    assert (critic_step.versions, generator_step.versions) == (1, 1)  # type: ignore[attr-defined]


def step_of(net: nn.Module, optimizer: optim.Optimizer) -> Callable[[Any], Any]:
    @graphc.compile
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


def test_what_is_added_to_a_gradient_that_was_not_kept_cannot_be_read() -> None:
    net = nn.Linear(3, 2)
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    step_of(net, optimizer)(noise(0, 4, 3))
    before = net.weight.tolist()

    @graphc.compile
    def backward(x: Any) -> Any:
        loss = net(x).mean()
        loss.backward()
        return loss

    @graphc.compile
    def backward_and_step(x: Any) -> Any:
        loss = net(x).mean()
        loss.backward()
        optimizer.step()
        return loss

    @graphc.compile
    def by_argument(w: Any) -> Any:
        w.sum().backward()
        with graphc.no_grad():
            optimizer.param_groups[0]["params"][1].add_(1)

    backward(noise(1, 4, 3))
    reads = (
        lambda: net.weight.grad,
        optimizer.step,
        net(noise(1, 4, 3)).mean().backward,
        lambda: backward_and_step(noise(1, 4, 3)),
        lambda: by_argument(net.weight),
    )
    bias = net.bias.tolist()
    for read in reads:
        with pytest.raises(StateError, match="'step' computed this gradient and did not keep it"):
            read()
    with pytest.raises(StateError, match="'step' computed this gradient and did not keep it"):
        graphc.compile(backward.__wrapped__, keep_grads=True)(noise(1, 4, 3))  # type: ignore[attr-defined]
    assert (net.weight.tolist(), net.bias.tolist()) == (before, bias)

    optimizer.zero_grad()
    backward(noise(1, 4, 3))
    kept = net.weight.grad
    assert kept is not None
    optimizer.zero_grad()
    net(noise(1, 4, 3)).mean().backward()
    assert net.weight.grad is not None
    np.testing.assert_allclose(kept.numpy(), net.weight.grad.numpy(), rtol=1e-5)


def test_the_loss_of_a_step_can_be_cleared_by_setting_to_zero() -> None:
    net = nn.Linear(3, 2)
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    step_of(net, optimizer)(noise(0, 4, 3))
    optimizer.zero_grad(set_to_none=False)
    net(noise(1, 4, 3)).mean().backward()
    assert net.weight.grad is not None
