"""Optimizers: groups, state dicts, gradients, and what they refuse."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.errors import StateError
from graphc.tensors.tensor import Tensor

MAKERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("RMSprop", {"momentum": 0.5, "centered": True}),
    ("Adagrad", {"lr_decay": 0.1}),
]
EVERY = pytest.mark.parametrize(("name", "chosen"), MAKERS, ids=lambda x: x if isinstance(x, str) else "")


def parameters() -> list[Tensor]:
    rng = np.random.default_rng(0)
    return [graphc.tensor(rng.normal(size=s).astype(np.float32), requires_grad=True) for s in ((2, 3), (4,), ())]


def train(optimizer: optim.Optimizer, steps: int, seed: int = 1) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = graphc.tensor(rng.normal(size=tuple(p.shape)).astype(np.float32))
        optimizer.step()


def values(tensors: list[Tensor]) -> list[Any]:
    return [x.detach().tolist() for x in tensors]


def make(name: str, tensors: list[Tensor], chosen: dict[str, Any]) -> optim.Optimizer:
    return getattr(optim, name)(tensors, **chosen)  # type: ignore[no-any-return]


# --- state dicts


@EVERY
@pytest.mark.parametrize("into", ["a fresh optimizer", "a used one", "itself"])
def test_state_dict_round_trip(name: str, chosen: dict[str, Any], into: str) -> None:
    first = parameters()
    optimizer = make(name, first, chosen)
    train(optimizer, 3)
    saved, weights = optimizer.state_dict(), values(first)
    train(optimizer, 3, seed=2)
    expected = values(first)

    second = first if into == "itself" else parameters()
    other = optimizer if into == "itself" else make(name, second, {"lr": 5.0})
    if into != "a fresh optimizer":
        train(other, 2, seed=7)
    with graphc.no_grad():
        for p, value in zip(second, weights, strict=True):
            p.copy_(graphc.tensor(value))
    other.load_state_dict(saved)
    train(other, 3, seed=2)
    assert values(second) == expected


def test_state_dict_is_a_copy_and_survives_json_keys() -> None:
    tensors = parameters()
    optimizer = optim.Adam(tensors)
    train(optimizer, 2)
    saved = optimizer.state_dict()
    before = saved["state"][0]["exp_avg"].tolist()
    train(optimizer, 1)
    assert saved["state"][0]["exp_avg"].tolist() == before
    assert saved["param_groups"][0]["params"] == [0, 1, 2]
    other = optim.Adam(parameters())
    other.load_state_dict({**saved, "state": {str(n): entries for n, entries in saved["state"].items()}})
    assert other.state_dict()["state"][0]["exp_avg"].tolist() == before


def test_loading_writes_to_the_memory_that_is_there() -> None:
    tensors = parameters()
    optimizer = optim.Adam(tensors)
    train(optimizer, 2)
    saved = optimizer.state_dict()
    memory = {id(x): x.detach().numpy() for entries in optimizer.state.values() for x in entries.values()}
    train(optimizer, 2)
    optimizer.load_state_dict(saved)
    for entries in optimizer.state.values():
        for x in entries.values():
            assert np.shares_memory(x.numpy(), memory[id(x)])
    assert optimizer.state[tensors[0]]["step"].item() == 2


def test_loading_an_empty_state_starts_anew() -> None:
    tensors = parameters()
    for optimizer in (optim.Adam(tensors), optim.SGD(tensors, momentum=0.9, dampening=0.5)):
        fresh = optimizer.state_dict()
        train(optimizer, 2)
        optimizer.load_state_dict(fresh)
        assert all(not x.numpy().any() for entries in optimizer.state.values() for x in entries.values())


def test_options_of_pytorchs_execution_are_left_out() -> None:
    optimizer = optim.SGD(parameters())
    saved = optimizer.state_dict()
    saved["param_groups"][0].update(lr=0.5, foreach=None, fused=True, differentiable=False, capturable=False, name="a")
    optimizer.load_state_dict(saved)
    group = optimizer.param_groups[0]
    assert group["lr"] == 0.5
    assert group["name"] == "a"
    assert not {"foreach", "fused", "differentiable", "capturable"} & set(group)


def test_everything_that_does_not_fit_is_listed_and_nothing_changes() -> None:
    tensors = parameters()
    optimizer = optim.Adam(tensors, lr=0.25)
    train(optimizer, 1)
    before = [{k: x.tolist() for k, x in entries.items()} for entries in optimizer.state.values()]
    saved = optimizer.state_dict()
    saved["param_groups"][0]["lr"] = 9.0
    saved["state"][0]["exp_avg"] = graphc.zeros(7)
    del saved["state"][1]["step"]
    saved["state"][2]["momentum_buffer"] = graphc.zeros(())
    with pytest.raises(StateError) as info:
        optimizer.load_state_dict(saved)
    message = str(info.value)
    assert "exp_avg of parameter 0 has shape [7], needed [2, 3]" in message
    assert "parameter 1 lacks step" in message
    assert "parameter 2 has an unexpected momentum_buffer" in message
    assert "test_optimizers.py:" in message
    assert [{k: x.tolist() for k, x in entries.items()} for entries in optimizer.state.values()] == before
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_groups_of_other_sizes() -> None:
    saved = optim.SGD(parameters()).state_dict()
    with pytest.raises(StateError, match=r"groups of sizes \[2\], the saved one \[3\]"):
        optim.SGD(parameters()[:2]).load_state_dict(saved)


# --- gradients


def test_zero_grad() -> None:
    tensors = parameters()
    optimizer = optim.SGD(tensors)
    for p in tensors[:2]:
        p.grad = graphc.ones_like(p)
    kept = tensors[0].grad
    optimizer.zero_grad(set_to_none=False)
    assert tensors[0].grad is kept
    assert kept is not None
    assert kept.tolist() == [[0.0] * 3] * 2
    assert tensors[2].grad is None
    optimizer.zero_grad()
    assert all(p.grad is None for p in tensors)


def test_a_tied_parameter_is_updated_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 3, bias=False)
            self.b = nn.Linear(3, 3, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x))

    net = Tied()
    with graphc.no_grad():
        net.a.weight.copy_(graphc.eye(3))
    optimizer = optim.SGD(net.parameters(), lr=0.5)
    net(graphc.ones(1, 3)).sum().backward()
    optimizer.step()
    # d sum(W W x) / dW at W = 1: x x^T-like ones from each of both uses
    assert net.a.weight.tolist() == (np.eye(3) - 0.5 * 2 * np.ones((3, 3))).tolist()
    assert len(optimizer.state_dict()["param_groups"][0]["params"]) == 1


def test_updates_are_not_recorded() -> None:
    (p,) = tensors = parameters()[:1]
    train(optim.Adam(tensors), 1)
    assert p.requires_grad
    assert p.is_leaf


def test_copies_train_on_their_own() -> None:
    net = nn.Linear(2, 2)
    optimizer = optim.Adam(net.parameters(), lr=0.1)
    train(optimizer, 1)
    other_net, other = copy.deepcopy((net, optimizer))
    before = values(list(net.parameters()))
    train(other, 2)
    assert values(list(net.parameters())) == before
    assert values(list(other_net.parameters())) != before
    assert optimizer.state[net.weight]["step"].item() == 1
    assert other.state[other_net.weight]["step"].item() == 3


# --- a user's own


def test_a_users_optimizer_in_the_base_classes_way() -> None:
    class Decaying(optim.Optimizer):
        def __init__(self, params: Any, rate: float):
            super().__init__(params, {"rate": rate})

        def entries(self, p: Tensor, group: dict[str, Any], known: dict[str, Tensor]) -> Any:
            return {"seen": lambda: graphc.zeros_like(p)}

        def update(self, p: Tensor, grad: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> Any:
            seen = state["seen"] + grad
            return p * self.hyper(group, "rate") - seen, {"seen": seen}

    p = graphc.tensor([8.0, 4.0], requires_grad=True)
    optimizer = Decaying([p], 0.5)
    for _ in range(2):
        p.grad = graphc.ones(2)
        optimizer.step()
    assert p.tolist() == [(8 / 2 - 1) / 2 - 2, (4 / 2 - 1) / 2 - 2]


def test_a_users_optimizer_in_pytorchs_way() -> None:
    class Plain(optim.Optimizer):
        def step(self, closure: Any = None) -> None:
            with graphc.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        p.add_(p.grad, alpha=-group["lr"])

    p = graphc.tensor([1.0], requires_grad=True)
    p.grad = graphc.ones(1)
    Plain([p], {"lr": 0.5}).step()
    assert p.tolist() == [0.5]


# --- what is refused


@pytest.mark.parametrize(
    ("params", "error", "text"),
    [
        ([], ValueError, "SGD got no parameters to train"),
        (lambda: graphc.ones(2), TypeError, "list of tensors or dicts, got one tensor"),
        (lambda: [np.ones(2)], TypeError, "SGD trains tensors, got ndarray"),
        (lambda: [graphc.ones(2, requires_grad=True) * 2], ValueError, "leaf tensors; one of type f32\\[2\\]"),
        (lambda: [graphc.ones(2)] * 2, ValueError, "occurs twice"),
        (lambda: [{"params": {graphc.ones(2)}}], TypeError, "not a set"),
        (lambda: [{"params": [graphc.ones(2)]}, [graphc.ones(2)]], TypeError, "a parameter group is a dict, got list"),
    ],
)
def test_parameters_that_are_refused(params: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        optim.SGD(params() if callable(params) else params)


def test_a_parameter_in_two_groups() -> None:
    p = graphc.ones(2)
    optimizer = optim.SGD([p])
    with pytest.raises(ValueError, match="occurs twice"):
        optimizer.add_param_group({"params": p})
    assert len(optimizer.param_groups) == 1


def test_options_are_python_numbers() -> None:
    with pytest.raises(TypeError, match="SGD: lr must be a Python number, got Tensor; to change it between steps"):
        optim.SGD([graphc.ones(2, requires_grad=True)], lr=graphc.tensor(0.1))


def test_option_errors_name_the_optimizer_and_the_option() -> None:
    with pytest.raises(ValueError, match=r"AdamW: betas\[1\] must be at least 0.0 and below 1.0, got 1.5"):
        optim.AdamW(parameters(), betas=(0.9, 1.5))
    with pytest.raises(ValueError, match=r"SGD: lr must be at least 0.0, got -1"):
        optim.SGD(parameters(), lr=-1)
