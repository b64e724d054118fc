"""Programs give the same bits on any number of threads, and from run to run."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.ir import Graph
from graphc.passes.pipeline import lower
from graphc.runtime.executor import Executor
from tests.fusion.training_graphs import arguments, mlp, transformer_block
from tests.runtime.programs import emitted, state_arrays

THREADS = (1, 2, 3, 4, 7)


def digest(arrays: list[np.ndarray]) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


def train(threads: int, optimizer: str, steps: int = 30) -> tuple[list[float], str]:
    """A whole training run from one seed: its losses, and the digest of all that it has trained."""
    graphc.manual_seed(7)
    net = nn.Sequential(
        nn.Linear(100, 96),
        nn.LayerNorm(96),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(96, 200),
        nn.Tanh(),
        nn.Linear(200, 10),
    )
    choices = {
        "sgd": lambda: graphc.optim.SGD(net.parameters(), lr=0.05, momentum=0.9),
        "adam": lambda: graphc.optim.Adam(net.parameters(), lr=0.002),
    }
    opt = choices[optimizer]()

    @graphc.compile(threads=threads)
    def step(x: graphc.Tensor, y: graphc.Tensor) -> graphc.Tensor:
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        return loss

    numbers = np.random.default_rng(3)
    losses = []
    for _ in range(steps):
        x = numbers.normal(size=(130, 100)).astype(np.float32)
        losses.append(float(step(graphc.tensor(x), graphc.tensor(x[:, :10].argmax(1)))))
    return losses, digest([p.detach().numpy() for p in net.parameters()])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_runs(optimizer: str) -> None:
    runs = {threads: train(threads, optimizer) for threads in THREADS}
    assert len(set(runs[1][0])) > 1
    assert runs[1][0][-1] < runs[1][0][0]
    for threads in THREADS:
        assert runs[threads] == runs[1], f"{threads} threads"
    assert train(3, optimizer) == runs[1]


@pytest.mark.parametrize(
    "graph",
    [mlp("adam", (70, 300, 150, 10), 130, dropout=True), mlp("momentum", (784, 128, 64, 10), 4), transformer_block()],
    ids=["wide", "small-batch", "transformer"],
)
def test_programs(graph: Graph) -> None:
    """Every result and state, for programs whose kernels have many units, few, and unlike numbers of them."""
    inputs, states = arguments(graph)
    program = emitted(graph).compile()
    found = set()
    for threads in (*THREADS, 16):
        executor = Executor(program, state_arrays(states, graph), threads)
        assert executor.threads == threads
        outputs = [executor.run(inputs) for _ in range(3)]
        found.add(digest([*(a for step in outputs for a in step), *executor.states]))
    assert len(found) == 1


def test_programs_share_their_work() -> None:
    """The steps above would prove nothing if one thread did everything."""
    graph = lower(mlp("adam", (70, 300, 150, 10), 130)).graphs["traced"]
    units = [launch.partition.units for launch in emitted(graph).schedule.launches if launch.partition]
    assert sum(n > 3 for n in units) >= 3
