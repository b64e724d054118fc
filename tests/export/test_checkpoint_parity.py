"""Checkpoints to and from PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import torch as files

import graphc
from graphc import nn

pytestmark = pytest.mark.parity


def nets() -> tuple[Any, Any]:
    """The same network twice: graphc's and PyTorch's."""
    ours = nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.ReLU(), nn.Linear(7, 2, bias=False))
    t = torch.nn
    return ours, t.Sequential(t.Linear(5, 7), t.LayerNorm(7), t.ReLU(), t.Linear(7, 2, bias=False))


def test_from_pytorch(tmp_path: Path) -> None:
    ours, theirs = nets()
    files.save_file(theirs.state_dict(), tmp_path / "net.safetensors", metadata={"format": "pt"})
    ours.load_state_dict(graphc.load(tmp_path / "net.safetensors"))
    x = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    expected = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours(graphc.tensor(x)).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_to_pytorch(tmp_path: Path) -> None:
    ours, theirs = nets()
    graphc.save(ours.state_dict(), tmp_path / "net.safetensors")
    theirs.load_state_dict(files.load_file(tmp_path / "net.safetensors"))
    x = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    expected = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours(graphc.tensor(x)).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_the_same_bytes(tmp_path: Path) -> None:
    ours, theirs = nets()
    theirs.load_state_dict({name: torch.from_numpy(x.numpy()) for name, x in ours.state_dict().items()})
    graphc.save(ours.state_dict(), tmp_path / "ours.safetensors")
    files.save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    assert (tmp_path / "ours.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()


def test_half_precisions(tmp_path: Path) -> None:
    saved = {"b": torch.tensor([1.5, -2.0], dtype=torch.bfloat16), "h": torch.tensor(0.5, dtype=torch.float16)}
    files.save_file(saved, tmp_path / "half.safetensors")
    found = graphc.load(tmp_path / "half.safetensors")
    assert (found["b"].dtype, found["h"].dtype) == (graphc.bfloat16, graphc.float16)
    assert (found["b"].tolist(), found["h"].item()) == ([1.5, -2.0], 0.5)
    graphc.save(found, tmp_path / "again.safetensors")
    again = files.load_file(tmp_path / "again.safetensors")
    assert all(torch.equal(again[name], saved[name]) for name in saved)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_files(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "net.pt"
    torch.save(nets()[1].state_dict(), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(graphc.CheckpointError, match=r"net.pt is a pickled PyTorch file"):
        graphc.load(path)
