"""Modules against PyTorch's: layers, the tree of a network, its state dict, its initialisation, and its training."""

from __future__ import annotations

import collections
import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import graphc
import graphc.nn.functional as F
from graphc import nn, optim

pytestmark = pytest.mark.parity

RNG = np.random.default_rng(0)


def arrays(module: Any) -> dict[str, np.ndarray[Any, Any]]:
    """A state dict of PyTorch's, as arrays."""
    return {name: x.detach().numpy() for name, x in module.state_dict().items()}


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.normal(size=shape).astype(np.float32)


def check_layer(ours: nn.Module, theirs: Any, x: np.ndarray[Any, Any], tolerance: float = 1e-5) -> None:
    """Value and all gradients, from the same weights."""
    assert repr(ours) == repr(theirs)
    ours.load_state_dict(arrays(theirs))
    a, b = graphc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(a), theirs(b)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=tolerance, atol=tolerance)
    factor = RNG.normal(size=tuple(y.shape)).astype(x.dtype)
    y.backward(graphc.tensor(factor))
    z.backward(torch.tensor(factor))
    pairs = [(a, b), *zip(ours.parameters(), theirs.parameters(), strict=True)]
    for p, q in pairs:
        assert p.grad is not None
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=10 * tolerance, atol=10 * tolerance)


