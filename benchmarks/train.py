"""Training steps beside the peers: each system in fresh processes, in turns, in one run; losses compared.

python -m benchmarks.train --peers torch,torch.compile,jax --json train.json --plot train.svg

A round starts every system twice. Once with an empty folder for what it compiles, up to the first loss (cold; a system
whose first cold start takes over 5 s has only that one); once with the folder that the first cold start filled: up to
the first loss (warm), then the steps that are timed. Losses that disagree end the run with exit status 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import MODULES
from benchmarks.plot import plot_ratios
from benchmarks.processes import WorkerError, environment, fresh, median, tenth
from benchmarks.report import Table, caption, machine, ratio, versions, write_json
from benchmarks.workloads import WORKLOADS

OURS = "graphc"
LOSS_TOLERANCE = 1e-3  # relative, of each of the first steps; later ones drift apart by rounding
SLOW_START = 5.0  # seconds
PACKAGES = ("graphc", "numpy", "numba", "llvmlite", "torch", "jax")

Runs = dict[str, list[dict[str, Any]]]
Figures = dict[str, dict[str, Any]]


class LossesDifferError(RuntimeError):
    """Two systems do not train the same model."""


def measure(name: str, systems: Sequence[str], steps: int, rounds: int, threads: int, folder: Path) -> Figures:
    """The figures of every system on one workload. Raises LossesDifferError, and WorkerError for one that fails."""
    cold: Runs = {system: [] for system in systems}
    warm: Runs = {system: [] for system in systems}
    for round_ in range(rounds):
        for system in [*systems[round_ % len(systems) :], *systems[: round_ % len(systems)]]:
            filled = folder / f"{name}-{system}"
            start = (system, name, 0, threads)
            if not cold[system]:
                cold[system].append(fresh("benchmarks.worker", start, environment(threads, filled)))
            elif cold[system][0]["first_loss_s"] < SLOW_START:
                with tempfile.TemporaryDirectory(dir=folder) as empty:
                    cold[system].append(fresh("benchmarks.worker", start, environment(threads, Path(empty))))
            training = (system, name, steps, threads)
            warm[system].append(fresh("benchmarks.worker", training, environment(threads, filled)))
    check_losses(name, warm)
    figures = {system: summary(cold[system], warm[system]) for system in systems}
    figures[OURS].update(fresh("benchmarks.roofline", (name, threads), environment(threads, folder / "ceilings")))
    return figures


def check_losses(name: str, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Raises LossesDifferError where any run's losses are not those of the first, step by step."""
    first, *_ = runs
    expected = np.array(runs[first][0]["losses"])
    for system, results in runs.items():
        for result in results:
            found = np.array(result["losses"])
            if not np.allclose(found, expected, rtol=LOSS_TOLERANCE, atol=0):
                worst = int(np.argmax(np.abs(found - expected)))
                raise LossesDifferError(
                    f"{name}: the losses of {system} and {first} differ by more than {LOSS_TOLERANCE:g}, most at step "
                    f"{worst + 1}: {found[worst]:.7g} and {expected[worst]:.7g}"
                )


def summary(cold: Sequence[Mapping[str, Any]], warm: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians over the processes; of the steps, over all steps of all processes."""
    steps = [s for result in warm for s in result["step_s"]]
    read_steps = [s for result in warm for s in result["read_step_s"]]
    return {
        "step_median_s": median(steps),
        "step_p10_s": tenth(steps),
        "read_step_median_s": median(read_steps),
        "read_step_p10_s": tenth(read_steps),
        "cold_first_loss_s": median([result["first_loss_s"] for result in cold]),
        "warm_first_loss_s": median([result["first_loss_s"] for result in warm]),
        "cold_peak_bytes": median([result["first_peak_bytes"] for result in cold]),
        "peak_bytes": median([result["peak_bytes"] for result in warm]),
        "own_bytes": median([result["peak_bytes"] - result["imported_bytes"] for result in warm]),
    }


def step_table(figures: Mapping[str, Figures]) -> Table:
    """Time per step, and ours over theirs."""
    head = ("workload", "system", "median ms", "p10 ms", "ratio", "p10 ratio", "loss read, ms", "ratio", "of roofline")
    table = Table(head, labels=2)
    for name, rows in figures.items():
        ours = rows[OURS]
        for system, row in rows.items():
            roofline = f"{row['roofline_s'] / row['step_median_s']:.0%}" if "roofline_s" in row else ""
            table.add(
                name,
                system,
                *(f"{row[key] * 1e3:.4f}" for key in ("step_median_s", "step_p10_s")),
                *_ratios(system, ours, row, "step_median_s", "step_p10_s"),
                f"{row['read_step_median_s'] * 1e3:.4f}",
                *_ratios(system, ours, row, "read_step_median_s"),
                roofline,
            )
    return table


def start_table(figures: Mapping[str, Figures]) -> Table:
    """Time from the start of the process to the first loss, and memory."""
    head = (
        "workload",
        "system",
        "cold s",
        "ratio",
        "warm s",
        "ratio",
        "peak MB",
        "ratio",
        "above imports",
        "cold peak",
    )
    table = Table(head, labels=2)
    for name, rows in figures.items():
        for system, row in rows.items():
            cells = []
            for key in ("cold_first_loss_s", "warm_first_loss_s", "peak_bytes"):
                cells += [f"{row[key] / 1e6:.0f}" if key == "peak_bytes" else f"{row[key]:.2f}"]
                cells += _ratios(system, rows[OURS], row, key)
            table.add(name, system, *cells, *(f"{row[key] / 1e6:.0f}" for key in ("own_bytes", "cold_peak_bytes")))
    return table


def _ratios(system: str, ours: Mapping[str, Any], row: Mapping[str, Any], *keys: str) -> list[str]:
    return ["" if system == OURS else ratio(ours[key], row[key]) for key in keys]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="default: all")
    parser.add_argument("--peers", default=",".join(p for p in MODULES if p != OURS), help="default: all")
    parser.add_argument("--steps", type=int, default=500, help="timed per process, as far as 2 s go; default: 500")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--threads", type=int, default=2, help="of every system; default: 2")
    parser.add_argument("--markdown", action="store_true", help="print the tables in Markdown")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--plot", type=Path, help="draw the ratios of step times here: .png or .svg")
    options = parser.parse_args(arguments)
    systems = [OURS, *filter(None, options.peers.split(","))]
    names = options.workloads.split(",")
    for given, known in ((systems, MODULES), (names, WORKLOADS)):
        if unknown := [one for one in given if one not in known]:
            parser.error(f"{', '.join(unknown)}: not one of {', '.join(known)}")
    figures: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-caches-") as folder:
        for name in names:
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                figures[name] = measure(name, systems, options.steps, options.rounds, options.threads, Path(folder))
            except (LossesDifferError, WorkerError) as error:
                print(error, file=sys.stderr)
                return 1
    here = machine(PACKAGES)
    line = caption(here, options.threads)
    tables = (step_table(figures), start_table(figures))
    print("\n\n".join([f"{line}; {versions(here)}", *(t.markdown() if options.markdown else t.text() for t in tables)]))
    if options.json:
        write_json(options.json, {"machine": here, "threads": options.threads, "figures": figures})
    if options.plot:
        key = "step_median_s"
        ratios = {n: {s: rows[OURS][key] / rows[s][key] for s in systems[1:]} for n, rows in figures.items()}
        plot_ratios(options.plot, ratios, "Time of a training step, graphc over its peers", line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
