"""An exported step beside the same step in Python's process: microseconds, and their ratio.

python -m benchmarks.exported --threads 2

The library is called as C calls it, through the address of its step function; both take turns in one process, from the
same weights, and every loss must have the same bits. What the Python side takes more is the way through its call.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import tempfile
import time
from pathlib import Path

import numpy as np

import graphc
from benchmarks.peers.graphc import make
from benchmarks.processes import use_cores
from benchmarks.report import Table, caption, machine, ratio, versions
from benchmarks.workloads import WORKLOADS, Workload

STEPS = 20  # of one turn


class Library:
    """NAME.so through its C interface."""

    def __init__(self, prefix: Path, threads: int):
        self._library = ctypes.CDLL(f"{prefix}.so")
        self._library.step_init.restype = ctypes.c_void_p
        self._self = ctypes.c_void_p(self._library.step_init(os.fsencode(f"{prefix}.safetensors")))
        self._loss = ctypes.c_float()
        if not self._self or self._library.step_threads(self._self, threads):
            raise SystemExit(f"{prefix}.so cannot be started")

    def train(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        """The last of some losses, and seconds per step."""
        arguments = (self._self, *map(ctypes.c_void_p, (images.ctypes.data, labels.ctypes.data)))
        step, loss = self._library.step_step, ctypes.byref(self._loss)
        began = time.perf_counter_ns()
        for _ in range(STEPS):
            step(*arguments, loss)
        return self._loss.value, (time.perf_counter_ns() - began) / 1e9 / STEPS


def compare(workload: Workload, threads: int, rounds: int) -> tuple[float, float]:
    """Median seconds of a step in this process, and in the library."""
    put, step = make(workload, threads)
    ((images, labels),) = workload.batches(1)
    batch = put(images, labels)
    with tempfile.TemporaryDirectory() as folder:
        graphc.export(step, batch, Path(folder, "step"))
        library = Library(Path(folder, "step"), threads)
    times = []
    for _ in range(1 + rounds):
        began = time.perf_counter_ns()
        for _ in range(STEPS):
            loss = step(*batch)
        found = float(loss)
        taken = (time.perf_counter_ns() - began) / 1e9 / STEPS
        expected, taken_there = library.train(images, labels)
        if found != expected:
            raise SystemExit(f"{workload.name}: the losses are {found} and {expected}")
        times.append((taken, taken_there))
    here, there = np.median(times[1 + rounds // 5 :], axis=0)  # the first step of all compiles
    return float(here), float(there)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", default="mlp-sgd,mlp-adam,wide-adam,tutorial-b4")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    options = parser.parse_args()
    use_cores(options.threads)
    graphc.set_num_threads(options.threads)
    table = Table(("workload", "in Python, us", "library, us", "ratio"))
    for name in options.workloads.split(","):
        here, there = compare(WORKLOADS[name], options.threads, options.rounds)
        table.add(name, f"{here * 1e6:.1f}", f"{there * 1e6:.1f}", ratio(there, here))
    found = machine(("graphc", "numpy"))
    print(f"{caption(found, options.threads)}; {versions(found)}\n")
    print(table.markdown() if options.markdown else table.text())


if __name__ == "__main__":
    main()
