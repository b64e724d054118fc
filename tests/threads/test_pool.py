"""The thread pool: several callers, forks, faults, signals, idleness, and the end of the process."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import platform
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest

import graphc
from graphc.errors import OutOfRangeError
from graphc.runtime import forks, pool
from tests.fusion.training_graphs import arguments, mlp
from tests.runtime.programs import emitted, executor, state_arrays

GRAPH = mlp("adam", (70, 300, 150, 10), 130)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads for one test."""
    before = graphc.get_num_threads()
    yield graphc.set_num_threads
    graphc.set_num_threads(before)


def run(count: int, steps: int = 20) -> list[np.ndarray]:
    """What some steps leave in the states."""
    inputs, states = arguments(GRAPH)
    program = pool_executor(count, states)
    for _ in range(steps):
        program.run(inputs)
    return list(program.states)


def pool_executor(count: int, states: list[np.ndarray]) -> graphc.runtime.executor.Executor:
    return graphc.runtime.executor.Executor(emitted(GRAPH).compile(), state_arrays(states, GRAPH), count)


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


STEP = """
import os, sys, time
import numpy as np
import graphc
from graphc import nn
graphc.manual_seed(0)
net = nn.Sequential(nn.Linear(256, 300), nn.ReLU(), nn.Linear(300, 10))
opt = graphc.optim.SGD(net.parameters(), lr=0.1)

@graphc.compile(threads=3)
def step(x, y):
    opt.zero_grad()
    loss = nn.functional.cross_entropy(net(x), y)
    loss.backward()
    opt.step()
    return loss

x = np.random.default_rng(0).normal(size=(128, 256)).astype(np.float32)
y = np.arange(128) % 10
"""


