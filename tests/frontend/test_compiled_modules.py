"""Compiled modules: classes and instances, and eager backward passes through compiled calls."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from tests.frontend.steps import Net, batch, clear, mse, sgd, state_of


def test_an_instance_under_an_eager_loop_trains_as_the_eager_one() -> None:
    losses: list[list[float]] = []
    states = []
    for compiled in (False, True):
        graphc.manual_seed(0)
        net: Any = Net()
        if compiled:
            net = graphc.compile(net)
        found = []
        for i in range(3):
            x, y = batch(seed=i)
            clear(net.parameters())
            loss = mse(net(x), y)
            loss.backward()
            sgd(net.parameters())
            found.append(loss.item())
        losses.append(found)
        states.append(state_of(net))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    for name, value in states[0].items():
        np.testing.assert_allclose(value, states[1][name], rtol=1e-5, atol=1e-6)


def test_a_compiled_instance_is_the_same_module() -> None:
    net = Net()
    compiled = graphc.compile(net)
    assert isinstance(compiled, Net)
    assert list(compiled.state_dict()) == list(net.state_dict())
    assert compiled.fc1 is net.fc1
    compiled.eval()
    assert not net.training
    net.fc1.weight.data = graphc.zeros(4, 3)
    x, _ = batch()
    np.testing.assert_allclose(compiled(x).detach().numpy(), net(x).detach().numpy(), rtol=1e-6)
    assert "Net(" in repr(compiled)
    assert "contract" in compiled.lower(x).text("traced")


def test_a_class() -> None:
    @graphc.compile
    class Model(nn.Module):
        def __init__(self, width: int):
            super().__init__()
            self.fc = nn.Linear(3, width)

        def forward(self, x: Any) -> Any:
            return graphc.relu(self.fc(x))

    class Derived(Model):
        def forward(self, x: Any) -> Any:
            return super().forward(x) * 2

    first, second, third = Model(2), Model(4), Derived(2)
    x, _ = batch()
    for net in (first, second, third):
        expected = graphc.relu(net.fc(x)) * (2 if net is third else 1)
        found = net(x)
        assert found.grad_fn is not None
        assert found.grad_fn.name == "Model"
        np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-6)
    assert "relu" in first.lower(x).text("traced")


def test_compiled_modules_are_traced_inside_a_step() -> None:
    net = graphc.compile(Net())

    @graphc.compile
    def step(x: Any, y: Any) -> Any:
        clear(net.parameters())
        loss = mse(net(x), y)
        loss.backward()
        sgd(net.parameters())
        return loss

    x, y = batch()
    assert step(x, y).item() > step(x, y).item()
    assert step.lower(x, y).graph("traced").states[0].name == "fc1.weight"


def test_gradients_of_arguments_and_through_eager_code() -> None:
    inner = graphc.compile(lambda a, b: (graphc.tanh(a) * b, (a + b).exp()))
    a0, b0 = (graphc.tensor(np.linspace(-1, 1, 4, dtype=np.float32) + k) for k in (0, 0.5))
    results = []
    for function in (inner, inner.function):
        a, b = a0.clone().requires_grad_(), b0.clone().requires_grad_()
        h = a * 2
        p, q = function(h, b)
        r, _ = function(p, q.detach())
        loss = (r * q).sum() + p.sum()
        loss.backward()
        results.append((loss.item(), a.grad.numpy(), b.grad.numpy()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5)
    np.testing.assert_allclose(results[0][2], results[1][2], rtol=1e-5)


def test_only_what_is_used_gets_a_gradient() -> None:
    w = graphc.ones(2, requires_grad=True)
    other = graphc.ones(2, requires_grad=True)
    function = graphc.compile(lambda x: ((w * x).sum(), (other * x).sum(), w.detach() * x, x.argmax()))
    first, _, detached, index = function(graphc.tensor([1.0, 2.0]))
    assert not detached.requires_grad
    assert index.item() == 1
    first.backward()
    assert w.grad.tolist() == [1.0, 2.0]
    assert other.grad is None or other.grad.tolist() == [0.0, 0.0]


def test_the_graph_is_used_up_and_kept() -> None:
    w = graphc.ones(2, requires_grad=True)
    function = graphc.compile(lambda x: (w * w * x).sum())
    loss = function(graphc.ones(2))
    loss.backward(retain_graph=True)
    loss.backward()
    assert w.grad.tolist() == [4.0, 4.0]
    with pytest.raises(graphc.AutogradError, match="second time"):
        loss.backward()


def test_weights_changed_between_call_and_backward() -> None:
    w = graphc.ones(2, requires_grad=True)
    function = graphc.compile(lambda x: (w * w * x).sum())
    loss = function(graphc.ones(2))
    with graphc.no_grad():
        w.mul_(2)
    with pytest.raises(graphc.AutogradError, match="written in place since the call"):
        loss.backward()


def test_a_state_that_the_call_itself_updates() -> None:
    """The backward program needs the value from before the update."""
    w = graphc.ones(2, requires_grad=True)
    scale = graphc.ones(2) * 3

    @graphc.compile
    def function(x: Any) -> Any:
        found = (w * scale * x).sum()
        scale.mul_(2)
        return found

    first, second = function(graphc.ones(2)), function(graphc.ones(2))
    (first + second).backward()
    assert w.grad.tolist() == [9.0, 9.0]
    assert scale.tolist() == [12.0, 12.0]


def test_gradients_of_gradients_through_a_compiled_call_are_refused() -> None:
    w = graphc.ones(2, requires_grad=True)
    function = graphc.compile(lambda x: (w * w * x).sum(), name="inner")
    with pytest.raises(graphc.AutogradError, match="compiled function 'inner'"):
        graphc.autograd.grad(function(graphc.ones(2)), w, create_graph=True)


def test_dropout_in_an_eager_loop_uses_one_mask_in_both_passes() -> None:
    drop = graphc.compile(nn.Dropout(0.5))
    x = graphc.ones(100, requires_grad=True)
    y = drop(x)
    y.sum().backward()
    assert x.grad.tolist() == y.detach().tolist()
    assert set(y.detach().tolist()) == {0.0, 2.0}


def test_detached_paths_stay_cut() -> None:
    w = graphc.ones(2, requires_grad=True)
    results = []
    for function in (lambda x: (w.detach() * w * x).sum(), graphc.compile(lambda x: (w.detach() * w * x).sum())):
        w.grad = None
        function(graphc.ones(2)).backward()
        results.append(w.grad.tolist())
    assert results == [[1.0, 1.0], [1.0, 1.0]]


def test_no_grad_around_a_compiled_call() -> None:
    net = graphc.compile(Net())
    x, _ = batch()
    with graphc.no_grad():
        assert not net(x).requires_grad
    assert net(x).requires_grad


def test_compiled_instances_are_copied_and_collected() -> None:
    @graphc.compile
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x: Any) -> Any:
            return self.fc(x)

    x, _ = batch()
    for made in (Model(), graphc.compile(Net())):
        made(x)
        copied = copy.deepcopy(made)
        with graphc.no_grad():
            for p in copied.parameters():
                p.zero_()
        assert copied(x).abs().sum().item() == 0.0
        assert made(x).abs().sum().item() > 0.0
    model = Model()
    model(x)
    seen = weakref.ref(model)
    del model, made, copied, p
    gc.collect()
    assert seen() is None


def test_state_in_read_only_memory() -> None:
    array = np.ones(3, np.float32)
    array.flags.writeable = False
    fixed = graphc.from_numpy(array)
    assert graphc.compile(lambda x: (fixed * x).sum())(graphc.ones(3)).item() == 3.0
    with pytest.raises(graphc.TracingError, match="'fixed', whose memory is read-only"):
        graphc.compile(lambda x: fixed.add_(x))(graphc.ones(3))


def test_inputs_at_odd_addresses() -> None:
    odd = np.zeros(33, np.uint8)[1:13].view(np.float32)
    odd[:] = [1.0, 2.0, 3.0]
    assert graphc.compile(lambda x: x * 2)(odd).tolist() == [2.0, 4.0, 6.0]
