"""Module: attributes, registration, traversal, conversion, state dicts."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import AttributeValueError, DTypeError, StateError
from graphc.tensors.tensor import Tensor


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(3, 4)
        self.fc2 = nn.Linear(4, 2, bias=False)
        self.register_buffer("count", graphc.zeros(2, dtype=graphc.int64))
        self.register_buffer("cache", graphc.ones(3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.relu(self.fc1(x)))


# --- attributes


def test_assignment_registers_by_kind() -> None:
    net = nn.Module()
    net.weight = nn.Parameter(graphc.zeros(2))
    net.child = nn.ReLU()
    net.plain = graphc.zeros(2)
    net.number = 3
    assert list(net._parameters) == ["weight"]
    assert list(net._modules) == ["child"]
    assert net.plain is net.__dict__["plain"]
    assert net.number == 3
    net.child = nn.Parameter(graphc.ones(1))  # another kind takes the name over
    assert list(net._modules) == []
    assert list(net._parameters) == ["weight", "child"]
    net.plain = nn.Tanh()
    assert "plain" not in net.__dict__
    net.number = nn.Parameter(graphc.zeros(1))
    assert list(net._parameters) == ["weight", "child", "number"]


@pytest.mark.parametrize("name", ["weight", "buffer", "child"])
def test_none_keeps_the_place(name: str) -> None:
    net = nn.Module()
    net.weight = nn.Parameter(graphc.zeros(2))
    net.register_buffer("buffer", graphc.zeros(2))
    net.child = nn.ReLU()
    old = getattr(net, name)
    setattr(net, name, None)
    assert getattr(net, name) is None
    assert name not in net.state_dict()
    assert list(net.parameters()) == ([] if name == "weight" else [net.weight])
    setattr(net, name, old)
    assert any(name in registry for registry in (net._parameters, net._buffers, net._modules))


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("weight", 3, "cannot assign int to 'weight' of Module, one of its parameters: it must be a Parameter or None"),
        ("weight", graphc.zeros(2), "cannot assign Tensor to 'weight' of Module, one of its parameters"),
        ("buffer", 2.0, "cannot assign float to 'buffer' of Module, one of its buffers: it must be a Tensor or None"),
        ("child", graphc.zeros(1), "cannot assign Tensor to 'child' of Module, one of its modules"),
    ],
)
def test_a_place_holds_its_kind(name: str, value: Any, text: str) -> None:
    net = nn.Module()
    net.weight = nn.Parameter(graphc.zeros(2))
    net.register_buffer("buffer", graphc.zeros(2))
    net.child = nn.ReLU()
    old = getattr(net, name)
    with pytest.raises(TypeError, match=text):
        setattr(net, name, value)
    assert getattr(net, name) is old


def test_a_buffer_takes_another_tensor() -> None:
    net = Net()
    net.count = graphc.ones(2, dtype=graphc.int64)
    assert list(net._buffers) == ["count", "cache"]
    assert net.state_dict()["count"].tolist() == [1, 1]


def test_deletion() -> None:
    net = Net()
    del net.fc2, net.count, net.cache
    net.cache = graphc.ones(2)
    assert list(net.state_dict()) == ["fc1.weight", "fc1.bias"]
    with pytest.raises(AttributeError):
        _ = net.fc2
    with pytest.raises(AttributeError):
        del net.fc2
    net.register_buffer("count", graphc.ones(1))
    assert "count" in net.state_dict()


def test_a_buffer_that_was_not_persistent_can_become_so() -> None:
    net = Net()
    assert list(net.state_dict()) == ["count", "fc1.weight", "fc1.bias", "fc2.weight"]
    net.register_buffer("cache", graphc.ones(3))
    assert "cache" in net.state_dict()
    net.register_buffer("cache", graphc.ones(3), persistent=False)
    net.cache = nn.Parameter(graphc.ones(3))
    assert "cache" in net.state_dict()


def test_properties_of_a_class_keep_working() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self._scale = 1

        @property
        def scale(self) -> int:
            return self._scale

        @scale.setter
        def scale(self, value: int) -> None:
            self._scale = 2 * value

    net = Scaled()
    net.scale = 4
    assert net.scale == 8
    assert "scale" not in net.__dict__


def test_init_must_come_first() -> None:
    class Hasty(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.ReLU()

    with pytest.raises(AttributeError, match=r"Hasty.__init__ must call super\(\).__init__\(\) first"):
        Hasty()


def test_an_attribute_that_is_missing_is_named() -> None:
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'fc3'"):
        _ = Net().fc3
    assert "fc1" in dir(Net())


@pytest.mark.parametrize("register", ["register_parameter", "register_buffer", "add_module", "register_module"])
def test_names_that_cannot_be_registered(register: str) -> None:
    net = Net()
    for name in ("", "a.b"):
        with pytest.raises(KeyError, match="is empty or has a dot"):
            getattr(net, register)(name, None)
    with pytest.raises(KeyError, match="attribute 'training' exists already"):
        getattr(net, register)("training", None)
    with pytest.raises(TypeError, match=r"cannot register int under 'x' among the (parameters|buffers|modules)"):
        getattr(net, register)("x", 3)


def test_forward_that_is_missing() -> None:
    with pytest.raises(NotImplementedError, match=r"Module does not define forward\(\)"):
        nn.Module()(1)


# --- finding parts


def test_get_by_path() -> None:
    net = nn.Sequential(Net(), nn.ReLU())
    assert net.get_submodule("0.fc1") is net[0].fc1
    assert net.get_submodule("") is net
    assert net.get_parameter("0.fc1.weight") is net[0].fc1.weight
    assert net.get_buffer("0.count") is net[0].count
    for call, path, text in [
        (net.get_submodule, "0.fc3", "Net has no module 'fc3'"),
        (net.get_parameter, "0.fc2.bias", "Linear has no parameter 'bias'"),
        (net.get_buffer, "0.fc1.weight", "Linear has no buffer 'weight'"),
    ]:
        with pytest.raises(AttributeError, match=text):
            call(path)


def test_what_is_shared_is_found_once() -> None:
    net = Net()
    pair = nn.ModuleList([net, net])
    pair.weight = net.fc1.weight
    assert [n for n, _ in pair.named_parameters()] == ["weight", "0.fc1.bias", "0.fc2.weight"]
    assert len(list(pair.children())) == 1
    assert sum("fc1.weight" in n for n in pair.state_dict()) == 2


# --- modes


def test_train_and_eval_reach_everything_and_can_be_overridden() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Dropout()

        def train(self, mode: bool = True) -> Frozen:
            return super().train(False)

    net = nn.Sequential(nn.Dropout(), Frozen())
    assert net.train() is net
    assert [m.training for m in net.modules()] == [True, True, False, False]
    net.eval()
    assert not any(m.training for m in net.modules())
    with pytest.raises(ValueError, match=r"train\(\) takes True or False, got 'yes'"):
        net.train("yes")  # type: ignore[arg-type]


def test_requires_grad_and_zero_grad() -> None:
    net = Net().requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    net.requires_grad_()
    net(graphc.ones(2, 3)).sum().backward()
    grad = net.fc1.weight.grad
    net.zero_grad(set_to_none=False)
    assert net.fc1.weight.grad is grad
    assert grad is not None
    assert not grad.numpy().any()
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_apply_goes_from_the_leaves_up() -> None:
    seen: list[str] = []
    nn.Sequential(nn.ReLU(), nn.Sequential(nn.Tanh())).apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["ReLU", "Tanh", "Sequential", "Sequential"]


# --- conversion


@pytest.mark.parametrize(
    "convert",
    [
        lambda net: net.double(),
        lambda net: net.to(graphc.float64),
        lambda net: net.to(dtype=graphc.float64),
        lambda net: net.to("cpu", graphc.float64),
        lambda net: net.to(graphc.zeros(1, dtype=graphc.float64)),
    ],
)
def test_conversion_of_the_element_type(convert: Any) -> None:
    net = Net()
    net.fc1.weight.requires_grad_(False)
    before = net.fc1.weight.tolist()
    net(graphc.ones(1, 3)).sum().backward()
    weight = net.fc2.weight
    assert convert(net) is net
    assert {p.dtype for p in net.parameters()} == {graphc.float64}
    assert net.fc2.weight is weight
    assert weight.requires_grad
    assert not net.fc1.weight.requires_grad
    assert net.fc1.weight.tolist() == before
    assert net.count.dtype == graphc.int64
    assert net.cache.dtype == graphc.float64
    assert weight.grad is not None
    assert weight.grad.dtype == graphc.float64
    out = net(graphc.ones(1, 3, dtype=graphc.float64))
    assert out.dtype == graphc.float64
    out.sum().backward()


def test_conversion_keeps_ties() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    net.half()
    assert net[1].weight is net[0].weight
    assert net[0].weight.dtype == graphc.float16
    assert net.bfloat16().float()[0].weight.dtype == graphc.float32


def test_conversions_that_do_not_exist() -> None:
    with pytest.raises(DTypeError, match=r"test_module.py:\d+: Net.to takes float types, got i64"):
        Net().to(graphc.int64)
    for move in (lambda net: net.cuda(), lambda net: net.to("cuda"), lambda net: net.to(device="cuda:0")):
        with pytest.raises(AttributeValueError, match="'cpu' only"):
            move(Net())
    net = Net()
    assert net.cpu().to("cpu") is net


# --- state dicts


def test_state_dict_shows_the_memory() -> None:
    net = Net()
    state = net.state_dict()
    assert list(state) == ["count", "fc1.weight", "fc1.bias", "fc2.weight"]
    assert not any(x.requires_grad for x in state.values())
    state["fc1.bias"].fill_(3)
    assert net.fc1.bias is not None
    assert net.fc1.bias.tolist() == [3.0] * 4
    assert net.state_dict(keep_vars=True)["fc1.bias"] is net.fc1.bias


@pytest.mark.parametrize("arrays", [True, False])
def test_loading_copies_into_the_memory_that_is_there(arrays: bool) -> None:
    source, net = Net(), Net()
    memory = {n: (x, x.detach().numpy()) for n, x in net.named_parameters()}
    state: dict[str, Any] = source.state_dict()
    if arrays:
        state = {n: x.numpy().astype(np.float64 if x.is_floating_point() else np.int32) for n, x in state.items()}
    result = net.load_state_dict(state)
    assert result.missing_keys == result.unexpected_keys == []
    for name, p in net.named_parameters():
        assert p is memory[name][0]
        assert np.shares_memory(p.detach().numpy(), memory[name][1])
        assert p.requires_grad
        np.testing.assert_array_equal(p.detach().numpy(), source.state_dict()[name].numpy())
    assert net.count.dtype == graphc.int64


def test_everything_that_does_not_fit_is_listed_and_nothing_changes() -> None:
    net = Net()
    before = {n: x.tolist() for n, x in net.state_dict().items()}
    state: dict[str, Any] = {n: graphc.full_like(x, 7) for n, x in net.state_dict().items()}
    del state["fc1.bias"], state["count"]
    state["fc1.weight"] = graphc.zeros(4, 5)
    state["fc2.weight"] = [1.0, 2.0]
    state["fc9.weight"] = graphc.zeros(1)
    with pytest.raises(StateError) as info:
        net.load_state_dict(state)
    message = str(info.value)
    assert "test_module.py:" in message
    for part in (
        "the state dict does not fit Net",
        "missing: count, fc1.bias",
        "unexpected: fc9.weight",
        "fc1.weight has shape [4, 5], needed [4, 3]",
        "fc2.weight is a list, needed a tensor or an array",
    ):
        assert part in message
    assert {n: x.tolist() for n, x in net.state_dict().items()} == before


def test_entries_that_cannot_be_read() -> None:
    net = nn.Linear(1, 1, bias=False)
    for entry in (np.array([["a"]]), np.array([[1j]])):
        with pytest.raises(StateError, match="weight cannot be read"):
            net.load_state_dict({"weight": entry})


def test_loading_what_is_there_only() -> None:
    net = Net()
    bias = graphc.full((4,), 7.0)
    result = net.load_state_dict({"fc1.bias": bias, "extra": bias}, strict=False)
    assert result.missing_keys == ["count", "fc1.weight", "fc2.weight"]
    assert result.unexpected_keys == ["extra"]
    assert "missing_keys=['count'" in repr(result)
    assert net.fc1.bias is not None
    assert net.fc1.bias.tolist() == [7.0] * 4
    with pytest.raises(StateError, match=r"fc1.bias has shape \[1\], needed \[4\]"):
        net.load_state_dict({"fc1.bias": graphc.zeros(1)}, strict=False)


def test_weights_that_are_tied_are_saved_under_both_names() -> None:
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    net[1].weight = net[0].weight
    state = net.state_dict()
    assert list(state) == ["0.weight", "1.weight"]
    net.load_state_dict({name: graphc.full((2, 2), 5.0) for name in state})
    assert net[1].weight is net[0].weight
    assert net[0].weight.tolist() == [[5.0] * 2] * 2
    with pytest.raises(StateError, match=r"missing: 1\.weight"):
        net.load_state_dict({"0.weight": state["0.weight"]})


def test_loading_counts_as_a_write() -> None:
    """An eager backward pass over weights that were loaded since is refused."""
    net = Net()
    loss = net(graphc.ones(1, 3, requires_grad=True)).sum()
    net.load_state_dict(Net().state_dict())
    with pytest.raises(graphc.errors.AutogradError, match="written in place"):
        loss.backward()


# --- parameters


def test_parameter() -> None:
    p = nn.Parameter(graphc.tensor([1.0, 2.0]))
    assert isinstance(p, Tensor)
    assert p.requires_grad
    assert p.is_leaf
    assert repr(p) == "Parameter containing:\ntensor([1., 2.], requires_grad=True)"
    assert not nn.Parameter(graphc.zeros(2, dtype=graphc.int64), requires_grad=False).requires_grad
    with pytest.raises(DTypeError, match="float"):
        nn.Parameter(graphc.zeros(2, dtype=graphc.int64))
    assert nn.Parameter([1, 2.5]).tolist() == [1.0, 2.5]
    assert not isinstance(p * 2, nn.Parameter)
    assert not isinstance(p.detach(), nn.Parameter)


def test_a_parameter_shares_the_memory_of_its_tensor() -> None:
    data = graphc.zeros(2)
    p = nn.Parameter(data)
    data.fill_(3)
    assert p.tolist() == [3.0, 3.0]


# --- copies


def test_deep_copies_keep_ties_and_stand_alone() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    net.register_buffer("seen", graphc.zeros(1), persistent=False)
    other = copy.deepcopy(net)
    assert other[1].weight is other[0].weight
    assert isinstance(other[0].weight, nn.Parameter)
    assert other[0].weight.requires_grad
    with graphc.no_grad():
        other[0].weight.fill_(9)
    assert net[0].weight.tolist() != other[0].weight.tolist()
    assert list(other.state_dict()) == list(net.state_dict())


def test_pickling() -> None:
    net = Net().eval()
    other = pickle.loads(pickle.dumps(net))
    assert not other.training
    assert repr(other) == repr(net)
    assert other.fc1.weight.tolist() == net.fc1.weight.tolist()
    assert isinstance(other.fc1.weight, nn.Parameter)


# --- printing


def test_repr_of_several_lines() -> None:
    class Wordy(nn.Module):
        def extra_repr(self) -> str:
            return "first\nsecond"

    assert repr(Wordy()) == "Wordy(\n  first\n  second\n)"
    assert repr(nn.Sequential(Wordy())) == "Sequential(\n  (0): Wordy(\n    first\n    second\n  )\n)"
    net = Wordy()
    net.inner = nn.ReLU()
    assert repr(net) == "Wordy(\n  first\n  second\n  (inner): ReLU()\n)"


def test_a_slice_that_grows_keeps_its_modules() -> None:
    """PyTorch's append would replace the last module of a slice that kept its names."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Tanh())[1:].append(nn.Sigmoid())
    assert [type(m).__name__ for m in net] == ["ReLU", "Tanh", "Sigmoid"]


def test_indices_out_of_range() -> None:
    for container in (nn.Sequential(nn.ReLU()), nn.ModuleList([nn.ReLU()])):
        for index in (1, -2):
            with pytest.raises(
                IndexError, match=f"index {index} is out of range: the {type(container).__name__} has 1"
            ):
                _ = container[index]
        with pytest.raises(TypeError, match="cannot register int"):
            container.append(3)  # type: ignore[arg-type]
