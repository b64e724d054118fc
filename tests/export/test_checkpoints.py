"""graphc.save and graphc.load."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graphc
from graphc import nn, optim
from graphc.errors import TracingError
from graphc.runtime.checkpoint import CheckpointError, read_arrays, write_arrays
from graphc.runtime.memory import address_of


def same(a: Any, b: Any) -> bool:
    """Equal in values, in types of containers and numbers, and in dtypes and shapes of tensors."""
    if isinstance(a, (graphc.Tensor, np.ndarray)):
        x, y = np.asarray(a), np.asarray(b)
        return isinstance(b, graphc.Tensor) and x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    return type(a) is type(b) and a == b


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.safetensors"


def test_state_dict_is_a_plain_file(path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    graphc.save(net.state_dict(), path)
    found = safetensors.numpy.load_file(path)
    assert found.keys() == {"0.weight", "0.bias", "2.weight", "2.bias"}
    np.testing.assert_array_equal(found["2.weight"], net[2].weight.detach().numpy())
    assert read_arrays(path)[1] == {}
    fresh = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    fresh.load_state_dict(graphc.load(path))
    x = graphc.randn(5, 3)
    assert graphc.equal(net(x), fresh(x))


def test_loaded_tensors_can_be_worked_in(path: Path) -> None:
    graphc.save({"a": graphc.arange(10), "b": graphc.ones(3, requires_grad=True)}, path)
    found = graphc.load(path)
    for tensor in found.values():
        assert not tensor.requires_grad
        assert tensor.numpy().flags.writeable
        assert address_of(tensor.numpy()) % 64 == 0
    found["a"] += 1
    assert found["a"].tolist() == list(range(1, 11))


def test_training_goes_on_after_a_restart(path: Path) -> None:
    def made() -> tuple[nn.Module, Any]:
        graphc.manual_seed(1)
        net = nn.Linear(4, 3)
        return net, optim.Adam(net.parameters(), lr=0.05)

    def train(net: nn.Module, optimizer: Any, steps: int) -> list[float]:
        losses = []
        for i in range(steps):
            x = graphc.tensor(np.random.default_rng(i).normal(size=(8, 4)).astype(np.float32))
            optimizer.zero_grad()
            loss = (net(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    net, optimizer = made()
    train(net, optimizer, 3)
    graphc.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, path)
    expected = train(net, optimizer, 3)
    again, other = made()
    checkpoint = graphc.load(path)
    assert checkpoint["epoch"] == 3
    again.load_state_dict(checkpoint["model"])
    other.load_state_dict(checkpoint["optimizer"])
    assert train(again, other, 3) == expected
    names = read_arrays(path)[0].keys()
    assert {"model.weight", "optimizer.state.0.exp_avg", "optimizer.state.1.step"} <= names


@pytest.mark.parametrize(
    "obj",
    [
        {},
        [],
        (),
        None,
        3,
        "text",
        -0.0,
        [True, 1, 1.0, "1", None],
        {"a": (1, [2, (3,)]), 4: {"x": [], "y": ()}, -1: "negative", "": 0},
        {"big": 2**200, "inf": -math.inf, "nan": math.nan, "unicode": "ü\0\n\ud800"},
        {"a.b": graphc.ones(1), "a": {"b": graphc.zeros(1), "b#2": graphc.zeros(2)}},
        {"__metadata__": graphc.ones(2), "x": graphc.zeros(())},
        {"\ud800": graphc.ones(2)},
        {"tensor": graphc.ones(2), "n": 1},
        {1: graphc.ones(2)},
        graphc.ones(2, 3),
        [np.arange(3), graphc.empty(0, 2), graphc.tensor([True]), graphc.tensor(1.5, dtype=graphc.bfloat16)],
    ],
    ids=repr,
)
def test_structures(path: Path, obj: Any) -> None:
    graphc.save(obj, path)
    assert same(obj, graphc.load(path))


def test_what_becomes_plainer(path: Path) -> None:
    graphc.save(
        [OrderedDict(b=1, a=2), np.float32(1.5), np.int64(7), np.bool_(True), nn.Parameter(graphc.ones(2))], path
    )
    assert same([{"b": 1, "a": 2}, 1.5, 7, True, graphc.ones(2)], graphc.load(path))


_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.builds(
        lambda dtype, shape: graphc.tensor(np.random.default_rng(len(shape)).integers(0, 2, shape)).to(dtype),
        st.sampled_from([graphc.float32, graphc.float64, graphc.bfloat16, graphc.int64, graphc.uint8, graphc.bool]),
        st.lists(st.integers(0, 3), max_size=3),
    )
)
_structures = st.recursive(
    _leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5) | st.integers(-3, 10**6), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_structures)
def test_any_structure_comes_back(path: Path, obj: Any) -> None:
    graphc.save(obj, path)
    assert same(obj, graphc.load(path))


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"a": [1, {"b": {1, 2}}]}, r"cannot save obj\['a'\]\[1\]\['b'\], a set: a checkpoint holds tensors"),
        (object(), "cannot save obj, a object"),
        ({"f": lambda: 0}, r"cannot save obj\['f'\], a function"),
        ({"net": nn.Linear(2, 2)}, r"cannot save obj\['net'\], a Linear"),
        ({"z": 1j}, r"obj\['z'\], a complex"),
        ({"b": b"raw"}, r"obj\['b'\], a bytes"),
        ({"x": {1.5: 2}}, r"cannot save obj\['x'\]: its key 1.5 is a float; keys must be strings or ints"),
        ({True: 1}, "its key True is a bool"),
        ({"a": {(1, 2): 3}}, r"key \(1, 2\) is a tuple"),
        ({"a": [np.ones(2, complex)]}, r"cannot save obj\['a'\]\[0\]: dtype complex128 is not supported"),
        ({"a": np.asarray(["text"])}, r"cannot save obj\['a'\]: dtype <U4 is not supported"),
        ([10**5000], "cannot save"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_cannot_be_stored(path: Path, obj: Any, message: str) -> None:
    path.write_bytes(b"old")
    with pytest.raises(CheckpointError, match=message):
        graphc.save(obj, path)
    assert path.read_bytes() == b"old"


def test_deep_and_circular_structures(path: Path) -> None:
    circular: list[Any] = []
    circular.append(circular)
    deep: Any = 0
    for _ in range(200):
        deep = {"next": deep}
    for obj in (circular, deep):
        with pytest.raises(CheckpointError, match="nested deeper than 100 levels"):
            graphc.save(obj, path)


def test_a_traced_tensor(path: Path) -> None:
    @graphc.compile
    def step(x: Any) -> Any:
        graphc.save({"x": x}, path)
        return x

    with pytest.raises(TracingError, match="cannot save a tensor"):
        step(graphc.ones(2))
    assert not path.exists()


@pytest.mark.parametrize(
    "skeleton",
    [
        "",
        "{",
        "[1]",
        '{"tensor": "missing"}',
        '{"set": []}',
        '{"dict": [[1]]}',
        '{"dict": 3}',
        '{"list": 3}',
        '{"a": 1, "b": 2}',
        "{}",
        '{"tensor": []}',
        '{"dict": [[{"list": []}, 1]]}',
        '{"list": [' * 5000,
    ],
)
def test_a_damaged_skeleton(path: Path, skeleton: str) -> None:
    write_arrays(path, {"x": np.ones(2)}, {"graphc": skeleton})
    with pytest.raises(CheckpointError, match=r"file.safetensors: its structure is damaged"):
        graphc.load(path)


def test_files_that_are_no_checkpoint(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        graphc.load(path)
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(graphc.CheckpointError, match="is a pickled PyTorch file"):
        graphc.load(path)
    graphc.save({"epoch": 1, "w": graphc.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(graphc.CheckpointError, match="not a whole safetensors file"):
        graphc.load(path)


def test_the_skeleton_is_readable(path: Path) -> None:
    graphc.save({"w": graphc.ones(1), "seen": [1, 2]}, path)
    assert json.loads(read_arrays(path)[1]["graphc"]) == {"dict": [["w", {"tensor": "w"}], ["seen", {"list": [1, 2]}]]}


def test_checkpoints_need_no_code_generator(path: Path) -> None:
    code = (
        "import sys, graphc\n"
        f"graphc.save({{'n': 1, 'w': graphc.ones(2)}}, {str(path)!r})\n"
        f"graphc.load({str(path)!r})\n"
        "assert 'numba' not in sys.modules and 'torch' not in sys.modules and 'pickle' not in dir(graphc)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
