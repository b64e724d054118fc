"""What a program does with values that an op does not accept: the right error, the user's line, states untouched."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.ir.errors import DivisionByZeroError, FaultError, GraphcError, NegativeExponentError, OutOfRangeError
from graphc.ir.location import Location
from tests.runtime.programs import executor

TAKE = """
graph @lookup [traced] (%i: i64[3]; state %w: f32[5,2]) -> f32[3,2] {
  %rows = take %w, %i {axis = 0} : f32[3,2]  ; train.py:14
  %n = neg %w : f32[5,2]
  return %rows ; update %w = %n
}
"""
ARITHMETIC = """
graph @arithmetic [traced] (%x: i64[4], %y: i64[4]; state %s: i64[4]) -> i64[4] {
  %q = OP %x, %y : i64[4]  ; loss.py:7
  %n = add %s, %q : i64[4]
  return %q ; update %s = %n
}
"""


def test_index_out_of_range() -> None:
    w = np.arange(10, dtype=np.float32).reshape(5, 2)
    program = executor(TAKE, [w])
    with pytest.raises(OutOfRangeError) as caught:
        program.run([np.asarray([0, 5, 1])])
    assert isinstance(caught.value, IndexError)
    assert caught.value.location == Location("train.py", 14)
    assert str(caught.value) == "train.py:14: take(f32[5,2], i64[3]) {axis = 0}: index out of range"
    np.testing.assert_array_equal(program.states[0], w)
    np.testing.assert_array_equal(program.run([np.asarray([4, 0, 1])])[0], w[[4, 0, 1]])  # as if nothing had been
    np.testing.assert_array_equal(program.states[0], -w)
    with pytest.raises(OutOfRangeError):
        program.run([np.asarray([0, -1, 1])])
    np.testing.assert_array_equal(program.states[0], -w)


@pytest.mark.parametrize(
    ("op", "bad", "error"),
    [
        ("floor_div", [1, 2, 0, 3], DivisionByZeroError),
        ("mod", [0, 2, 1, 3], DivisionByZeroError),
        ("pow", [1, 2, 0, -1], NegativeExponentError),
    ],
)
def test_integer_arithmetic(op: str, bad: list[int], error: type[GraphcError]) -> None:
    program = executor(ARITHMETIC.replace("OP", op), [np.zeros(4, np.int64)])
    x = np.asarray([7, 8, 9, 10])
    with pytest.raises(error, match=rf"^loss.py:7: {op}\(i64\[4\], i64\[4\]\): "):
        program.run([x, np.asarray(bad)])
    assert not program.states[0].any()
    program.run([x, np.asarray([1, 2, 3, 4])])
    assert program.states[0].any()


def test_checks_of_several_kinds_in_one_kernel() -> None:
    text = """
    graph @both [traced] (%x: i64[4], %y: i64[4]) -> i64[4] {
      %i = check_index %x {low = 0, high = 10} : i64[4]  ; a.py:1
      %q = floor_div %i, %y : i64[4]  ; a.py:2
      return %q
    }
    """
    program = executor(text)
    for x, y in (([11, 1, 1, 1], [1, 1, 1, 1]), ([1, 1, 1, 1], [1, 0, 1, 1])):
        with pytest.raises(FaultError) as caught:
            program.run([np.asarray(x), np.asarray(y)])
        assert type(caught.value) is FaultError
        assert caught.value.location is None
        assert str(caught.value) == (
            "check_index(i64[4]) {low = 0, high = 10}: index out of range (a.py:1); or "
            "floor_div(i64[4], i64[4]): integer division by zero (a.py:2)"
        )


def test_a_fault_stops_the_program_before_any_state_is_written() -> None:
    """The state's update does not depend on what faults, and would be ready long before."""
    text = """
    graph @late [traced] (%x: f32[64,64], %i: i64[1]; state %s: f32[64,64]) -> f32[1,64] {
      %n = add %s, %x : f32[64,64]
      %p = contract %x, %x {spec = "mk,kn->mn"} : f32[64,64]
      %q = contract %p, %x {spec = "mk,kn->mn"} : f32[64,64]
      %r = take %q, %i {axis = 0} : f32[1,64]
      return %r ; update %s = %n
    }
    """
    program = executor(text, [np.zeros((64, 64))])
    x = np.ones((64, 64), np.float32)
    for _ in range(2):
        with pytest.raises(OutOfRangeError):
            program.run([x, np.asarray([64])])
        assert not program.states[0].any()
    program.run([x, np.asarray([63])])
    assert program.states[0].all()
