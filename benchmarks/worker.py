"""One fresh process of one peer: trains, times every step, prints one line of JSON.

python -m benchmarks.worker PEER WORKLOAD STEPS THREADS
"""

from __future__ import annotations

import json
import os
import sys
import time

START = time.perf_counter()


def main(peer: str, name: str, steps: int, threads: int) -> None:
    cores = sorted(os.sched_getaffinity(0))[:threads]
    os.sched_setaffinity(0, cores)
    module = __import__(f"benchmarks.peers.{peer}", fromlist=["make_step"])
    from benchmarks.workloads import WORKLOADS

    workload = WORKLOADS[name]
    batches = workload.batches(32)
    step = module.make_step(workload, threads)
    began = time.perf_counter()
    losses = [float(step(*batches[0]))]
    first_call = time.perf_counter() - began
    to_first_loss = time.perf_counter() - START
    times = []
    for i in range(1, steps):
        batch = batches[i % len(batches)]
        began = time.perf_counter()
        loss = float(step(*batch))
        times.append(time.perf_counter() - began)
        losses.append(loss)
    print(json.dumps({"first_call": first_call, "to_first_loss": to_first_loss, "times": times, "losses": losses}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
