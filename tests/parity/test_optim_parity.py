"""Optimizers against PyTorch's: parameters and state after several steps, for every combination of options."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import graphc
from graphc import optim

pytestmark = pytest.mark.parity

SHAPES = [(3, 4), (5,), ()]
STEPS = 6


def options(**choices: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    """Every combination of one choice per option."""
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


DECAY = (0.0, 0.1)
UPHILL = (False, True)
TABLE: list[tuple[str, dict[str, Any]]] = [
    *(("SGD", o) for o in options(momentum=(0.0, 0.9), dampening=(0.0, 0.3), weight_decay=DECAY, maximize=UPHILL)),
    *(("SGD", {"nesterov": True, **o}) for o in options(momentum=(0.5,), weight_decay=DECAY, maximize=UPHILL)),
    *(("Adam", o) for o in options(amsgrad=UPHILL, weight_decay=DECAY, maximize=UPHILL)),
    ("Adam", {"betas": (0.5, 0.6), "eps": 1e-3}),
    ("Adam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    *(("AdamW", o) for o in options(amsgrad=UPHILL, weight_decay=DECAY, maximize=UPHILL)),
    *(("RMSprop", o) for o in options(centered=UPHILL, momentum=(0.0, 0.9), weight_decay=DECAY, maximize=UPHILL)),
    ("RMSprop", {"alpha": 0.5, "eps": 1e-2}),
    *(
        ("Adagrad", o)
        for o in options(lr_decay=(0.0, 0.2), weight_decay=DECAY, initial_accumulator_value=(0.0, 0.5), maximize=UPHILL)
    ),
]


class Pair:
    """The same parameters and gradients, here and in PyTorch."""

    def __init__(self, dtype: str = "float32"):
        self.rng = np.random.default_rng(0)
        self.arrays = [self.rng.normal(size=shape).astype(dtype) for shape in SHAPES]
        self.ours = [graphc.tensor(a, requires_grad=True) for a in self.arrays]
        self.theirs = [torch.tensor(a, requires_grad=True) for a in self.arrays]

    def step(self, ours: Any, theirs: Any, skip: int | None = None) -> None:
        """One step of both optimizers along new gradients; the parameter number `skip` has none."""
        for i, (a, b) in enumerate(zip(self.ours, self.theirs, strict=True)):
            grad = self.rng.normal(size=a.shape).astype(self.arrays[i].dtype)
            a.grad = None if i == skip else graphc.tensor(grad)
            b.grad = None if i == skip else torch.tensor(grad)
        ours.step()
        theirs.step()

    def check(self, ours: Any, theirs: Any, rtol: float = 2e-5, atol: float = 1e-6) -> None:
        for a, b in zip(self.ours, self.theirs, strict=True):
            assert str(b.dtype).endswith({"f32": "float32", "f64": "float64"}[str(a.dtype)])
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=rtol, atol=atol)
        mine, reference = ours.state_dict()["state"], theirs.state_dict()["state"]
        for number, entries in reference.items():
            expected = {name: x for name, x in entries.items() if x is not None}
            if number not in mine:  # PyTorch's Adagrad makes state for parameters that never had a gradient
                assert expected["step"] == 0
                continue
            assert set(expected) <= set(mine[number])
            for name, x in expected.items():
                np.testing.assert_allclose(mine[number][name].numpy(), np.asarray(x), rtol=rtol, atol=atol)


def make(name: str, pair: Pair, chosen: dict[str, Any]) -> tuple[Any, Any]:
    return getattr(optim, name)(pair.ours, **chosen), getattr(torch.optim, name)(pair.theirs, **chosen)


@pytest.mark.parametrize(("name", "chosen"), TABLE, ids=lambda x: str(x) if isinstance(x, dict) else x)
def test_steps(name: str, chosen: dict[str, Any]) -> None:
    pair = Pair()
    ours, theirs = make(name, pair, {"lr": 0.05, **chosen})
    for _ in range(STEPS):
        pair.step(ours, theirs)
        pair.check(ours, theirs)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_defaults(name: str) -> None:
    """Including the options that a state dict shows."""
    pair = Pair()
    ours, theirs = make(name, pair, {})
    for _ in range(STEPS):
        pair.step(ours, theirs)
    pair.check(ours, theirs)
    mine, reference = ours.state_dict()["param_groups"], theirs.state_dict()["param_groups"]
    own = {"foreach", "fused", "capturable", "differentiable"}
    assert mine == [{k: v for k, v in group.items() if k not in own} for group in reference]


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
def test_float64(name: str) -> None:
    pair = Pair("float64")
    ours, theirs = make(name, pair, {"lr": 0.05, "weight_decay": 0.1})
    for _ in range(STEPS):
        pair.step(ours, theirs)
    pair.check(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precisions(name: str, dtype: str) -> None:
    """One rounding a step here, several in PyTorch: equal to some units of the last place."""
    start, grad = [1.0, -2.0, 0.5], [0.25, -1.0, 2.0]
    ours = graphc.tensor(start, dtype=getattr(graphc, dtype), requires_grad=True)
    theirs = torch.tensor(start, dtype=getattr(torch, dtype), requires_grad=True)
    pairs = [(ours, optim, graphc), (theirs, torch.optim, torch)]
    for p, module, T in pairs:
        optimizer = getattr(module, name)([p], lr=0.05)
        for _ in range(4):
            p.grad = T.tensor(grad, dtype=p.dtype)
            optimizer.step()
    assert ours.dtype == getattr(graphc, dtype)
    tolerance = 0.004 if dtype == "float16" else 0.05
    np.testing.assert_allclose(ours.float().detach().numpy(), theirs.float().detach().numpy(), rtol=0, atol=tolerance)


def test_parameters_without_gradient_are_skipped() -> None:
    for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad"):
        pair = Pair()
        ours, theirs = make(name, pair, {"lr": 0.05, "weight_decay": 0.1})
        for i in range(STEPS):
            pair.step(ours, theirs, skip=1 if i < 3 else 0)
        pair.check(ours, theirs)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Adagrad"])
def test_groups_and_changing_options(name: str) -> None:
    pair = Pair()
    groups = [[{"params": t[:1], "lr": 0.2}, {"params": t[1:], "weight_decay": 0.3}] for t in (pair.ours, pair.theirs)]
    ours = getattr(optim, name)(groups[0], lr=0.05)
    theirs = getattr(torch.optim, name)(groups[1], lr=0.05)
    for i in range(STEPS):
        for optimizer in (ours, theirs):
            optimizer.param_groups[1]["lr"] = 0.1 / (i + 1)
            optimizer.param_groups[0]["weight_decay"] = 0.1 * (i > 2)
        pair.step(ours, theirs)
        pair.check(ours, theirs)


def test_momentum_set_later() -> None:
    pair = Pair()
    for dampening in (0.0, 0.5):
        ours, theirs = make("SGD", pair, {"lr": 0.05, "dampening": dampening})
        for i in range(STEPS):
            for optimizer in (ours, theirs):
                optimizer.param_groups[0]["momentum"] = 0.0 if i < 2 else 0.9
            pair.step(ours, theirs)
            pair.check(ours, theirs)


def test_add_param_group() -> None:
    pair = Pair()
    ours, theirs = optim.Adam(pair.ours[:1], lr=0.05), torch.optim.Adam(pair.theirs[:1], lr=0.05)
    pair.step(ours, theirs)
    ours.add_param_group({"params": pair.ours[1], "lr": 0.01})
    theirs.add_param_group({"params": pair.theirs[1], "lr": 0.01})
    for _ in range(3):
        pair.step(ours, theirs)
    pair.check(ours, theirs)


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("SGD", {}),
        ("SGD", {"momentum": 0.9}),
        ("SGD", {"momentum": 0.9, "dampening": 0.3}),
        ("Adam", {"amsgrad": True}),
        ("AdamW", {}),
        ("RMSprop", {"centered": True, "momentum": 0.5}),
        ("Adagrad", {"lr_decay": 0.1}),
    ],
)
@pytest.mark.parametrize("fresh", [True, False])
def test_loads_the_state_of_pytorchs_optimizer(name: str, chosen: dict[str, Any], fresh: bool) -> None:
    """Of arrays; the options come along, so the optimizer may have been made with others."""
    pair = Pair()
    ours, theirs = make(name, pair, {"lr": 0.05, **chosen})
    for _ in range(3):
        pair.step(ours, theirs)
    saved = theirs.state_dict()
    state = {n: {k: np.asarray(x) for k, x in entries.items()} for n, entries in saved["state"].items()}
    if fresh:
        ours = getattr(optim, name)(pair.ours)
    ours.load_state_dict({"state": state, "param_groups": saved["param_groups"]})
    for _ in range(3):
        pair.step(ours, theirs)
        pair.check(ours, theirs)


def test_closure() -> None:
    pair = Pair()
    ours, theirs = make("SGD", pair, {"lr": 0.05})

    def loss_of(tensors: list[Any], optimizer: Any) -> Any:
        optimizer.zero_grad()
        loss = sum((x * x).sum() for x in tensors)
        loss.backward()
        return loss

    for _ in range(3):
        a = ours.step(lambda: loss_of(pair.ours, ours))
        b = theirs.step(lambda: loss_of(pair.theirs, theirs))
        np.testing.assert_allclose(a.item(), b.item(), rtol=1e-6)
    pair.check(ours, theirs)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
@pytest.mark.parametrize(
    "chosen",
    [
        {"lr": -1.0},
        {"weight_decay": -0.1},
        {"momentum": -0.5},
        {"eps": -1e-3},
        {"betas": (1.0, 0.9)},
        {"betas": (0.9, -0.1)},
        {"alpha": -0.5},
        {"lr_decay": -1.0},
        {"initial_accumulator_value": -1.0},
        {"nesterov": True},
        {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
    ],
    ids=str,
)
def test_options_that_both_refuse(name: str, chosen: dict[str, Any]) -> None:
    pair = Pair()
    try:
        getattr(torch.optim, name)(pair.theirs, **chosen)
    except (ValueError, TypeError) as error:
        with pytest.raises(type(error)):
            getattr(optim, name)(pair.ours, **chosen)
    else:
        pytest.fail("PyTorch takes it")


def test_repr_has_the_options() -> None:
    pair = Pair()
    ours, theirs = make("SGD", pair, {"lr": 0.05})
    lines = [line for line in repr(theirs).splitlines() if line.split(":")[0].strip() not in ("foreach", "fused")]
    mine = repr(ours).replace("0.0\n", "0\n")
    assert mine.splitlines() == [line for line in lines if "differentiable" not in line]
