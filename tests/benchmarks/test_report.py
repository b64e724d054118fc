"""What the benchmark scripts share: tables, figures, plots, worker processes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks.plot import plot_ratios
from benchmarks.processes import WorkerError, environment, fresh, median, memory_bytes, tenth
from benchmarks.report import Table, caption, machine, ratio, versions, write_json


def test_tables_are_aligned() -> None:
    table = Table(("work", "ms"))
    table.add("a", "10.5")
    table.add("longer", "1")
    assert table.text() == "work      ms\n------  ----\na       10.5\nlonger     1"
    assert table.markdown().splitlines() == [
        "| work   |   ms |",
        "| ------ | ---: |",
        "| a      | 10.5 |",
        "| longer |    1 |",
    ]


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(AssertionError):
        Table(("work", "ms")).add("a")


def test_ratios_and_percentiles() -> None:
    assert ratio(1, 4) == "0.250"
    assert ratio(30, 2) == "15.0"
    assert median([3, 1, 2]) == 2
    assert tenth([float(i) for i in range(11)]) == 1


def test_every_system_is_told_its_threads_and_its_cache(tmp_path: Path) -> None:
    found = environment(3, tmp_path)
    assert {found[n] for n in ("GRAPHC_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")} == {"3"}
    assert found["GRAPHC_CACHE_DIR"] == str(tmp_path / "graphc")
    assert found["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "jax")
    assert "GRAPHC_CACHE_DIR" not in set(environment(1)) - set(os.environ)


def test_a_failed_worker_says_why() -> None:
    with pytest.raises(WorkerError, match="No module named"):
        fresh("benchmarks.no_such_worker", [], environment(1))


def test_memory_of_this_process() -> None:
    assert 0 < memory_bytes("VmRSS") <= memory_bytes("VmHWM")


def test_the_machine_is_named(tmp_path: Path) -> None:
    found = machine(["numpy", "no-such-package"])
    assert set(found["versions"]) == {"python", "numpy"}
    assert caption(found, 2).endswith(f"{found['cores']} cores, 2 threads")
    assert versions(found).startswith("python 3.")
    write_json(tmp_path / "new" / "figures.json", {"machine": found})
    assert json.loads((tmp_path / "new" / "figures.json").read_text())["machine"] == found


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_plot_is_written(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"ratios.{ending}"
    plot_ratios(path, {"mlp": {"torch": 0.5, "jax": 2.0}, "wide": {"jax": 0.9}}, "Step time", "some machine")
    assert path.stat().st_size > 1000
