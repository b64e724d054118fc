"""Matrix products beside OpenBLAS (NumPy's) and MKL (PyTorch's), in f32: GFLOP/s and ratios.

python -m benchmarks.gemm --threads 1

Every side runs in a fresh process that stays alive; rounds go through the products, and for each product through the
sides. All operands lie aligned in memory that was allocated and touched before, and every result is checked.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.report import Table, caption, machine, versions, write_json

SHAPES = "64x784x128,784x64x128,64x128x10,256x1024x1024,768x128x512,768x512x128,1024x1024x1024"  # MxKxN
LAYOUTS = "nn,nt,tn,tt"  # of A and B: n as it enters the product, t transposed
PEERS = ("mkl", "openblas")
NAMES = {"mkl": "MKL", "openblas": "OpenBLAS"}
SIDES = ("graphc", *PEERS)
REST = 0.02  # seconds, in which the threads of the side before stop looking for work

Case = tuple[int, int, int, str]


class Worker:
    """A process that times products of one side."""

    def __init__(self, side: str, threads: int, cases: list[Case]):
        command = [sys.executable, "-m", "benchmarks.gemm_worker", side, str(threads), json.dumps(cases)]
        self._side = side
        # A library chooses its code for this machine itself, whatever the shell asked for.
        settings = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS_", "MKL_"))}
        settings["OPENBLAS_THREAD_TIMEOUT"] = "22"  # 2**22 ticks, for which an idle thread of its keeps a core busy
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, env=settings, text=True, stdin=pipe, stdout=pipe)
        self._expect("ready")

    def time(self, case: int, seconds: float) -> float:
        """The mean time of a call, over about `seconds`."""
        assert self._process.stdin is not None
        print(case, seconds, file=self._process.stdin, flush=True)
        return float(self._expect())

    def _expect(self, text: str = "") -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line or (text and line != text):
            self._process.kill()
            raise SystemExit(f"the process of {self._side} failed")
        return line

    def close(self) -> None:
        self._process.communicate()


def measure(cases: list[Case], threads: int, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Median GFLOP/s of every side and product."""
    workers = {side: Worker(side, threads, cases) for side in SIDES}
    times = np.empty((len(SIDES), len(cases), rounds))
    for one in range(rounds):
        for case in range(len(cases)):
            for i, side in enumerate(SIDES):
                time.sleep(REST * (threads > 1))
                times[i, case, one] = workers[side].time(case, seconds)
    for worker in workers.values():
        worker.close()
    flops = np.array([2.0 * m * k * n for m, k, n, _ in cases])
    rates = flops / np.median(times, axis=2) / 1e9
    return {side: rates[i].tolist() for i, side in enumerate(SIDES)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default=SHAPES, help="MxKxN, separated by commas")
    parser.add_argument("--layouts", default=LAYOUTS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.01, help="of each measurement")
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    shapes = [tuple(map(int, shape.split("x"))) for shape in options.shapes.split(",")]
    cases: list[Case] = [(m, k, n, layout) for m, k, n in shapes for layout in options.layouts.split(",")]
    rates = measure(cases, options.threads, options.rounds, options.seconds)
    here = machine(("graphc", "numpy", "torch"))
    table = Table(("M x K x N", "", "graphc", "MKL", "OpenBLAS", "to MKL", "to OpenBLAS"), labels=2)
    ratios = {peer: np.array(rates["graphc"]) / np.array(rates[peer]) for peer in PEERS}
    for i, (m, k, n, layout) in enumerate(cases):
        speeds = (f"{rates[side][i]:.1f}" for side in SIDES)
        table.add(f"{m} x {k} x {n}", layout, *speeds, *(f"{ratios[peer][i]:.2f}" for peer in PEERS))
    print(f"{caption(here, options.threads)}; {versions(here)}; GFLOP/s\n")
    print(table.markdown() if options.markdown else table.text(), end="\n\n")
    summary = {}
    for peer in PEERS:
        worst = int(ratios[peer].argmin())
        mean, least = float(np.exp(np.log(ratios[peer]).mean())), float(ratios[peer][worst])
        m, k, n, layout = cases[worst]
        print(f"graphc to {NAMES[peer]}: geometric mean {mean:.3f}, worst {least:.3f} ({m} x {k} x {n} {layout})")
        summary[peer] = {"geometric_mean": mean, "worst": least}
    if options.json:
        figures = {"machine": here, "threads": options.threads, "cases": cases, "gflops": rates, "ratios": summary}
        write_json(options.json, figures)


if __name__ == "__main__":
    main()
