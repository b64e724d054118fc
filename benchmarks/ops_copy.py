"""How fast this machine copies as many bytes as an operation moves: what its speed is measured by."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.ops_workloads import Operation

SHARED = 1 << 20  # bytes from which it pays to wake threads of Python's


def make(operation: Operation, threads: int) -> tuple[Callable[[], None], Callable[[], list[Any]]]:
    """Each of several threads copies an array of its own; what is small, one of them."""
    threads = threads if operation.nbytes >= SHARED else 1
    words = operation.nbytes // 2 // threads // 4
    pairs = [(np.ones(words, np.float32), np.ones(words, np.float32)) for _ in range(threads)]
    if threads == 1:
        ((source, target),) = pairs
        return lambda: np.copyto(target, source), operation.expected
    pool = ThreadPoolExecutor(threads)

    def call() -> None:
        list(pool.map(lambda pair: np.copyto(pair[1], pair[0]), pairs))

    return call, operation.expected
