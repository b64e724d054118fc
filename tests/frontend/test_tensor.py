"""Tensors as objects: what they are, how they print, and their exchange with Python and NumPy."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import graphc
from graphc import nn


def test_properties() -> None:
    x = graphc.zeros(2, 3, dtype=graphc.float64)
    assert x.shape == (2, 3)
    assert x.shape.numel() == 6
    assert (x.size(), x.size(1), x.size(-1)) == ((2, 3), 3, 3)
    assert (x.ndim, x.dim(), x.numel(), len(x), x.itemsize, x.nbytes) == (2, 2, 6, 2, 8, 48)
    assert (x.dtype, x.device) == (graphc.float64, "cpu")
    assert x.is_floating_point()
    assert x.is_leaf
    assert not x.t().is_contiguous()
    assert x.t().contiguous().is_contiguous()
    assert graphc.is_tensor(x)
    assert not graphc.is_tensor(x.numpy())
    assert x.cpu() is x
    assert x.to(graphc.float64) is x
    assert x.to("cpu", copy=True) is not x


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (graphc.tensor([1.0, 2.0]), "tensor([1., 2.])"),
        (graphc.tensor([1, 2]), "tensor([1, 2])"),
        (graphc.tensor(2.5), "tensor(2.5000)"),
        (graphc.tensor([True]), "tensor([ True])"),
        (graphc.tensor([1.0], dtype=graphc.float64), "tensor([1.], dtype=graphc.float64)"),
        (graphc.tensor([0.5, 1.25], dtype=graphc.bfloat16), "tensor([0.5000, 1.2500], dtype=graphc.bfloat16)"),
        (graphc.tensor([[1, 2], [3, 4]], dtype=graphc.int8), "tensor([[1, 2],\n        [3, 4]], dtype=graphc.int8)"),
        (graphc.zeros(0), "tensor([])"),
        (graphc.zeros(0, 3), "tensor([], size=(0, 3))"),
        (graphc.ones(2, requires_grad=True), "tensor([1., 1.], requires_grad=True)"),
        (graphc.ones(2, requires_grad=True) * 2, "tensor([2., 2.], grad_fn=<mul>)"),
        (nn.Parameter(graphc.ones(1)), "Parameter containing:\ntensor([1.], requires_grad=True)"),
    ],
)
def test_repr(x: Any, text: str) -> None:
    assert repr(x) == str(x) == text


def test_numbers() -> None:
    assert graphc.tensor(3).item() == 3
    assert isinstance(graphc.tensor(3).item(), int)
    assert graphc.tensor([[2.5]]).item() == 2.5
    assert graphc.tensor(True).item() is True
    assert isinstance(graphc.tensor(1.5, dtype=graphc.bfloat16).item(), float)
    assert float(graphc.tensor(3)) == 3.0
    assert int(graphc.tensor(3.7)) == 3
    assert [10, 20][graphc.tensor(1)] == 20
    assert f"{graphc.tensor(1.23456):.2f}" == "1.23"
    assert bool(graphc.tensor([1]))
    assert 2.0 in graphc.tensor([1.0, 2.0])
    assert graphc.tensor([[1, 2]], dtype=graphc.bfloat16).tolist() == [[1.0, 2.0]]
    with pytest.raises(graphc.ShapeError, match="has 2 elements, not one"):
        graphc.ones(2).item()
    with pytest.raises(graphc.ShapeError, match="ambiguous; use any"):
        bool(graphc.ones(2))
    with pytest.raises(graphc.DTypeError, match="only integer tensors"):
        _ = [1][graphc.tensor(0.0)]
    with pytest.raises(TypeError, match="without dimensions"):
        len(graphc.tensor(1))
    with pytest.raises(TypeError, match="without dimensions"):
        iter(graphc.tensor(1))


def test_from_numpy_shares_memory() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    x = graphc.from_numpy(array)
    x[0, 0] = 7.0
    array[1, 1] = 9.0
    assert array[0, 0] == 7.0
    assert x[1, 1].item() == 9.0
    assert np.shares_memory(np.asarray(x), array)
    assert np.shares_memory(x.numpy(), array)
    assert not np.shares_memory(np.array(x), array)
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert not np.shares_memory(graphc.tensor(array).numpy(), array)
    assert np.shares_memory(graphc.as_tensor(array).numpy(), array)
    with pytest.raises(TypeError, match="complex64 is not supported; use one of float16"):
        graphc.from_numpy(np.zeros(2, np.complex64))
    with pytest.raises(TypeError, match="takes a NumPy array, got list"):
        graphc.from_numpy([1.0])


def test_numpys_functions_and_operators() -> None:
    x = graphc.tensor([1.0, 2.0])
    assert isinstance(np.ones(2, np.float32) * x, graphc.Tensor)
    assert (np.ones(2, np.float32) + x).tolist() == [2.0, 3.0]
    assert (x - np.float32(1)).dtype == graphc.float32
    assert np.exp(x).dtype == np.float32
    assert graphc.tensor(np.array([1, 2], ml_dtypes.bfloat16)).dtype == graphc.bfloat16
    leaf = graphc.ones(2, requires_grad=True)
    for look in (lambda: leaf.numpy(), lambda: np.asarray(leaf), lambda: leaf.__dlpack__()):
        with pytest.raises(graphc.AutogradError, match="detach"):
            look()
    assert leaf.numpy(force=True).tolist() == [1.0, 1.0]


def test_dlpack_within_numpy() -> None:
    x = graphc.arange(4, dtype=graphc.int32)
    shared = np.from_dlpack(x)
    x[0] = 5
    assert shared.tolist() == [5, 1, 2, 3]
    assert graphc.from_dlpack(np.arange(3.0)).dtype == graphc.float64
    assert x.__dlpack_device__() == (1, 0)
    with pytest.raises(graphc.DTypeError, match="bf16"):
        graphc.ones(2, dtype=graphc.bfloat16).__dlpack__()


def test_data_of_tensor() -> None:
    x = graphc.tensor([graphc.tensor(1.0), graphc.tensor(2.0)])
    assert x.tolist() == [1.0, 2.0]
    assert graphc.tensor(x).tolist() == [1.0, 2.0]
    assert graphc.tensor(range(3)).dtype == graphc.int64
    for data, kind in (([[1], [1, 2]], graphc.ShapeError), (["a"], graphc.DTypeError), ([1j], graphc.DTypeError)):
        with pytest.raises(kind):
            graphc.tensor(data)
    with pytest.raises(TypeError, match="'float8' is not supported"):
        graphc.zeros(2, dtype="float8")  # type: ignore[arg-type]
    assert graphc.zeros(2, dtype=float).dtype == graphc.float32  # type: ignore[arg-type]
    assert graphc.zeros(2, dtype=np.float64).dtype == graphc.float64  # type: ignore[arg-type]


def test_devices() -> None:
    with pytest.raises(graphc.AttributeValueError, match="device 'cuda' is not available"):
        graphc.zeros(2, device="cuda")
    with pytest.raises(graphc.AttributeValueError, match="device 'cuda' is not available"):
        graphc.zeros(2).cuda()
    assert graphc.zeros(2, device="cpu").device == "cpu"


def test_copies() -> None:
    x = graphc.tensor([1.0, 2.0], requires_grad=True)
    x.grad = graphc.ones(2)
    for made in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert made.tolist() == x.tolist()
        assert made.requires_grad
        assert not np.shares_memory(made.numpy(force=True), x.numpy(force=True))
    assert copy.deepcopy(x).grad.tolist() == [1.0, 1.0]
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    again = copy.deepcopy(tied)
    assert again[0].weight is again[1].weight
    assert isinstance(again[0].weight, nn.Parameter)
    with pytest.raises(graphc.AutogradError, match="only leaf tensors"):
        copy.deepcopy(x * 2)


def test_leaves() -> None:
    x = graphc.ones(2)
    with pytest.raises(graphc.DTypeError, match="only tensors of a float type can require gradients, got i64"):
        graphc.ones(2, dtype=graphc.int64).requires_grad_()
    y = x.requires_grad_() * 2
    with pytest.raises(graphc.AutogradError, match="leaf tensors only"):
        y.requires_grad_(False)
    with pytest.raises(graphc.DTypeError, match="must be of that type"):
        x.grad = graphc.ones(3)
    assert y.detach_().is_leaf
    assert not y.requires_grad


def test_assigning_data() -> None:
    p = nn.Parameter(graphc.ones(2))
    memory = p.data
    p.data = graphc.zeros(2)
    assert memory.tolist() == [0.0, 0.0]
    p.data = graphc.ones(3)
    assert p.shape == (3,)
    assert p.requires_grad
    assert memory.shape == (2,)


def test_sizes_of_shapes_are_checked() -> None:
    for make in (lambda: graphc.zeros(2, -1), lambda: graphc.zeros(2).reshape(-1, -1), lambda: graphc.zeros(2).view(3)):
        with pytest.raises(graphc.ShapeError):
            make()
    with pytest.raises(TypeError, match=r"sizes must be integers, got 2\.5"):
        graphc.zeros(2.5)
    with pytest.raises(graphc.OutOfRangeError, match="dimension 2 does not exist in a tensor of 1 dimensions"):
        graphc.zeros(2).sum(2)
    with pytest.raises(graphc.AttributeValueError, match="appears twice"):
        graphc.zeros(2, 2).sum((0, -2))


@pytest.mark.parametrize(
    "index", [2, -3, (0, 3), (slice(None, None, -1),), (0, 0, 0), "a", 1.5, (..., ...), graphc.tensor([0.5]), True]
)
def test_bad_indices(index: Any) -> None:
    with pytest.raises((graphc.GraphcError, IndexError)):
        graphc.zeros(2, 3)[index]


def test_indices_out_of_range() -> None:
    for index in (graphc.tensor([0, 2]), graphc.tensor([-3])):
        with pytest.raises(graphc.OutOfRangeError):
            graphc.zeros(2, 3)[index]
        with pytest.raises(graphc.OutOfRangeError):
            graphc.zeros(2, 3)[index] = 1.0


def test_writes_that_cannot_be() -> None:
    with pytest.raises(graphc.AutogradError, match="several of its elements are one"):
        graphc.zeros(1).expand(3).add_(1)
    array = np.zeros(2, np.float32)
    array.flags.writeable = False
    with pytest.raises(graphc.AutogradError, match="read-only"):
        graphc.from_numpy(array).add_(1)
    with pytest.raises(graphc.ShapeError, match="does not fit the part of shape"):
        graphc.zeros(2, 3)[0] = graphc.ones(2)
    with pytest.raises(ZeroDivisionError):
        graphc.tensor(1) // graphc.tensor(0)


def test_random_numbers() -> None:
    a, b = graphc.Generator(5), graphc.Generator(5)
    assert graphc.rand(4, generator=a).tolist() == graphc.rand(4, generator=b).tolist()
    state = a.get_state()
    first = graphc.randn(3, generator=a).tolist()
    a.set_state(state)
    assert graphc.randn(3, generator=a).tolist() == first
    whole = graphc.rand(6, generator=graphc.Generator(1)).tolist()
    parts = graphc.Generator(1)
    assert [*graphc.rand(2, generator=parts).tolist(), *graphc.rand(4, generator=parts).tolist()] == whole
    assert graphc.manual_seed(-3).initial_seed() == 2**64 - 3
    assert graphc.initial_seed() == 2**64 - 3
    assert a.seed() != b.seed()
    state = graphc.get_rng_state()
    values = graphc.rand(2).tolist()
    graphc.set_rng_state(state)
    assert graphc.rand(2).tolist() == values


def test_distributions() -> None:
    graphc.manual_seed(0)
    u = graphc.empty(4000).uniform_(-1, 3)
    assert (u >= -1).all()
    assert (u < 3).all()
    assert abs(u.mean().item() - 1) < 0.1
    n = graphc.normal(2.0, 3.0, (4000,))
    assert abs(n.mean().item() - 2) < 0.2
    assert abs(n.std().item() - 3) < 0.2
    assert abs(graphc.bernoulli(graphc.full((4000,), 0.25)).mean().item() - 0.25) < 0.05
    assert abs(graphc.zeros(4000).bernoulli_(0.75).mean().item() - 0.75) < 0.05
    i = graphc.randint(-2, 3, (1000,))
    assert set(i.tolist()) == {-2, -1, 0, 1, 2}
    assert set(graphc.randint(2, (100,)).tolist()) == {0, 1}
    assert sorted(graphc.randperm(20).tolist()) == list(range(20))
    assert graphc.randn_like(u).shape == u.shape
    for bad in (
        lambda: graphc.randint(3, 3, (1,)),
        lambda: graphc.randint(0, 2**60, (1,)),
        lambda: graphc.randint(0, 3),
    ):
        with pytest.raises(graphc.AttributeValueError):
            bad()


def test_grad_mode() -> None:
    x = graphc.ones(2, requires_grad=True)

    @graphc.no_grad()
    def plain() -> Any:
        return x * 2

    @graphc.enable_grad()
    def recorded() -> Any:
        return x * 2

    with graphc.no_grad():
        assert not graphc.is_grad_enabled()
        assert recorded().requires_grad
        with graphc.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert not plain().requires_grad
    assert graphc.no_grad(lambda: x * 2)().requires_grad is False
    with pytest.raises(KeyError), graphc.no_grad():
        raise KeyError
    assert graphc.is_grad_enabled()
    graphc.set_grad_enabled(False)
    assert not graphc.is_grad_enabled()
    graphc.set_grad_enabled(True)
    with graphc.set_grad_enabled(False):
        assert not graphc.is_grad_enabled()
    assert graphc.is_grad_enabled()
