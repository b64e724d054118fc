"""One fresh process: the least time that a step of graphc's could take on this machine, as one line of JSON.

python -m benchmarks.roofline WORKLOAD THREADS STARTED
"""

from __future__ import annotations

import json
import sys
from typing import Any

from benchmarks.peers.graphc import make
from benchmarks.processes import use_cores
from benchmarks.workloads import WORKLOADS


def main(name: str, threads: int) -> dict[str, Any]:
    use_cores(threads)
    workload = WORKLOADS[name]
    put, step = make(workload, threads)
    (batch,) = workload.batches(1)
    cost = step.lower(*put(*batch)).cost(threads)
    return {
        "roofline_s": cost.roofline,
        "flops": cost.flops,
        "bytes_moved": cost.bytes_moved,
        "memory_bytes": cost.peak_bytes,
        "ceilings": str(cost.ceilings),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