# --- layers


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (0, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(shape: tuple[int, ...], bias: bool) -> None:
    check_layer(nn.Linear(4, 5, bias=bias), torch.nn.Linear(4, 5, bias=bias), normal(*shape))


@pytest.mark.parametrize("shape", [4, (4,), (3, 4), [2, 3, 4]])
@pytest.mark.parametrize("options", [{}, {"eps": 0.1}, {"bias": False}, {"elementwise_affine": False}], ids=str)
def test_layer_norm(shape: Any, options: dict[str, Any]) -> None:
    ours, theirs = nn.LayerNorm(shape, **options), torch.nn.LayerNorm(shape, **options)
    for p in theirs.parameters():
        torch.nn.init.normal_(p)
    check_layer(ours, theirs, normal(2, 3, 4) * 3 + 1)


def test_layer_norm_of_large_and_constant_rows() -> None:
    x = np.stack([np.full(8, 3.0), normal(8) + 1e4, normal(8) * 1e-6]).astype(np.float32)
    ours, exact = F.layer_norm(graphc.tensor(x), (8,)), torch.nn.functional.layer_norm(torch.tensor(x).double(), (8,))
    # The mean of the second row is a float32 near 1e4, off by up to one of its steps; the others lose nothing.
    for row, tolerance in enumerate([0.0, float(np.spacing(np.float32(1e4))), 1e-5]):
        spread = max(float(x[row].std()), 1e-30)
        allowed = tolerance / spread if row == 1 else tolerance
        np.testing.assert_allclose(ours[row].numpy(), exact[row].numpy(), rtol=1e-5, atol=2 * allowed)
    assert not ours[0].numpy().any()


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_layers_of_half_precisions(name: str) -> None:
    """Computed in float32 and rounded once, so equal but for the last place."""
    ours, theirs = nn.LayerNorm(16), torch.nn.LayerNorm(16)
    ours, theirs = ours.to(getattr(graphc, name)), theirs.to(getattr(torch, name))
    x = normal(5, 16)
    a = ours(graphc.tensor(x, dtype=getattr(graphc, name)))
    b = theirs(torch.tensor(x, dtype=getattr(torch, name)))
    assert a.dtype == getattr(graphc, name)
    tolerance = 2**-9 if name == "float16" else 2**-6
    np.testing.assert_allclose(a.float().detach().numpy(), b.float().detach().numpy(), rtol=tolerance, atol=tolerance)
    linear, reference = nn.Linear(16, 4), torch.nn.Linear(16, 4)
    linear.load_state_dict(arrays(reference))
    a = linear.to(getattr(graphc, name))(graphc.tensor(x, dtype=getattr(graphc, name)))
    b = reference.to(getattr(torch, name))(torch.tensor(x, dtype=getattr(torch, name)))
    np.testing.assert_allclose(
        a.float().detach().numpy(), b.float().detach().numpy(), rtol=4 * tolerance, atol=4 * tolerance
    )


# --- trees of modules


def build(nn: ModuleType) -> Any:
    """The same network in either library: nesting, a shared module, a tied weight, buffers, names that were given."""

    class Block(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, width: int) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(width)
            self.layers = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.25))
            self.register_parameter("scale", None)

    class Net(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("steps", None)
            self.blocks = nn.ModuleList([Block(4), Block(4), Block(6)])
            self.head = nn.Sequential(
                collections.OrderedDict(first=nn.Linear(4, 6), act=nn.GELU(), second=nn.Linear(6, 4))
            )
            self.same = self.head
            self.decoder = nn.Linear(4, 6, bias=False)
            self.decoder.weight = self.head.first.weight
            self.loss = nn.CrossEntropyLoss()
            self.none = None

    return Net()


def test_the_tree() -> None:
    ours, theirs = build(nn), build(torch.nn)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert {k: tuple(v.shape) for k, v in ours.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    assert list(ours.state_dict(prefix="a.b.")) == list(theirs.state_dict(prefix="a.b."))
    for once in (True, False):
        for method in ("named_parameters", "named_buffers", "named_modules"):
            mine, reference = (
                [name for name, _ in getattr(net, method)(prefix="net", remove_duplicate=once)]
                for net in (ours, theirs)
            )
            assert mine == reference, method
    assert [n for n, _ in ours.named_parameters(recurse=False)] == [
        n for n, _ in theirs.named_parameters(recurse=False)
    ]
    assert [n for n, _ in ours.named_children()] == [n for n, _ in theirs.named_children()]
    assert len(list(ours.modules())) == len(list(theirs.modules()))
    order: list[list[str]] = [[], []]
    for net, seen in zip((ours, theirs), order, strict=True):
        net.apply(lambda module, seen=seen: seen.append(type(module).__name__))
    assert order[0] == order[1]


def test_a_state_dict_of_pytorchs_loads() -> None:
    """Its tensors as they are, and as arrays."""
    theirs = build(torch.nn)
    for state in (theirs.state_dict(), arrays(theirs)):
        ours = build(nn)
        assert str(ours.load_state_dict(state)) == "<All keys matched successfully>"
        for name, x in ours.state_dict().items():
            np.testing.assert_array_equal(x.numpy(), theirs.state_dict()[name].numpy())


def test_ours_load_there() -> None:
    ours, theirs = build(nn), build(torch.nn)
    theirs.load_state_dict({name: torch.tensor(x.numpy()) for name, x in ours.state_dict().items()})
    for name, x in theirs.state_dict().items():
        np.testing.assert_array_equal(x.numpy(), ours.state_dict()[name].numpy())


def list_operations(nn: ModuleType, kind: str) -> list[str]:
    """What a container looks like after each of some operations."""
    layers = [nn.Linear(1, n) for n in range(1, 7)]
    container = nn.ModuleList(layers[:3]) if kind == "ModuleList" else nn.Sequential(*layers[:3])
    seen = []

    def look() -> None:
        seen.append(f"{list(container._modules)} {container!r} {len(container)}")

    look()
    container.append(layers[3])
    look()
    container.insert(1, layers[4])
    look()
    container[-1] = nn.ReLU()
    look()
    del container[0]
    look()
    seen.append(repr(container.pop(1)))
    look()
    container.extend([layers[5], nn.Tanh()])
    look()
    seen.append(repr(container[1:]) + str(list(container[1:]._modules)) + repr(container[-2]))
    del container[1:3]
    look()
    container += [nn.Sigmoid()] if kind == "ModuleList" else nn.Sequential(nn.Sigmoid())
    look()
    seen.append(repr(container + type(container)()))
    seen.append(repr([type(m).__name__ for m in container]))
    return seen


@pytest.mark.parametrize("kind", ["ModuleList", "Sequential"])
def test_containers(kind: str) -> None:
    assert list_operations(nn, kind) == list_operations(torch.nn, kind)


# --- initialisation: the same distributions

SHAPE = (300, 200)
INITS: list[tuple[str, dict[str, Any]]] = [
    ("uniform_", {"a": -0.5, "b": 2.0}),
    ("normal_", {"mean": 1.0, "std": 0.3}),
    ("trunc_normal_", {"std": 0.5, "a": -0.5, "b": 0.75}),
    ("trunc_normal_", {"mean": 0.0, "std": 1.0, "a": 1.5, "b": 3.0}),
    ("xavier_uniform_", {"gain": 2.0}),
    ("xavier_normal_", {}),
    ("kaiming_uniform_", {"a": math.sqrt(5)}),
    ("kaiming_uniform_", {"mode": "fan_out", "nonlinearity": "relu"}),
    ("kaiming_normal_", {"nonlinearity": "tanh"}),
    ("kaiming_normal_", {"mode": "fan_out", "a": 0.2}),
    ("constant_", {"val": 0.25}),
    ("ones_", {}),
    ("zeros_", {}),
    ("eye_", {}),
    ("orthogonal_", {"gain": 3.0}),
]


def quantiles(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.quantile(x.astype(np.float64), [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99])


def check_distribution(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> None:
    """Quantiles of two samples of the same size, to five standard errors of a quantile of a smooth density."""
    assert ours.shape == theirs.shape
    spread = float(theirs.std()) or 1.0
    error = 5 * 8 * spread / math.sqrt(theirs.size)
    np.testing.assert_allclose(quantiles(ours), quantiles(theirs), rtol=0, atol=error)
    np.testing.assert_allclose(ours.mean(), theirs.mean(), rtol=0, atol=8 * spread / math.sqrt(theirs.size))
    np.testing.assert_allclose(ours.std(), theirs.std(), rtol=0.03)


@pytest.mark.parametrize(("name", "options"), INITS, ids=str)
def test_init(name: str, options: dict[str, Any]) -> None:
    graphc.manual_seed(1)
    torch.manual_seed(1)
    a = getattr(nn.init, name)(graphc.empty(SHAPE), **options).numpy()
    b = getattr(torch.nn.init, name)(torch.empty(SHAPE), **options).numpy()
    check_distribution(a, b)
    if "uniform" in name or "trunc" in name:  # bounds
        width = float(b.max() - b.min())
        assert abs(a.min() - b.min()) < 1e-3 * width
        assert abs(a.max() - b.max()) < 1e-3 * width


@pytest.mark.parametrize("shape", [(4, 5, 3, 2), (6, 2, 3)])
def test_init_of_weights_with_a_receptive_field(shape: tuple[int, ...]) -> None:
    """The bound of a uniform distribution, which has the fan in it, from its largest element over many draws."""
    for name, options in [("kaiming_uniform_", {}), ("kaiming_uniform_", {"mode": "fan_out"}), ("xavier_uniform_", {})]:
        a, b = (
            max(float(abs(getattr(T.nn.init, name)(T.empty(shape), **options).numpy()).max()) for _ in range(40))
            for T in (graphc, torch)
        )
        assert abs(a - b) < 0.01 * b


@pytest.mark.parametrize("shape", [(8, 5), (5, 8), (4, 2, 3), (5, 5)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    found = nn.init.orthogonal_(graphc.empty(shape), gain=2.0).numpy().reshape(shape[0], -1)
    small = found @ found.T if found.shape[0] <= found.shape[1] else found.T @ found
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-5)


@pytest.mark.parametrize("nonlinearity", ["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gains(nonlinearity: str) -> None:
    assert nn.init.calculate_gain(nonlinearity) == torch.nn.init.calculate_gain(nonlinearity)
    assert nn.init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


@pytest.mark.parametrize("size", [(400, 100), (50, 800)])
def test_default_initialisation_of_linear(size: tuple[int, int]) -> None:
    graphc.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = nn.Linear(*size), torch.nn.Linear(*size)
    check_distribution(ours.weight.detach().numpy(), theirs.weight.detach().numpy())
    bound = 1 / math.sqrt(size[0])
    for p in ours.parameters():
        assert 0.97 * bound < np.abs(p.detach().numpy()).max() <= bound


# --- training


class Recipe:
    """A network, its loss and optimizer in either library, and the data."""

    def __init__(self, name: str, net: Any, loss: str, optimizer: str, options: dict[str, Any], integer: bool):
        self.name, self.net, self.loss, self.optimizer, self.options = name, net, loss, optimizer, options
        self.integer = integer


RECIPES = [
    Recipe(
        "classifier",
        lambda nn: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)),
        "CrossEntropyLoss",
        "Adam",
        {"lr": 0.01},
        True,
    ),
    Recipe(
        "normalised",
        lambda nn: nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 4)),
        "MSELoss",
        "AdamW",
        {"lr": 0.01},
        False,
    ),
    Recipe(
        "smooth",
        lambda nn: nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 4), nn.Softplus()),
        "SmoothL1Loss",
        "SGD",
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
        False,
    ),
    Recipe(
        "logits",
        lambda nn: nn.Sequential(nn.Linear(6, 16), nn.SiLU(), nn.Linear(16, 4)),
        "BCEWithLogitsLoss",
        "RMSprop",
        {"lr": 0.01, "centered": True},
        False,
    ),
    Recipe(
        "likelihood",
        lambda nn: nn.Sequential(nn.Linear(6, 16), nn.Sigmoid(), nn.Linear(16, 4), nn.LogSoftmax(1)),
        "NLLLoss",
        "Adagrad",
        {"lr": 0.1},
        True,
    ),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.name)
def test_training(recipe: Recipe) -> None:
    ours, theirs = recipe.net(nn), recipe.net(torch.nn)
    ours.load_state_dict(theirs.state_dict())
    ends = []
    for net, module, library in ((ours, nn, optim), (theirs, torch.nn, torch.optim)):
        T = graphc if module is nn else torch
        optimizer = getattr(library, recipe.optimizer)(net.parameters(), **recipe.options)
        criterion = getattr(module, recipe.loss)()
        rng = np.random.default_rng(5)
        losses = []
        for _ in range(12):
            x = T.tensor(rng.normal(size=(8, 6)).astype(np.float32))
            y = T.tensor(rng.integers(0, 4, size=8) if recipe.integer else rng.random((8, 4)).astype(np.float32))
            optimizer.zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        ends.append(losses)
    np.testing.assert_allclose(ends[0], ends[1], rtol=2e-5)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-3, atol=2e-5)


def test_frozen_parameters() -> None:
    ends = []
    start = arrays(torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)))
    for T, module, library in ((graphc, nn, optim), (torch, torch.nn, torch.optim)):
        net = module.Sequential(module.Linear(3, 3), module.Linear(3, 3))
        net.load_state_dict({k: T.tensor(v) for k, v in start.items()})
        net[0].requires_grad_(False)
        optimizer = library.SGD(net.parameters(), lr=0.1)
        net(T.ones(2, 3)).sum().backward()
        optimizer.step()
        assert net[0].weight.grad is None
        ends.append([p.detach().numpy() for p in net.parameters()])
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
