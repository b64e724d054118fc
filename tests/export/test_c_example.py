"""examples/c: a C program that trains MNIST through an exported step."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import graphc
from graphc.data import MNIST
from graphc.runtime.artifact import load_program
from tests.data_files import write_mnist
from tests.export.c_programs import build, needs_cc, needs_valgrind, run

pytestmark = needs_cc

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "c"
DATA = ROOT.parent / "shared" / "data" / "mnist"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}


def trainer(folder: Path, *options: str) -> Path:
    """Export the two programs into `folder`, and build the trainer there."""
    subprocess.run([sys.executable, EXAMPLE / "export.py", folder, *options], check=True, env=ENVIRONMENT)
    return build(folder, EXAMPLE / "train_mnist.c", [folder / "train_step.so", folder / "evaluate.so"], "train_mnist")


def epochs_of(printed: str) -> list[tuple[float, float]]:
    """Loss and accuracy of every epoch."""
    lines = printed.splitlines()
    found = [
        re.fullmatch(rf"epoch {i}: loss (\d+\.\d{{4}}), test accuracy ([01]\.\d{{4}}), \d+\.\d us a step", x)
        for i, x in enumerate(lines, 1)
    ]
    assert all(found), printed
    return [(float(match[1]), float(match[2])) for match in found if match]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example") / "build"
    return trainer(folder)


@pytest.mark.parametrize("zipped", [True, False])
def test_trains(built: Path, tmp_path: Path, zipped: bool) -> None:
    data = write_mnist(tmp_path / "data", zipped=zipped)
    epochs = epochs_of(run(built, data, built.parent, "3"))
    assert len(epochs) == 3
    assert epochs[-1][0] < epochs[0][0] / 2
    assert epochs[-1][1] > 0.95
    # Python finds the same accuracy with the weights that C has left.
    evaluate = load_program(built.parent / "evaluate", state=built.parent / "trained.safetensors")
    test = MNIST(data, train=False)
    images, labels = (np.stack([np.asarray(x) for x in column]) for column in zip(*test, strict=True))
    right = sum((evaluate(images[i : i + 100])[0] == labels[i : i + 100]).sum() for i in range(0, len(test), 100))
    assert f"{right / len(test):.4f}" == f"{epochs[-1][1]:.4f}"
    trained = graphc.load(built.parent / "trained.safetensors")
    assert trained["fc1.weight.step"].item() == 3 * (640 // 64)
    np.testing.assert_allclose(trained["optimizer.lr"].item(), 4e-4)


@needs_valgrind
def test_memory_is_sound(tmp_path: Path) -> None:
    program = trainer(tmp_path / "build", "--target", "x86-64-v3", "--debug")
    data = write_mnist(tmp_path / "data", train=130, test=100, zipped=False)
    assert len(epochs_of(run(program, data, program.parent, "1", valgrind=True))) == 1


def test_errors_name_the_file(built: Path, tmp_path: Path) -> None:
    def told(*arguments: str | Path) -> str:
        done = subprocess.run([str(built), *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        return done.stderr

    data = write_mnist(tmp_path / "data", train=64, test=100, zipped=False)
    assert "usage" in told()
    assert "cannot read this file" in told(tmp_path, built.parent)
    assert "train-images-idx3-ubyte" in told(tmp_path, built.parent)
    assert "cannot read the initial states" in told(data, tmp_path)
    labels = data / "t10k-labels-idx1-ubyte"
    whole = labels.read_bytes()
    for damaged, message in (
        (whole[:-1], "truncated data"),
        (whole[:6], "truncated header"),
        (b"\0\0\x0d\x01" + whole[4:], "not an IDX file of bytes"),
        (b"\0\0\x08\x02" + whole[4:8] + whole[4:], "records of an unexpected size"),
        (whole[:4] + (99).to_bytes(4, "big") + whole[8:-1], "images and labels differ in number"),
    ):
        labels.write_bytes(damaged)
        assert message in told(data, built.parent)
    labels.write_bytes(whole[:8] + b"\x0b" * 100)
    assert "epoch" in run(built, data, built.parent, "1")  # test labels are only compared
    train = data / "train-labels-idx1-ubyte"
    train.write_bytes(train.read_bytes()[:8] + b"\x0a" * 64)
    assert "index out of range" in told(data, built.parent)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_makefile(tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLE, tmp_path / "c", ignore=shutil.ignore_patterns("build"))
    subprocess.run(["make", f"PYTHON={sys.executable}", "CFLAGS=-O1 -Werror"], cwd=folder, check=True, env=ENVIRONMENT)
    data = write_mnist(tmp_path / "data", train=64, test=100)
    assert len(epochs_of(run(folder / "build" / "train_mnist", data, folder / "build", "1"))) == 1


@pytest.mark.skipif(not DATA.is_dir(), reason="MNIST is not there")
def test_mnist(built: Path) -> None:
    assert epochs_of(run(built, DATA, built.parent, "3"))[-1][1] >= 0.97
