"""The benchmark of exported steps runs, and checks that both sides compute the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.export.c_programs import needs_cc

ROOT = Path(__file__).parents[2]


@needs_cc
def test_a_small_run() -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks.exported",
        "--workloads",
        "tutorial-b4",
        "--threads",
        "1",
        "--rounds",
        "2",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    *_, row = done.stdout.splitlines()
    assert row.split()[0] == "tutorial-b4"
    assert all(float(number) > 0 for number in row.split()[1:])
