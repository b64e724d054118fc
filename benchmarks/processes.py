"""Fresh processes, one system in each, with the same number of threads; and their figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
_THREADS = ("GRAPHC_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_CACHES = ("GRAPHC_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR")


class WorkerError(RuntimeError):
    """A worker ended with an error, whose text this is."""


def environment(threads: int, caches: Path | None = None) -> dict[str, str]:
    """This process's environment, with every system told its number of threads, and to keep what it compiles below
    `caches`, however small and quickly compiled it is. Python keeps its bytecode, as it does unless told otherwise."""
    found = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    found.update({name: str(threads) for name in _THREADS})
    if caches is not None:
        found.update({name: str(caches / name.split("_")[0].lower()) for name in _CACHES})
        found["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        found["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    return found


def use_cores(threads: int) -> None:
    """Let this process run on that many cores only, which is how XLA learns its number of threads. To be called before
    anything starts a thread."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def fresh(module: str, arguments: Sequence[object], variables: Mapping[str, str]) -> dict[str, Any]:
    """Run `python -m module arguments... started` and return the JSON object on its last line. `started` is this
    machine's monotonic clock in ns right before the start, to be compared with time.perf_counter_ns() there. Raises
    WorkerError with what the process wrote to standard error."""
    command = [sys.executable, "-m", module, *map(str, arguments), str(time.perf_counter_ns())]
    done = subprocess.run(command, cwd=ROOT, env=dict(variables), capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorkerError(f"{' '.join(command[2:])} failed:\n{done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def memory_bytes(field: str) -> int:
    """This process's "VmRSS" (memory in use) or "VmHWM" (the most that ever was)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))


def median(samples: Sequence[float]) -> float:
    return float(np.median(samples))


def tenth(samples: Sequence[float]) -> float:
    """The 10th percentile."""
    return float(np.percentile(samples, 10))
