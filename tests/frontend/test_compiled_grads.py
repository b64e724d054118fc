"""`.grad` and compiled functions: kept where it is asked for or accumulated, elsewhere never in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from tests.frontend.steps import Net, batch, clear, mse, sgd, state_of


def eager_grads(net: Net, x: Any, y: Any) -> dict[str, Any]:
    clear(net.parameters())
    mse(net(x), y).backward()
    found = {name: p.grad.tolist() for name, p in net.named_parameters()}
    clear(net.parameters())
    return found


def assert_grads(net: Net, expected: dict[str, Any], factor: float = 1.0) -> None:
    for name, p in net.named_parameters():
        np.testing.assert_allclose(p.grad.numpy(), factor * np.array(expected[name]), rtol=1e-5, atol=1e-6)


def test_gradients_are_not_kept_and_reading_them_says_so() -> None:
    net = Net()

    @graphc.compile
    def step(x: Any, y: Any) -> Any:
        clear(net.parameters())
        loss = mse(net(x), y)
        loss.backward()
        sgd(net.parameters())
        return loss

    x, y = batch()
    step(x, y)
    assert len(step.lower(x, y).graph("traced").states) == 4
    with pytest.raises(graphc.StateError, match=r"'step' computed this gradient.*return it.*keep_grads=True"):
        _ = net.fc1.weight.grad
    with pytest.raises(graphc.StateError, match="'step' computed this gradient"):
        mse(net(x), y).backward()
    clear(net.parameters())
    mse(net(x), y).backward()
    assert net.fc1.weight.grad is not None
    step(x, y)
    with pytest.raises(graphc.StateError):
        _ = net.fc1.weight.grad
    assert step.versions == 1


def test_keep_grads() -> None:
    net = Net()

    @graphc.compile(keep_grads=True)
    def step(x: Any, y: Any) -> Any:
        clear(net.parameters())
        loss = mse(net(x), y)
        loss.backward()
        return loss

    x, y = batch()
    expected = eager_grads(net, x, y)
    for _ in range(2):
        step(x, y)
        assert_grads(net, expected)
    clear(net.parameters())
    step(x, y)
    assert_grads(net, expected)
    assert step.versions == 1


@pytest.mark.parametrize("keep", [False, True])
def test_gradients_are_accumulated_over_calls(keep: bool) -> None:
    net = Net()

    @graphc.compile(keep_grads=keep)
    def accumulate(x: Any, y: Any) -> Any:
        loss = mse(net(x), y)
        loss.backward()
        return loss

    x, y = batch()
    expected = eager_grads(net, x, y)
    for n in (1, 2, 3):
        accumulate(x, y)
        assert_grads(net, expected, n)
    mse(net(x), y).backward()
    assert_grads(net, expected, 4)
    clear(net.parameters())
    accumulate(x, y)
    assert_grads(net, expected, 1)
    net.fc1.weight.grad = graphc.tensor(expected["fc1.weight"]) * 4
    net.fc1.bias.grad.zero_()
    accumulate(x, y)
    np.testing.assert_allclose(net.fc1.weight.grad.numpy(), 5 * np.array(expected["fc1.weight"]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.fc1.bias.grad.numpy(), expected["fc1.bias"], rtol=1e-5, atol=1e-6)
    assert accumulate.versions == 1


def test_accumulation_in_one_function_and_the_update_in_another() -> None:
    results = []
    for compiled in (False, True):
        graphc.manual_seed(0)
        net = Net()

        def accumulate(x: Any, y: Any) -> Any:
            loss = mse(net(x), y)  # noqa: B023
            loss.backward()
            return loss

        def update() -> None:
            sgd(net.parameters())  # noqa: B023
            clear(net.parameters())  # noqa: B023

        if compiled:
            accumulate, update = graphc.compile(accumulate), graphc.compile(update)
        for i in range(4):
            accumulate(*batch(seed=i))
            if i % 2:
                update()
        assert all(p.grad is None for p in net.parameters())
        results.append(state_of(net))
    for name, value in results[0].items():
        np.testing.assert_allclose(value, results[1][name], rtol=1e-5, atol=1e-6)


def test_clearing_at_the_end_keeps_gradients_out_of_memory() -> None:
    net = Net()

    @graphc.compile
    def step(x: Any, y: Any) -> Any:
        loss = mse(net(x), y)
        loss.backward()
        sgd(net.parameters())
        clear(net.parameters())
        return loss

    x, y = batch()
    step(x, y)
    step(x, y)
    assert step.versions == 1
    assert len(step.lower(x, y).graph("traced").states) == 4
    assert all(p.grad is None for p in net.parameters())
    mse(net(x), y).backward()
    expected = Net()
    expected.load_state_dict(net.state_dict())
    for p, q in zip(net.parameters(), expected.parameters(), strict=True):
        q.grad = p.grad.clone()
    mse(expected(x), y).backward()
    sgd(expected.parameters())
    step(x, y)
    for name, value in state_of(expected).items():
        np.testing.assert_allclose(value, state_of(net)[name], rtol=1e-5, atol=1e-6)
    assert all(p.grad is None for p in net.parameters())
    step(x, y)


def test_an_update_from_eager_gradients() -> None:
    net = Net()
    update = graphc.compile(lambda: sgd(net.parameters()))
    x, y = batch()
    for i in range(3):
        clear(net.parameters())
        mse(net(x), y).backward()
        expected = {n: p.numpy(force=True) - 0.1 * p.grad.numpy() for n, p in net.named_parameters()}
        update()
        for name, p in net.named_parameters():
            np.testing.assert_allclose(p.numpy(force=True), expected[name], rtol=1e-5, atol=1e-6, err_msg=str(i))
    assert update.versions == 1


def test_gradients_that_were_not_there_are_no_surprise() -> None:
    """`p.grad is None` decides what is traced, so it is looked at again."""
    w = graphc.ones(2, requires_grad=True)

    @graphc.compile
    def update() -> Any:
        with graphc.no_grad():
            if w.grad is not None:
                w.sub_(w.grad)
        return w.sum().detach()

    assert update().item() == 2.0
    w.sum().backward()
    assert update().item() == 0.0
    w.grad = None
    assert update().item() == 0.0
    assert update.versions == 2


def test_gradients_returned() -> None:
    net = Net()

    @graphc.compile
    def gradients(x: Any, y: Any) -> Any:
        clear(net.parameters())
        mse(net(x), y).backward()
        return {name: p.grad for name, p in net.named_parameters()}

    x, y = batch()
    expected = eager_grads(net, x, y)
    for name, g in gradients(x, y).items():
        np.testing.assert_allclose(g.numpy(), expected[name], rtol=1e-5, atol=1e-6)


def test_gradients_of_arguments_are_accumulated_in_them() -> None:
    @graphc.compile
    def step(x: Any) -> Any:
        loss = (x * x).sum()
        loss.backward()
        return loss

    x = graphc.tensor([1.0, 2.0], requires_grad=True)
    step(x)
    assert x.grad.tolist() == [2.0, 4.0]
    step(x)
    assert x.grad.tolist() == [4.0, 8.0]


def test_no_grad_and_detach_and_frozen_parameters_in_a_trace() -> None:
    net = Net()
    net.fc1.bias.requires_grad_(False)

    def loss(x: Any, y: Any) -> Any:
        with graphc.no_grad():
            early = net.fc1(x)
            shown = net.fc2.weight * 2
        h = net.fc1(x) + early
        h = h * net.fc1(x).detach().mean()
        return mse(net.fc2(h), y) + (shown * net.fc2.weight).sum() + net.fc2.bias.data.sum()

    @graphc.compile(keep_grads=True)
    def step(x: Any, y: Any) -> Any:
        clear(net.parameters())
        found = loss(x, y)
        found.backward()
        return found

    x, y = batch()
    loss(x, y).backward()
    expected = {name: p.grad.tolist() for name, p in net.named_parameters() if p.grad is not None}
    assert "fc1.bias" not in expected
    step(x, y)
    assert {name for name, p in net.named_parameters() if p.grad is not None} == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(net.state_dict()[name].shape, np.shape(value))
        found = dict(net.named_parameters())[name].grad
        np.testing.assert_allclose(found.numpy(), value, rtol=1e-5, atol=1e-6)


def test_consumed_results_are_off_the_tape_and_others_are_on_it() -> None:
    w = graphc.ones(2, requires_grad=True)

    @graphc.compile
    def step(x: Any) -> Any:
        w.grad = None
        h = w * x
        loss = h.sum()
        loss.backward()
        return loss, h, (w * x).exp()

    loss, h, other = step(graphc.ones(2))
    assert (loss.requires_grad, h.requires_grad, other.requires_grad) == (False, False, True)
    w.grad = None
    other.sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), [np.e, np.e], rtol=1e-6)


def test_gradient_penalty_in_a_trace() -> None:
    net = Net()

    def loss(x: Any, y: Any) -> Any:
        x = x.detach().requires_grad_()
        (g,) = graphc.autograd.grad(net(x).sum(), x, create_graph=True)
        return (g * g).sum() + mse(net(x), y)

    @graphc.compile(keep_grads=True)
    def step(x: Any, y: Any) -> Any:
        clear(net.parameters())
        found = loss(x, y)
        found.backward()
        return found

    x, y = batch()
    found = loss(x, y)
    found.backward()
    expected = {name: p.grad.tolist() for name, p in net.named_parameters() if p.grad is not None}
    np.testing.assert_allclose(step(x, y).item(), found.item(), rtol=1e-5)
    for name, p in net.named_parameters():
        if name in expected:
            np.testing.assert_allclose(p.grad.numpy(), expected[name], rtol=1e-4, atol=1e-5)
