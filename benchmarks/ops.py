"""Operations bound by memory beside the peers: cross-entropy, layer norm (forward and backward), Adam.

python -m benchmarks.ops --threads 2 --json ops.json

Every system runs in fresh processes, one after the other in each of several rounds. Results are checked against f64
in all of them. "of copying" is the time to copy as many bytes, relative to graphc's: 1.00 is the speed of memory.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.ops_workloads import OPERATIONS, Operation
from benchmarks.processes import environment, fresh, median, tenth
from benchmarks.report import Table, caption, machine, ratio, versions, write_json

PEERS = ("torch", "torch.compile", "jax")


def measure(operation: Operation, systems: list[str], rounds: int, threads: int, seconds: float) -> dict[str, dict]:
    """Times in ms of each system."""
    times: dict[str, list[float]] = {system: [] for system in systems}
    errors = dict.fromkeys(systems, 0.0)
    for _ in range(rounds):
        for system in systems:
            arguments = (system, operation.name, threads, seconds)
            found = fresh("benchmarks.ops_worker", arguments, environment(threads))
            times[system] += found["times"]
            errors[system] = max(errors[system], found["error"])
    return {
        system: {"median_ms": median(t) * 1e3, "p10_ms": tenth(t) * 1e3, "error": errors[system]}
        for system, t in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", default=",".join(OPERATIONS), help="separated by commas")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement")
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    peers = options.peers.split(",")
    where = machine(["graphc", "torch", "jax", "numpy"])
    figures = {}
    table = Table(("operation", "graphc ms", *(f"{peer} ms" for peer in peers), "to the best", "of copying"))
    for name in options.operations.split(","):
        operation = OPERATIONS[name]
        rows = measure(operation, ["graphc", *peers, "copy"], options.rounds, options.threads, options.seconds)
        medians = {system: row["median_ms"] for system, row in rows.items()}
        ours, best, copy = medians["graphc"], min(medians[p] for p in peers), medians["copy"]
        cells = (f"{medians[system]:.3f}" for system in ("graphc", *peers))
        table.add(name, *cells, ratio(ours, best), f"{copy / ours:.2f}")
        figures[name] = {"systems": rows, "to_the_best": ours / best, "gbytes_per_s": operation.nbytes / ours / 1e6}
    print(f"{caption(where, options.threads)}; {versions(where)}\n")
    print(table.markdown() if options.markdown else table.text())
    if options.json:
        write_json(options.json, {"machine": where, "threads": options.threads, "operations": figures})


if __name__ == "__main__":
    main()
