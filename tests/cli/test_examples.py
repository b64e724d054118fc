"""Every example runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data_files import write_mnist

ROOT = Path(__file__).parent.parent.parent


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # found in a checkout that is not installed, too
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_mnist(tmp_path_factory.mktemp("mnist")))


def test_mnist_mlp_learns_and_exports(mnist: str, tmp_path: Path) -> None:
    prefix = tmp_path / "out" / "train_step"
    printed = run("examples/mnist_mlp.py", "--data", mnist, "--epochs", "3", "--export", str(prefix))
    accuracies = [float(a) for a in re.findall(r"test accuracy ([\d.]+)", printed)]
    assert len(accuracies) == 3
    assert accuracies[-1] > 0.9
    assert prefix.with_suffix(".h").exists()


def test_mnist_mlp_gives_the_same_losses_eagerly(mnist: str) -> None:
    losses = [
        [
            float(line.split()[1])
            for line in run("examples/mnist_mlp.py", "--data", mnist, "--steps", "10", *mode).splitlines()
        ]
        for mode in ((), ("--eager",))
    ]
    assert len(losses[0]) == 10
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_functional() -> None:
    printed = run("examples/functional.py", "--steps", "200")
    final = float(re.findall(r"final loss ([\d.]+)", printed)[0])
    assert final < 0.01
    error = float(re.findall(r"off by at most (\S+)", printed)[0])
    assert error < 1e-4


def test_edit_ir() -> None:
    printed = run("examples/edit_ir.py")
    assert "softsign: loss -0.2500, gradient [0.1111 0.4444 1.     0.0625]" in printed
    assert "%h = div" in printed
