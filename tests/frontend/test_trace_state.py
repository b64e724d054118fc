"""Tensors that a compiled function meets are state: one per memory, updated in place, as eager code would."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from tests.frontend.steps import Net, batch, clear, mse, same, sgd, state_of


def test_a_step_trains_as_it_does_eagerly() -> None:
    def make() -> Any:
        net = Net()

        def step(x: Any, y: Any) -> Any:
            clear(net.parameters())
            loss = mse(net(x), y)
            loss.backward()
            sgd(net.parameters())
            return loss

        return step, [net]

    step = same(make)
    assert step.versions == 1
    graph = step.lower(*batch()).graph("traced")
    assert [v.name for v in graph.states] == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert len(graph.updates) == 4
    assert [v.name for v in graph.inputs] == ["x", "y"]


def test_tied_weights_are_one_state() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(3, 3)
            self.second = nn.Linear(3, 3)
            self.second.weight = self.first.weight
            self.out = nn.Linear(3, 2)

        def forward(self, x: Any) -> Any:
            return self.out(self.second(graphc.relu(self.first(x))))

    def make() -> Any:
        net = Tied()

        def step(x: Any, y: Any) -> Any:
            clear(net.parameters())
            loss = mse(net(x), y)
            loss.backward()
            sgd(net.parameters())
            return loss, net.first.weight

        return step, [net]

    step = same(make)
    names = [v.name for v in step.lower(*batch()).graph("traced").states]
    assert names == ["first.weight", "first.bias", "second.bias", "out.weight", "out.bias"]


def test_two_modules_of_a_kind_are_told_apart_by_their_variables() -> None:
    encoder, decoder = nn.Linear(3, 4), nn.Linear(4, 3)
    step = graphc.compile(lambda x: decoder(encoder(x)).sum())
    names = {v.name for v in step.lower(batch()[0]).graph("traced").states}
    assert names == {"encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"}


def test_adversarial_pair_of_steps() -> None:
    """Two networks trained in one function: the second loss sees what the first update left."""

    def make() -> Any:
        critic, maker = nn.Linear(3, 1), nn.Linear(3, 3)

        def step(x: Any, y: Any) -> Any:
            clear(critic.parameters())
            fake = maker(x)
            loss = critic(x).mean() - critic(fake.detach()).mean()
            loss.backward()
            sgd(critic.parameters())
            clear(maker.parameters())
            other = -critic(fake).mean()
            other.backward()
            sgd(maker.parameters())
            return loss, other

        return step, [critic, maker]

    same(make)


def test_a_loss_that_reads_the_weights() -> None:
    def make() -> Any:
        net = Net()

        def step(x: Any, y: Any) -> Any:
            clear(net.parameters())
            loss = mse(net(x), y) + sum((p * p).sum() for p in net.parameters())
            loss.backward()
            norm = sum((p.grad * p.grad).sum() for p in net.parameters())
            sgd(net.parameters())
            return loss, norm, sum(p.sum() for p in net.parameters()).detach()

        return step, [net]

    same(make)


def test_two_updates_in_one_call() -> None:
    def make() -> Any:
        net = Net()

        def step(x: Any, y: Any) -> Any:
            losses = []
            for _ in range(2):
                clear(net.parameters())
                loss = mse(net(x), y)
                loss.backward()
                sgd(net.parameters())
                losses.append(loss.detach())
            return losses

        return step, [net]

    same(make)


def test_two_versions_of_a_weight_in_one_loss_are_refused() -> None:
    w = graphc.ones(3, requires_grad=True)

    @graphc.compile
    def step(x: Any) -> Any:
        first = (w * x).sum()
        with graphc.no_grad():
            w.mul_(2)
        loss = first + (w * x).sum()
        loss.backward()
        return loss

    with pytest.raises(graphc.DifferentiationError, match="two versions of 'w'"):
        step(graphc.ones(3))


def test_buffers_are_written_by_copy_and_by_assignment() -> None:
    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(graphc.ones(3))
            self.register_buffer("mean", graphc.zeros(3))
            self.register_buffer("count", graphc.tensor(0))

        def forward(self, x: Any) -> Any:
            if self.training:
                with graphc.no_grad():
                    self.mean.mul_(0.9).add_(x.mean(0) * 0.1)
                    self.count = self.count + 1
            return (x - self.mean) * self.weight

    def make() -> Any:
        net = Norm()

        def step(x: Any, y: Any) -> Any:
            clear(net.parameters())
            loss = net(x).square().mean()
            loss.backward()
            sgd(net.parameters())
            return loss, net.mean, net.count

        return step, [net]

    same(make)


def test_writes_through_views_of_state() -> None:
    def make() -> Any:
        net = nn.Linear(3, 2)
        net.register_buffer("table", graphc.zeros(2, 3))
        column = net.table.t()[1]

        def step(x: Any, y: Any) -> Any:
            net.table[0] = x[0]
            net.table[1, 1:] += 1.0
            column.add_(0.5)
            view = net.table.view(-1)
            view[::2].mul_(2.0)
            return view.sum(), net.table[0], column

        return step, [net]

    same(make)


def test_writes_through_views_of_intermediates() -> None:
    def make() -> Any:
        net = nn.Linear(3, 2)

        def step(x: Any, y: Any) -> Any:
            out = graphc.zeros(5, 4)
            rows = out.view(-1)
            out[:, 1:] = x * 2
            out[2] = 7.0
            rows[0] = -1.0
            out.t()[3].mul_(3)
            copied = out.t().reshape(-1)
            copied.zero_()
            out[out > 1] = 0.25
            return out, rows, copied

        return step, [net]

    same(make)


def test_in_place_operations_are_differentiated() -> None:
    def make() -> Any:
        net = nn.Linear(3, 2)

        def step(x: Any, y: Any) -> Any:
            clear(net.parameters())
            h = net(x)
            h.mul_(2).add_(y)
            out = graphc.zeros(5, 4)
            out[:, 1:3] = h
            out[:, 0] = h[:, 0] * h[:, 1]
            loss = (out * out).sum()
            loss.backward()
            sgd(net.parameters(), 0.01)
            return loss

        return step, [net]

    same(make)


def test_arguments_written_in_place() -> None:
    @graphc.compile
    def step(x: Any, y: Any) -> Any:
        x.mul_(2)
        y[0] += 1
        return x.sum()

    x, y = graphc.ones(3), np.zeros(2, np.float32)
    assert step(x, y).item() == 6.0
    assert x.tolist() == [2.0, 2.0, 2.0]
    assert y.tolist() == [1.0, 0.0]


def test_an_argument_that_is_also_state() -> None:
    w = graphc.ones(3)

    @graphc.compile
    def step(x: Any) -> Any:
        w.add_(x)
        return w + x

    assert step(w).tolist() == [3.0, 3.0, 3.0]
    assert w.tolist() == [2.0, 2.0, 2.0]
    assert step(w.numpy()[::-1]).tolist() == [6.0, 6.0, 6.0]
    assert w.tolist() == [4.0, 4.0, 4.0]


def test_state_in_memory_that_a_program_cannot_use() -> None:
    """Transposed, unaligned and borrowed arrays are loaded and stored around each call."""
    base = np.zeros((3, 2), np.float32)
    odd = np.zeros(33, np.uint8)[1:13].view(np.float32)
    borrowed, strided = graphc.from_numpy(odd), graphc.from_numpy(base.T)

    @graphc.compile
    def step(x: Any) -> Any:
        borrowed.add_(x)
        strided[0].add_(x * 2)
        return borrowed.sum()

    step(graphc.ones(3))
    odd[0] = 10.0
    assert step(graphc.ones(3)).item() == 12.0 + 4.0 - 1.0
    assert odd.tolist() == [11.0, 2.0, 2.0]
    assert base[:, 0].tolist() == [4.0, 4.0, 4.0]


def test_loading_a_checkpoint_is_seen_by_compiled_functions() -> None:
    net = Net()
    step = graphc.compile(lambda x: net(x).sum())
    x, _ = batch()
    step(x)
    net.load_state_dict({k: graphc.ones_like(v) for k, v in net.state_dict().items()})
    np.testing.assert_allclose(step(x).item(), net(x).sum().item(), rtol=1e-6)
    assert step.versions == 1


def test_eager_writes_between_calls_are_seen() -> None:
    w = graphc.ones(3)
    step = graphc.compile(lambda x: (w * x).sum())
    assert step(graphc.ones(3)).item() == 3.0
    w.mul_(2)
    w.data = graphc.ones(3) * 5
    assert step(graphc.ones(3)).item() == 15.0
    assert step.versions == 1


def test_compiled_writes_are_seen_by_eager_backward_passes() -> None:
    w = graphc.ones(3, requires_grad=True)

    @graphc.compile
    def shrink() -> None:
        with graphc.no_grad():
            w.mul_(0.5)

    loss = (w * w).sum()
    shrink()
    with pytest.raises(graphc.AutogradError, match="written in place"):
        loss.backward()
    assert w.tolist() == [0.5, 0.5, 0.5]


def test_train_eval_and_eager_code_share_weights() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2))

    @graphc.compile
    def step(x: Any, y: Any) -> Any:
        clear(net.parameters())
        loss = mse(net(x), y)
        loss.backward()
        sgd(net.parameters())
        return loss

    @graphc.compile
    def evaluate(x: Any) -> Any:
        with graphc.no_grad():
            return net(x)

    x, y = batch()
    for _ in range(2):
        net.train()
        step(x, y)
        net.eval()
        np.testing.assert_allclose(evaluate(x).numpy(), net(x).detach().numpy(), rtol=1e-5, atol=1e-6)
    assert (step.versions, evaluate.versions) == (1, 1)


def test_outputs_are_fresh() -> None:
    w = graphc.ones(3)

    @graphc.compile
    def step(x: Any) -> Any:
        w.add_(1)
        return w, x, w, x.view(-1)

    x = graphc.zeros(3)
    first = step(x)
    second = step(x)
    assert [t.tolist() for t in first] == [[2.0] * 3, [0.0] * 3, [2.0] * 3, [0.0] * 3]
    assert second[0].tolist() == [3.0] * 3
    memory = [t.numpy() for t in (*first, *second, w, x)]
    for i, a in enumerate(memory):
        assert not any(np.shares_memory(a, b) for b in memory[:i])


def test_random_state_advances_as_it_does_eagerly() -> None:
    def make() -> Any:
        net = nn.Linear(3, 2)

        def step(x: Any, y: Any) -> Any:
            return graphc.rand(3), graphc.randn(2, 2), graphc.nn.functional.dropout(x, 0.5), graphc.randint(0, 9, (4,))

        return step, [net]

    step = same(make)
    states = {v.name for v in step.lower(*batch()).graph("traced").states}
    assert states == {"rng.key", "rng.offset"}
    graphc.manual_seed(3)
    first = step(*batch())[0].tolist()
    graphc.manual_seed(3)
    assert step(*batch())[0].tolist() == first


def test_a_failed_trace_changes_nothing() -> None:
    net = Net()
    net.register_buffer("seen", graphc.zeros(3))
    net.mode = "before"
    moments: dict[str, Any] = {}
    x, y = batch()
    mse(net(x), y).backward()
    grads = {name: p.grad for name, p in net.named_parameters()}
    graphc.manual_seed(1)
    before = state_of(net)
    offset = graphc.get_rng_state().tolist()

    @graphc.compile
    def step(x: Any, y: Any) -> Any:
        clear(net.parameters())
        net.mode = "after"
        net.fresh = 1
        net.eval()
        net.seen.add_(x.sum(0))
        graphc.rand(3)
        mse(net(x), y).backward()
        graphc.tracing.create_state(moments, "m", lambda: graphc.zeros(3))
        moments["m"].add_(1)
        sgd(net.parameters())
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        step(x, y)
    assert state_of(net) == before
    assert {name: p.grad for name, p in net.named_parameters()} == grads
    assert (net.mode, net.training, hasattr(net, "fresh"), moments) == ("before", True, False, {})
    assert graphc.get_rng_state().tolist() == offset
    assert not graphc.tensor(1.0).is_traced


def test_lowering_changes_nothing() -> None:
    net = Net()
    moments: dict[str, Any] = {}
    x, y = batch()
    before = state_of(net)

    def step(x: Any, y: Any) -> Any:
        loss = mse(net(x), y)
        loss.backward()
        m = graphc.tracing.create_state(moments, "m", lambda: graphc.zeros(3), of=net.fc1.bias)
        m.add_(1)
        sgd(net.parameters())
        return loss

    lowered = graphc.compile(step).lower(x, y)
    assert "fc1.bias.m" in [v.name for v in lowered.graph("traced").states]
    assert state_of(net) == before
    assert moments == {}
    assert all(p.grad is None for p in net.parameters())


def test_state_made_in_a_trace_is_real() -> None:
    moments: dict[str, Any] = {}

    @graphc.compile
    def step(x: Any) -> Any:
        m = graphc.tracing.create_state(moments, "m", lambda: graphc.zeros(3))
        m.add_(x)
        return m.sum()

    assert step(graphc.ones(3)).item() == 3.0
    assert step(graphc.ones(3)).item() == 6.0
    assert moments["m"].tolist() == [2.0, 2.0, 2.0]


def test_compiled_functions_inside_compiled_functions() -> None:
    w = graphc.ones(3)

    @graphc.compile
    def inner(x: Any) -> Any:
        w.add_(1)
        return w * x

    @graphc.compile
    def outer(x: Any) -> Any:
        return inner(x) + inner(x)

    assert outer(graphc.ones(3)).tolist() == [5.0] * 3
    assert w.tolist() == [3.0] * 3
    assert (inner.versions, outer.versions) == (0, 1)


def test_recursion_and_loops_over_shapes_are_unrolled() -> None:
    @graphc.compile
    def power(x: Any, n: int) -> Any:
        return x if n == 1 else power(x, n - 1) * x

    @graphc.compile
    def rows(x: Any) -> Any:
        return sum(row.sum() * i for i, row in enumerate(x))

    assert power(graphc.tensor(2.0), 5).item() == 32.0
    assert rows(graphc.ones(3, 2)).item() == 6.0