def test_two_functions_from_two_threads() -> None:
    """Whoever finds the pool busy runs alone: with the same bits."""
    alone = run(1, 60)
    found: dict[int, list[np.ndarray]] = {}
    callers = [threading.Thread(target=lambda i=i: found.update({i: run(2 + i, 60)})) for i in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(found) == [0, 1, 2]
    for states in found.values():
        assert same(states, alone)


def test_one_program_from_two_threads() -> None:
    """Calls of one program take turns: after n calls in all, it has made n steps."""
    inputs, states = arguments(GRAPH)
    shared = pool_executor(2, states)
    callers = [threading.Thread(target=lambda: [shared.run(inputs) for _ in range(20)]) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert same(list(shared.states), run(1, 60))


def test_more_threads_than_processors() -> None:
    assert same(run(4 * (os.cpu_count() or 1), 10), run(1, 10))


def test_fork() -> None:
    """A child has none of its parent's workers; both go on, with the same bits."""
    done = python(
        STEP
        + """
losses = [float(step(x, y)) for _ in range(5)]
readable, writable = os.pipe()
child = os.fork()
more = [float(step(x, y)) for _ in range(5)]
if child == 0:
    os.write(writable, repr(more).encode())
    os._exit(0)
os.close(writable)
assert os.waitpid(child, 0)[1] == 0
assert os.read(readable, 10000).decode() == repr(more)
assert len(set(losses + more)) == 10
print("both went on")
"""
    )
    assert done.stdout == "both went on\n", done.stderr


def test_fork_while_others_run() -> None:
    """The child never sees half a step, nor a lock that nobody will give back."""
    done = python(
        STEP
        + """
import threading
step(x, y)
going = True
def train():
    while going:
        step(x, y)
others = [threading.Thread(target=train) for _ in range(2)]
for other in others:
    other.start()
children = []
for _ in range(5):
    time.sleep(0.02)
    child = os.fork()
    if child == 0:
        loss = float(step(x, y))
        os._exit(0 if np.isfinite(loss) else 1)
    children.append(child)
codes = [os.waitpid(child, 0)[1] for child in children]
going = False
for other in others:
    other.join()
print(codes)
""",
        PYTHONWARNINGS="ignore::DeprecationWarning",  # of newer Pythons, for a fork beside threads
    )
    assert done.stdout == "[0, 0, 0, 0, 0]\n", done.stderr


def test_a_fork_that_is_interrupted_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python forks in spite of an exception; in parent and child, what had been taken is free again."""

    class Interrupted:
        def acquire(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(forks, "_locks", [WeakSet() for _ in forks.Level])
    lock = forks.whole_at_fork(threading.Lock(), forks.Level.STATES)
    interrupted: Any = forks.whole_at_fork(Interrupted(), forks.Level.PROGRAM)  # type: ignore[type-var]
    with pytest.raises(KeyboardInterrupt):
        forks._before()
    assert lock.locked()
    forks._after()
    assert not lock.locked()
    del interrupted
    forks._before()
    assert lock.locked()
    forks._after()
    assert not lock.locked()


def test_a_process_ends_while_threads_run_steps() -> None:
    """Threads that the interpreter does not wait for may be anywhere in a step then."""
    done = python(
        STEP
        + """
import threading
step(x, y)

def work():
    while True:
        step(x, y)

for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.1)
print("end")
"""
    )
    assert (done.stdout, done.stderr, done.returncode) == ("end\n", "", 0)


def test_interrupt() -> None:
    """Ctrl-C ends a training loop between two steps, and the process with it."""
    done = python(
        STEP
        + """
import signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
step(x, y)
threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
steps = 0
try:
    while True:
        step(x, y)
        steps += 1
except KeyboardInterrupt:
    assert steps > 0
    print(np.isfinite(float(step(x, y))))
"""
    )
    assert done.stdout == "True\n", done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("spin", ["0", "100", "10000000"])
def test_the_process_ends(spin: str) -> None:
    """Also while workers watch for work: their code must not go before them."""
    done = python(STEP + "print(all(np.isfinite(float(step(x, y))) for _ in range(20)))", GRAPHC_SPIN_MICROSECONDS=spin)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


def test_idle_workers_sleep() -> None:
    """Workers that nobody needs take no processor time."""
    run(4, 5)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.25


def test_faults_on_several_threads() -> None:
    """One thread meets the fault, all stop, and no state has changed; then the next call runs."""
    table = graphc.tensor(np.zeros((300, 400), np.float32))

    @graphc.compile(threads=3)
    def add(rows: graphc.Tensor, places: graphc.Tensor) -> None:
        table.add_(rows.index_select(0, places))

    rows = np.ones((300, 400), np.float32)
    good, bad = np.arange(300), np.arange(300)
    bad[299] = 300
    for _ in range(3):
        add(rows, good)
        with pytest.raises(OutOfRangeError, match="300"):
            add(rows, bad)
    assert np.array_equal(table.numpy(), np.full((300, 400), 3, np.float32))


def test_set_num_threads(threads: Callable[[int], None]) -> None:
    """Programs that are there follow, up to what their work is worth; results stay the same."""
    inputs, states = arguments(GRAPH)
    program = executor(GRAPH, states)
    expected = run(1, 3)
    for count in (3, 1, 2):
        threads(count)
        assert graphc.get_num_threads() == count
        assert program.threads == min(count, program.program.parallelism)
        program.run(inputs)
    assert same(list(program.states), expected)
    assert executor(GRAPH, states).threads == min(2, program.program.parallelism)


def test_a_small_program_takes_one_thread(threads: Callable[[int], None]) -> None:
    threads(4)
    assert (
        executor("graph @f [traced] (%x: f32[8]) -> f32[8] {\n  %0 = add %x, %x : f32[8]\n  return %0\n}").threads == 1
    )


@pytest.mark.parametrize("count", [0, -1, 257])
def test_numbers_that_cannot_be(count: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 256"):
        graphc.set_num_threads(count)
    with pytest.raises(ValueError, match="from 1 to 256"):
        graphc.compile(lambda x: x, threads=count)


@pytest.mark.parametrize("count", [2.0, "2", True, None])
def test_what_is_no_number(count: object) -> None:
    with pytest.raises(TypeError, match="a number of threads is an int"):
        graphc.set_num_threads(count)


@pytest.mark.parametrize("value", ["two", "-1", "0", "1000", "1.5"])
def test_a_bad_environment_variable(value: str) -> None:
    done = python("import graphc; graphc.get_num_threads()", GRAPHC_NUM_THREADS=value)
    assert f"ValueError: GRAPHC_NUM_THREADS='{value}' is not a number of threads from 1 to 256" in done.stderr


@pytest.mark.parametrize("value", ["soon", "-1", "0.5", "99999999999999999999"])
def test_a_bad_time_to_watch(value: str) -> None:
    done = python(STEP + "step(x, y)", GRAPHC_SPIN_MICROSECONDS=value)
    assert f"ValueError: GRAPHC_SPIN_MICROSECONDS='{value}' is not a number from 0 to 1000000000" in done.stderr


def test_the_environment_variable() -> None:
    done = python("import graphc; print(graphc.get_num_threads())", GRAPHC_NUM_THREADS="5")
    assert done.stdout == "5\n"


def test_the_default_is_the_cores() -> None:
    done = python("import graphc; print(graphc.get_num_threads())", GRAPHC_NUM_THREADS="")
    assert 1 <= int(done.stdout) <= len(os.sched_getaffinity(0))


def test_workers_compute_as_the_caller_does() -> None:
    """How floats are rounded, and what becomes of subnormal ones, is a setting of each thread."""
    upward = {"x86_64": 0x800, "aarch64": 0x400000}[platform.machine()]  # FE_UPWARD
    set_rounding = ctypes.CDLL(ctypes.util.find_library("m")).fesetround
    inputs, states = arguments(GRAPH)
    alone, together = pool_executor(1, states), pool_executor(3, states)
    for program in (alone, together):
        program.run(inputs)
        assert set_rounding(upward) == 0
        try:
            for _ in range(3):
                program.run(inputs)
        finally:
            assert set_rounding(0) == 0
    assert same(list(alone.states), list(together.states))
    assert not same(list(alone.states), run(1, 4))


def test_signals_go_to_the_process() -> None:
    """Workers block all signals, so that a handler never runs in one of them."""
    run(3, 2)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
    assert pool.pool_address() == pool.pool_address()
