"""One fresh process of one system: checks an operation, then times it.

python -m benchmarks.ops_worker SYSTEM OPERATION THREADS SECONDS STARTED

A system's module has `make(operation, threads) -> (call, results)`: `call()` runs the operation once, on data that lies
in the system's own arrays, and returns when it is done; `results()` gives what the last call made, as NumPy arrays.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module

from benchmarks.ops_workloads import ADAM_STEPS, OPERATIONS
from benchmarks.processes import use_cores

LEAST_CALLS = 5


def main(system: str, name: str, threads: int, seconds: float) -> None:
    use_cores(threads)
    operation = OPERATIONS[name]
    call, results = import_module(f"benchmarks.ops_{system.replace('.', '_')}").make(operation, threads)
    for _ in range(ADAM_STEPS if operation.kind == "adam" else 1):
        call()
    error = operation.check(results())
    end = time.perf_counter() + seconds / 4
    while time.perf_counter() < end:
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < LEAST_CALLS:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    print(json.dumps({"times": times, "error": error}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
