"""The benchmark harness runs, and the losses of both sides agree. Nothing here looks at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parity
@pytest.mark.parametrize("workload", ["mlp-adam", "tutorial-b4"])
def test_train_beside_pytorch(workload: str, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    command = ["-m", "benchmarks.train", "--workloads", workload, "--peers", "torch", "--steps", "25", "--rounds", "1"]
    done = subprocess.run(
        [sys.executable, *command, "--json", str(out)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())["figures"][workload]
    assert set(figures) == {"graphc", "torch"}
    assert all(row["step_median_s"] > 0 for row in figures.values())
