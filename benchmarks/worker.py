"""One fresh process of one system: trains, times its steps, prints one line of JSON.

python -m benchmarks.worker PEER WORKLOAD STEPS THREADS STARTED

STARTED is the monotonic clock in ns when the process was started. With STEPS 0 it trains one step only.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from benchmarks.peers import MODULES
from benchmarks.processes import memory_bytes, use_cores
from benchmarks.workloads import WORKLOADS

COMPARED = 20  # losses: what is compared, and warms up
BURST = 10  # steps in a row whose losses nobody reads but the last one
BATCHES = 16
SECONDS = 2.0  # that one stretch of steps may take


def main(peer: str, name: str, steps: int, threads: int, started: int) -> dict[str, Any]:
    use_cores(threads)
    system = import_module(f"benchmarks.peers.{MODULES[peer]}")
    imported = memory_bytes("VmRSS")
    workload = WORKLOADS[name]
    put, step = system.make(workload, threads)
    (first,) = workload.batches(1)
    losses = [float(step(*put(*first)))]
    found = {
        "first_loss_s": (time.perf_counter_ns() - started) / 1e9,
        "imported_bytes": imported,
        "first_peak_bytes": memory_bytes("VmHWM"),
        "losses": losses,
    }
    if steps:
        batches = [put(*batch) for batch in workload.batches(BATCHES)]
        losses += [float(step(*batches[i % BATCHES])) for i in range(1, COMPARED)]
        timed(step, batches, max(steps // 5, BURST), BURST)
        found["step_s"] = timed(step, batches, steps, BURST)
        found["read_step_s"] = timed(step, batches, max(steps // 2, 1), 1)
        found["peak_bytes"] = memory_bytes("VmHWM")
    return found


def timed(step: Callable, batches: Sequence[tuple], steps: int, burst: int) -> list[float]:
    """Seconds per step of each burst of steps, whose last loss is read; `steps` steps in all, or as many as fit into
    SECONDS, but at least one burst."""
    found: list[float] = []
    over = time.perf_counter_ns() + int(SECONDS * 1e9)
    while len(found) * burst < steps:
        at = len(found) * burst
        inputs = [batches[(at + i) % len(batches)] for i in range(burst)]
        began = time.perf_counter_ns()
        for batch in inputs:
            loss = step(*batch)
        float(loss)
        ended = time.perf_counter_ns()
        found.append((ended - began) / 1e9 / burst)
        if ended > over:
            break
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]))))
