"""Step time beside the peers, interleaved in fresh processes in one run, losses compared.

python -m benchmarks.train --workloads mlp-sgd,mlp-adam --peers torch,jax --threads 1
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.workloads import WORKLOADS

LOSS_TOLERANCE = 1e-3  # relative, over the first steps: later ones drift apart by rounding
COMPARED_STEPS = 20


def run_worker(peer: str, workload: str, steps: int, threads: int) -> dict:
    command = [sys.executable, "-m", "benchmarks.worker", peer, workload, str(steps), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{peer} on {workload} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(name: str, peers: list[str], steps: int, rounds: int, threads: int) -> dict[str, dict]:
    runs: dict[str, list[dict]] = {peer: [] for peer in peers}
    for _ in range(rounds):
        for peer in peers:
            runs[peer].append(run_worker(peer, name, steps, threads))
    reference = np.array(runs[peers[0]][0]["losses"][:COMPARED_STEPS])
    summary = {}
    for peer, results in runs.items():
        for result in results:
            losses = np.array(result["losses"][:COMPARED_STEPS])
            if not np.allclose(losses, reference, rtol=LOSS_TOLERANCE):
                raise SystemExit(f"{name}: losses of {peer} and {peers[0]} differ:\n{losses}\n{reference}")
        times = np.concatenate([result["times"][len(result["times"]) // 5 :] for result in results])
        summary[peer] = {
            "median_ms": float(np.median(times) * 1e3),
            "p10_ms": float(np.percentile(times, 10) * 1e3),
            "first_call_s": float(np.median([result["first_call"] for result in results])),
            "to_first_loss_s": float(np.median([result["to_first_loss"] for result in results])),
        }
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", default="mlp-sgd,mlp-adam", help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--peers", default="torch,jax")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    peers = ["graphc", *options.peers.split(",")]
    figures = {}
    print(
        f"{'workload':14} {'peer':8} {'median ms':>10} {'p10 ms':>8} {'ratio':>6} {'first call s':>13} "
        f"{'to loss s':>10}"
    )
    for name in options.workloads.split(","):
        figures[name] = measure(name, peers, options.steps, options.rounds, options.threads)
        ours = figures[name]["graphc"]["median_ms"]
        for peer, row in figures[name].items():
            print(
                f"{name:14} {peer:8} {row['median_ms']:10.3f} {row['p10_ms']:8.3f} {ours / row['median_ms']:6.2f} "
                f"{row['first_call_s']:13.2f} {row['to_first_loss_s']:10.2f}"
            )
    if options.json:
        options.json.write_text(json.dumps({"threads": options.threads, "figures": figures}, indent=1))


if __name__ == "__main__":
    main()
