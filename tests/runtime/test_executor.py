"""How arrays get into and out of a program."""

from __future__ import annotations

import ctypes
import gc
import struct
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from graphc.ir.errors import DTypeError, ShapeError
from graphc.runtime.executor import Executor
from graphc.runtime.memory import ALIGNMENT, address_of, aligned_bytes, aligned_empty
from graphc.runtime.program import Program
from tests.runtime.programs import emitted, executor, state_arrays

STEP = """
graph @step [traced] (%x: f32[3,4], %rate: f64[]; state %w: f32[3,4], %fixed: f32[3,4]) -> f32[3,4], f32[] {
  %r = cast %rate {dtype = f32} : f32[]
  %rs = broadcast %r {shape = [3, 4], dims = []} : f32[3,4]
  %g = mul %x, %rs : f32[3,4]
  %n = sub %w, %g : f32[3,4]
  %y = add %x, %fixed : f32[3,4]
  %s = sum %y {axes = [0, 1], keepdims = false} : f32[]
  return %y, %s ; update %w = %n
}
"""
W = np.arange(12, dtype=np.float32).reshape(3, 4)
ONES = np.ones((3, 4), np.float32)


@pytest.fixture
def step() -> Executor:
    return executor(STEP, [W, ONES])


def after(x: Any, rate: float = 0.5) -> Any:
    return W - np.asarray(x, np.float32) * np.float32(rate)


def unaligned(array: np.ndarray) -> np.ndarray:
    raw = np.empty(array.nbytes + 1, np.uint8)
    moved = raw[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def read_only(array: np.ndarray) -> np.ndarray:
    copied = array.copy()
    copied.setflags(write=False)
    return copied


@pytest.mark.parametrize(
    "change",
    [
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
        lambda a: np.broadcast_to(a[:1], (3, 4)),
        unaligned,
        read_only,
        lambda a: a.view(np.ma.MaskedArray),
    ],
    ids=["fortran", "strided", "reversed", "broadcast", "unaligned", "read-only", "subclass"],
)
def test_layouts_of_inputs(step: Executor, change: Any) -> None:
    x = change(np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32))
    for run in (lambda: step.run([x, 0.5]), lambda: step(x, 0.5)):
        step.states[0][...] = W
        y, s = run()
        np.testing.assert_array_equal(y, np.asarray(x) + 1)
        np.testing.assert_allclose(s, np.sum(np.asarray(x) + 1), rtol=1e-5)
        np.testing.assert_allclose(step.states[0], after(x), rtol=1e-6)


@pytest.mark.parametrize(
    "rate", [0.5, np.float64(0.5), np.asarray(0.5), np.ones(3)[1] / 2], ids=lambda r: type(r).__name__
)
def test_scalars(step: Executor, rate: Any) -> None:
    step.run([ONES, rate])
    np.testing.assert_array_equal(step.states[0], after(ONES))
    step(ONES, rate)


def test_numbers_stand_for_arrays_without_dimensions() -> None:
    text = """
    graph @scalars [traced] (%a: f32[], %b: i64[], %c: bool[]) -> f32[], i64[], bool[] {
      %x = neg %a : f32[]
      %y = neg %b : i64[]
      %z = bitwise_not %c : bool[]
      return %x, %y, %z
    }
    """
    program = executor(text)
    assert [y.item() for y in program(1.5, 2, True)] == [-1.5, -2, False]
    assert [y.item() for y in program(1, 2, np.True_)] == [-1, -2, False]
    with pytest.raises(DTypeError, match=r"input 'b' must be i64\[\], got an array of float64"):
        program(1.0, 2.0, True)
    with pytest.raises(DTypeError, match="input 'c'"):
        program(1.0, 2, 1)


def test_inputs_that_share_memory_with_a_state(step: Executor) -> None:
    """The program would otherwise read what it has just written, or be told that two pointers do not meet."""
    expected = after(W)
    y, _ = step.run([step.states[0], 0.5])
    np.testing.assert_array_equal(y, W + 1)
    np.testing.assert_array_equal(step.states[0], expected)


