"""Which calls share a compiled version, and which make a new one, and why."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.compiler.function import MANY, RecompileWarning
from tests.frontend.steps import Net, batch, mse

SCALE = 2.0
CONFIG = {"rate": 0.5, "deep": {"n": 1}}


class Settings:
    power = 2


SETTINGS = Settings()


def test_versions_by_type() -> None:
    step = graphc.compile(lambda x: x * 2)
    for x in (graphc.ones(3), graphc.ones(4), graphc.ones(3, dtype=graphc.float64), graphc.ones(3), graphc.ones(4)):
        result = step(x)
        assert result.dtype == x.dtype
        assert result.tolist() == (x * 2).tolist()
    assert step.versions == 3


def test_requires_grad_and_grad_mode_are_part_of_the_signature() -> None:
    step = graphc.compile(lambda x: (x * x).sum())
    plain = graphc.ones(3)
    leaf = graphc.ones(3, requires_grad=True)
    assert not step(plain).requires_grad
    assert step(leaf).requires_grad
    with graphc.no_grad():
        assert not step(leaf).requires_grad
    assert step.versions == 3


def test_arrays_are_inputs() -> None:
    step = graphc.compile(lambda x: (x * 2).sum())
    assert step(np.ones(3, np.float32)).item() == 6.0
    assert step(np.full(3, 2.0, np.float32)).item() == 12.0
    assert step(np.ones((3, 2), np.float32).T[0]).item() == 6.0
    assert step(graphc.ones(3)).item() == 6.0
    assert step.versions == 1


def test_static_arguments() -> None:
    @graphc.compile
    def step(x: Any, n: int, mode: str = "sum", flag: Any = None) -> Any:
        y = x * n
        return getattr(y, mode)() if flag is None else y

    x = graphc.ones(3)
    assert step(x, 2).item() == 6.0
    assert step(x, 3).item() == 9.0
    assert step(x, 2, mode="mean").item() == 2.0
    assert step(x, 2, "mean").item() == 2.0
    assert step(x, n=2).item() == 6.0
    assert step(x, 2, flag=True).shape == (3,)
    assert step(x, 2).item() == 6.0
    assert step(x, 2.0).item() == 6.0
    assert step(x, True).item() == 3.0
    assert step.versions == 8


def test_static_lists() -> None:
    @graphc.compile(static_argnames=["dims"])
    def step(x: Any, dims: Any) -> Any:
        return x.sum(dims)

    x = graphc.ones(2, 3)
    assert step(x, (0, 1)).item() == 6.0
    assert step(x, dims=(0,)).tolist() == [2.0] * 3
    assert step(x, (0, 1)).item() == 6.0
    assert step.versions == 2


class Pair(NamedTuple):
    a: Any
    b: Any


def test_nested_arguments_and_results() -> None:
    @graphc.compile
    def step(batch: Any, *rest: Any, scale: Any) -> Any:
        total = batch["x"][0] + batch["x"][1] + rest[0].a * rest[0].b
        return {"total": total * scale, "parts": (batch["x"][0], [rest[0].b, None, "text", 3])}, Pair(total, 1)

    x = graphc.ones(2)
    found, pair = step({"x": [x, x * 2]}, Pair(x, x * 3), scale=x * 10)
    assert found["total"].tolist() == [60.0, 60.0]
    assert found["parts"][1][0].tolist() == [3.0, 3.0]
    assert found["parts"][1][1:] == [None, "text", 3]
    assert isinstance(pair, Pair)
    assert pair.b == 1
    names = [v.name for v in step.lower({"x": [x, x]}, Pair(x, x), scale=x).graph("traced").inputs]
    assert names == ["batch.x.0", "batch.x.1", "rest.1.a", "rest.1.b", "scale"]
    assert step.versions == 1


def test_functions_without_tensors() -> None:
    assert graphc.compile(lambda: graphc.ones(2) * 3)().tolist() == [3.0, 3.0]
    assert graphc.compile(lambda x: None)(graphc.ones(1)) is None


def test_globals_are_guarded() -> None:
    step = graphc.compile(lambda x: x * SCALE)
    names = step.function.__globals__
    x = graphc.ones(2)
    try:
        assert step(x).tolist() == [2.0, 2.0]
        names["SCALE"] = 3.0
        assert step(x).tolist() == [3.0, 3.0]
        names["SCALE"] = 2.0
        assert step(x).tolist() == [2.0, 2.0]
        assert step.versions == 2
        names["SCALE"] = 2
        assert step(x).tolist() == [2.0, 2.0]
        assert step.versions == 3
    finally:
        names["SCALE"] = 2.0


def test_attributes_and_subscripts_are_guarded() -> None:
    step = graphc.compile(lambda x: x**SETTINGS.power * CONFIG["rate"] + CONFIG["deep"]["n"])
    x = graphc.ones(2) * 2
    assert step(x).tolist() == [3.0, 3.0]
    SETTINGS.power = 3
    assert step(x).tolist() == [5.0, 5.0]
    CONFIG["rate"] = 0.25
    assert step(x).tolist() == [3.0, 3.0]
    CONFIG["deep"]["n"] = 2
    assert step(x).tolist() == [4.0, 4.0]
    assert step(x).tolist() == [4.0, 4.0]
    assert step.versions == 4


def helper(x: Any) -> Any:
    return x * SETTINGS_OF_HELPER


SETTINGS_OF_HELPER = 2.0


def test_helpers_are_guarded() -> None:
    step = graphc.compile(lambda x: helper(x))
    x = graphc.ones(2)
    names = helper.__globals__
    try:
        step(x)
        names["SETTINGS_OF_HELPER"] = 5.0
        assert step(x).tolist() == [5.0, 5.0]
    finally:
        names["SETTINGS_OF_HELPER"] = 2.0


def test_closures_are_guarded() -> None:
    factor, weight = 2.0, graphc.ones(2)

    @graphc.compile
    def step(x: Any) -> Any:
        return x * factor * weight

    x = graphc.ones(2)
    assert step(x).tolist() == [2.0, 2.0]
    factor = 4.0
    assert step(x).tolist() == [4.0, 4.0]
    weight = graphc.ones(2) * 3
    assert step(x).tolist() == [12.0, 12.0]
    assert step.versions == 3


def test_modules_are_guarded() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 2)
            self.scale = 1.0

        def forward(self, x: Any) -> Any:
            return self.inner(x) * self.scale if self.training else x

    net = Scaled()
    step = graphc.compile(lambda x: net(x))
    x = graphc.ones(1, 2)

    def check() -> None:
        np.testing.assert_allclose(step(x).detach().numpy(), net(x).detach().numpy(), rtol=1e-6)

    check()
    net.scale = 3.0
    check()
    net.eval()
    check()
    net.train()
    check()
    assert step.versions == 3
    net.inner = nn.Linear(2, 2)
    check()
    net.unrelated = graphc.ones(1)
    check()
    assert step.versions == 5 or step.versions == 4


def test_freezing_a_parameter_makes_a_new_version() -> None:
    net = Net()

    @graphc.compile(keep_grads=True)
    def step(x: Any, y: Any) -> Any:
        for p in net.parameters():
            p.grad = None
        loss = mse(net(x), y)
        loss.backward()
        return loss

    x, y = batch()
    step(x, y)
    assert net.fc1.weight.grad is not None
    net.fc1.requires_grad_(False)
    step(x, y)
    assert net.fc1.weight.grad is None
    assert net.fc2.weight.grad is not None
    assert step.versions == 2


def test_attributes_set_in_a_trace_are_set_by_every_call() -> None:
    net = nn.Linear(2, 2)
    net.calls = 0

    @graphc.compile
    def evaluate(x: Any) -> Any:
        was = net.training
        net.eval()
        found = net(x)
        net.train(was)
        return found

    @graphc.compile
    def switch(x: Any) -> Any:
        net.eval()
        return net(x)

    x = graphc.ones(1, 2)
    evaluate(x)
    assert net.training
    for _ in range(3):
        net.train()
        switch(x)
        assert not net.training
    assert (evaluate.versions, switch.versions) == (1, 1)


def test_counting_in_python_recompiles_and_says_so() -> None:
    net = nn.Linear(2, 2)
    net.calls = 0

    @graphc.compile
    def step(x: Any) -> Any:
        net.calls += 1
        return net(x) * net.calls

    x = graphc.ones(1, 2)
    for _ in range(MANY - 1):
        step(x)
    with pytest.warns(RecompileWarning, match="calls changed"):
        step(x)
    assert net.calls == MANY


def test_recompiles_are_logged(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setenv("GRAPHC_LOG", "recompile")
    net = nn.Dropout(0.5)
    step = graphc.compile(lambda x: net(x), name="step")
    step(graphc.ones(2))
    assert capsys.readouterr().err == ""
    step(graphc.ones(3))
    assert "graphc [recompile] step: new argument types: f32[3]" in capsys.readouterr().err
    net.eval()
    step(graphc.ones(3))
    assert "step: net: training changed from True to False" in capsys.readouterr().err


def test_scalar_inputs_do_not_recompile() -> None:
    group = {"lr": 0.5, "nesterov": False}
    w = graphc.zeros(2)

    @graphc.compile
    def step(x: Any) -> Any:
        rate = graphc.tracing.scalar_input(lambda: group["lr"], "lr")
        same = graphc.tracing.scalar_input(lambda: group["lr"], "lr")
        if graphc.tracing.guard(lambda: group["nesterov"], "nesterov"):
            x = x * 2
        w.add_(x * rate)
        return rate + same

    x = graphc.ones(2)
    assert step(x).item() == 1.0
    group["lr"] = 0.25
    assert step(x).item() == 0.5
    assert w.tolist() == [0.75, 0.75]
    assert step.versions == 1
    group["nesterov"] = True
    step(x)
    assert w.tolist() == [1.25, 1.25]
    assert step.versions == 2
    graph = step.lower(x).graph("traced")
    assert [str(v.type) for v in graph.inputs] == ["f32[2]", "f64[]"] * 1 + ["f64[]"] * (len(graph.inputs) - 2)


def test_methods() -> None:
    class Trainer:
        def __init__(self, scale: float):
            self.net = nn.Linear(2, 2)
            self.scale = scale

        @graphc.compile
        def step(self, x: Any) -> Any:
            return self.net(x) * self.scale

    first, second = Trainer(1.0), Trainer(2.0)
    x = graphc.ones(1, 2)
    for trainer in (first, second, first):
        np.testing.assert_allclose(
            trainer.step(x).detach().numpy(), (trainer.net(x) * trainer.scale).detach().numpy(), rtol=1e-6
        )
    first.scale = 5.0
    np.testing.assert_allclose(first.step(x).detach().numpy(), (first.net(x) * 5).detach().numpy(), rtol=1e-6)
    assert (first.step.versions, second.step.versions) == (2, 1)


def test_copied_inputs_are_logged(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setenv("GRAPHC_LOG", "copy")
    step = graphc.compile(lambda x: x.sum(), name="step")
    step(graphc.ones(2, 3))
    assert capsys.readouterr().err == ""
    step(graphc.ones(3, 2).t())
    assert "graphc [copy] step: an input of type f32[2,3] is not dense" in capsys.readouterr().err
