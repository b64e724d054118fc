"""The benchmark of training steps: its arithmetic on made-up timings, and one real run of a few steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import train, worker
from benchmarks.train import LossesDifferError, check_losses, start_table, step_table, summary


def run(step: float, losses: tuple[float, ...] = (2.0, 1.0)) -> dict[str, Any]:
    return {
        "first_loss_s": 0.5,
        "imported_bytes": 10_000_000,
        "first_peak_bytes": 20_000_000,
        "losses": list(losses),
        "step_s": [step, 2 * step, 3 * step],
        "read_step_s": [4 * step],
        "peak_bytes": 30_000_000,
    }


def test_figures_of_a_system() -> None:
    found = summary([run(0)], [run(1e-3), run(2e-3)])
    assert found["step_median_s"] == pytest.approx(2.5e-3)
    assert found["step_p10_s"] == pytest.approx(1.5e-3)
    assert found["read_step_median_s"] == pytest.approx(6e-3)
    assert found["own_bytes"] == 20_000_000


def test_equal_losses_pass() -> None:
    check_losses("mlp", {"graphc": [run(1), run(1)], "jax": [run(1, (2.0001, 0.9999))]})


@pytest.mark.parametrize("losses", [(2.0, 1.01), (2.0, float("nan"))])
def test_losses_that_differ_are_named(losses: tuple[float, float]) -> None:
    with pytest.raises(LossesDifferError, match=r"mlp: the losses of jax and graphc .* at step 2"):
        check_losses("mlp", {"graphc": [run(1)], "jax": [run(1), run(1, losses)]})


def test_ratios_are_ours_over_theirs() -> None:
    rows = {"graphc": summary([run(1)], [run(1e-3)]), "jax": summary([run(1)], [run(4e-3)])}
    rows["graphc"]["roofline_s"] = 1e-3
    head, _, ours, theirs = step_table({"mlp": rows}).text().splitlines()
    assert head.split()[:4] == ["workload", "system", "median", "ms"]
    assert ours.split() == ["mlp", "graphc", "2.0000", "1.2000", "4.0000", "50%"]
    assert theirs.split() == ["mlp", "jax", "8.0000", "4.8000", "0.250", "0.250", "16.0000", "0.250"]
    assert start_table({"mlp": rows}).text().splitlines()[3].split()[2:6] == ["0.50", "1.00", "0.50", "1.00"]


def test_bursts_cover_the_steps() -> None:
    seen: list[int] = []

    def step(x: int) -> float:
        seen.append(x)
        return 0.0

    times = worker.timed(step, [(0,), (1,), (2,)], 10, 5)
    assert len(times) == 2
    assert all(t > 0 for t in times)
    assert seen == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]


def test_systems_take_turns_and_slow_starts_are_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, int]] = []

    def fake(module: str, arguments: tuple[Any, ...], variables: dict[str, str]) -> dict[str, Any]:
        if module == "benchmarks.roofline":
            return {"roofline_s": 1e-4}
        started.append((arguments[0], arguments[2]))
        slow = {"first_loss_s": 20.0} if arguments[0] == "torch.compile" else {}
        return run(1e-3) | slow

    monkeypatch.setattr(train, "fresh", fake)
    figures = train.measure("mlp-sgd", ["graphc", "torch.compile"], 7, 2, 1, tmp_path)
    assert figures["graphc"]["roofline_s"] == 1e-4
    assert started == [
        *[("graphc", 0), ("graphc", 7), ("torch.compile", 0), ("torch.compile", 7)],
        *[("torch.compile", 7), ("graphc", 0), ("graphc", 7)],
    ]


def test_a_real_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--workloads", "tutorial-b1", "--peers", "", "--steps", "20", "--rounds", "1", "--threads", "1"]
    assert train.main([*arguments, "--markdown", "--json", str(tmp_path / "figures.json")]) == 0
    row = json.loads((tmp_path / "figures.json").read_text())["figures"]["tutorial-b1"]["graphc"]
    assert 0 < row["step_p10_s"] <= row["step_median_s"] < row["warm_first_loss_s"]
    assert row["roofline_s"] > 0
    assert "| tutorial-b1 | graphc |" in capsys.readouterr().out


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train.main(["--peers", "tensorflow"])
    assert "tensorflow: not one of graphc, torch, torch.compile, jax" in capsys.readouterr().err