@pytest.mark.parametrize("start", [0, 1, 11, 12])
def test_inputs_that_share_a_part_of_a_state(start: int) -> None:
    text = """
    graph @part [traced] (%x: f32[12]; state %w: f32[12]) -> f32[12] {
      %n = neg %w : f32[12]
      %f = flip %x {axes = [0]} : f32[12]
      return %f ; update %w = %n
    }
    """
    code = emitted(text)
    memory = aligned_bytes(4 * 48).view(np.float32)
    memory[...] = np.arange(48)
    state = memory[16:28]
    program = Executor(code.compile(), [state])
    x = memory[4 + start : 16 + start]
    expected = x[::-1].copy()
    np.testing.assert_array_equal(program.run([x])[0], expected)
    np.testing.assert_array_equal(state, -np.arange(16, 28))


def test_outputs_are_fresh(step: Executor) -> None:
    first = step.run([ONES, 0.0])
    second = step.run([ONES * 3, 0.0])
    np.testing.assert_array_equal(first[0], ONES * 2)
    assert not np.shares_memory(first[0], second[0])
    assert all(array.flags.owndata and array.flags.writeable for array in first)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ((ONES,), ShapeError, r"takes 2 inputs \(x, rate\), got 1"),
        ((ONES, 0.5, 0.5), ShapeError, "takes 2 inputs"),
        ((ONES[:2], 0.5), ShapeError, r"input 'x' must be f32\[3,4\], got an array of shape \[2, 4\]"),
        ((ONES.astype(np.float64), 0.5), DTypeError, r"input 'x' must be f32\[3,4\], got an array of float64; convert"),
        ((ONES.astype(">f4"), 0.5), DTypeError, "got an array of >f4"),
        ((ONES, np.ones(1)), ShapeError, r"input 'rate' must be f64\[\], got an array of shape \[1\]"),
        (("text", 0.5), DTypeError, "input 'x'"),
        ((1.0, 0.5), DTypeError, "input 'x'"),
    ],
)
def test_inputs_that_do_not_fit(step: Executor, inputs: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        step(*inputs)
    np.testing.assert_array_equal(step.states[0], W)


def test_too_few_inputs_never_run(step: Executor) -> None:
    with pytest.raises(struct.error, match="expected 4 items"):
        step.run([ONES])


def test_states_that_do_not_fit() -> None:
    code = emitted(STEP)
    program = code.compile()

    def states(first: np.ndarray) -> list[np.ndarray]:
        return [first, *state_arrays([W, ONES], code.schedule.graph)[1:]]

    def aligned(array: np.ndarray, offset: int = 0) -> np.ndarray:
        raw = aligned_bytes(array.nbytes + offset)[offset:].view(array.dtype).reshape(array.shape)
        raw[...] = array
        return raw

    with pytest.raises(ShapeError, match=r"takes 2 states \(w, fixed\), got 1"):
        Executor(program, states(W)[:1])
    with pytest.raises(ShapeError, match=r"state 'w' must be f32\[3,4\], got an array of shape \[4, 3\]"):
        Executor(program, states(aligned(W.T.copy())))
    with pytest.raises(DTypeError, match="state 'w'"):
        Executor(program, states(aligned(W.astype(np.float64))))
    for wrong in (aligned(W, 4), aligned(np.repeat(W, 2, axis=1))[:, ::2], read_only(aligned(W))):
        with pytest.raises(ValueError, match="state 'w' must be writable, dense and aligned to 64 bytes"):
            Executor(program, states(wrong))
    shared = aligned(W)
    with pytest.raises(ValueError, match="share memory"):
        Executor(program, [shared, shared])


def test_states_are_worked_on_where_they_lie() -> None:
    code = emitted(STEP)
    states = state_arrays([W, ONES], code.schedule.graph)
    program = Executor(code.compile(), states)
    program.run([ONES, 1.0])
    np.testing.assert_array_equal(states[0], W - 1)
    states[0][...] = 0  # and may be written between calls
    states[1][...] = 5
    y, _ = program.run([ONES, 1.0])
    np.testing.assert_array_equal(states[0], -ONES)
    np.testing.assert_array_equal(y, ONES * 6)


def test_calls_from_several_threads_take_turns() -> None:
    """Every call leaves its mark, and none disturbs another's working memory."""
    text = """
    graph @count [traced] (%x: f32[64,64]; state %n: i64[], %w: f32[4096]) -> f32[64,64], i64[] {
      %one = constant {value = 1, dtype = i64, shape = []} : i64[]
      %m = add %n, %one : i64[]
      %ones = constant {value = 1.0, dtype = f32, shape = [4096]} : f32[4096]
      %v = add %w, %ones : f32[4096]
      %y = contract %x, %x {spec = "mk,kn->mn"} : f32[64,64]
      %z = contract %y, %y {spec = "mk,kn->mn"} : f32[64,64]
      return %z, %m ; update %n = %m, %w = %v
    }
    """
    program = executor(text, [np.asarray(0), np.zeros(4096, np.float32)])
    threads, calls = 4, 50
    seen: list[int] = []
    wrong: list[Any] = []

    def work(number: int) -> None:
        x = np.eye(64, dtype=np.float32) * (number + 1)
        for _ in range(calls):
            z, n = program.run([x])
            seen.append(int(n))
            if not np.array_equal(z, np.eye(64) * (number + 1) ** 4):
                wrong.append(z)

    running = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not wrong
    assert sorted(seen) == list(range(1, threads * calls + 1))
    assert program.states[0] == threads * calls
    assert (program.states[1] == threads * calls).all()


def test_python_runs_on_during_a_call(step: Executor) -> None:
    """The native entry is called as a C function is, without the interpreter's lock."""
    assert type(step._loaded.entry)._flags_ & ctypes._FUNCFLAG_PYTHONAPI == 0  # type: ignore[attr-defined]


def test_nothing_outlives_an_executor() -> None:
    program = executor(STEP, [W, ONES])
    run = program.run
    held = [weakref.ref(program), weakref.ref(program._arena), weakref.ref(program.states[0])]
    del program
    gc.collect()
    np.testing.assert_array_equal(run([ONES, 0.0])[0], ONES * 2)  # the method alone keeps everything alive
    assert all(ref() is not None for ref in held)
    del run
    gc.collect()
    assert [ref() for ref in held] == [None] * 3


def test_one_program_with_several_sets_of_states() -> None:
    program: Program = emitted(STEP).compile()
    graph = emitted(STEP).schedule.graph
    a, b = (Executor(program, state_arrays([W, ONES], graph)) for _ in range(2))
    a.run([ONES, 1.0])
    np.testing.assert_array_equal(a.states[0], W - 1)
    np.testing.assert_array_equal(b.states[0], W)


@pytest.mark.parametrize(
    "array",
    [np.arange(6.0), np.arange(6.0)[2:], np.arange(6.0)[::-1], np.asarray(3.0), np.empty((0, 3)), np.ones((2, 3)).T],
    ids=["whole", "part", "reversed", "0-d", "empty", "transposed"],
)
def test_address_of(array: np.ndarray) -> None:
    assert address_of(array) == array.__array_interface__["data"][0] == array.ctypes.data


def test_aligned_memory() -> None:
    for size in (0, 1, 63, 64, 1000):
        block = aligned_bytes(size)
        assert block.nbytes == size
        assert size == 0 or address_of(block) % ALIGNMENT == 0
    graph = emitted(STEP).schedule.graph
    array = aligned_empty(graph.states[0].type)
    assert array.shape == (3, 4)
    assert array.dtype == np.float32
    assert array.flags.carray
