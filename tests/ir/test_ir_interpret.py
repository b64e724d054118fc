"""The interpreter: results, states, regions, argument checks, faults."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given

from graphc.ir import (
    DifferentiationError,
    DivisionByZeroError,
    DTypeError,
    Location,
    OutOfRangeError,
    ShapeError,
    evaluate_block,
    evaluate_op,
    interpret,
    parse,
    same_graph,
    verify,
)
from graphc.passes.autodiff import Autodiff
from tests.random_graphs import Case, cases, random_graph

STEP = parse(
    """graph @step (%x: f32[2]; state %w: f32[2], %n: i64[], %frozen: f32[]) -> f32[2] {
  %y = mul %x, %w : f32[2]
  %one = constant {value = 1, dtype = i64, shape = []} : i64[]
  %m = add %n, %one : i64[]
  return %y ; update %n = %m, %w = %y
}"""
)
X, W = np.array([1, 2], np.float32), np.array([3, 4], np.float32)
STATES = [W, np.array(7), np.array(5, np.float32)]


def test_outputs_and_every_state_in_order() -> None:
    outputs, states = interpret(STEP, [X], STATES)
    np.testing.assert_array_equal(outputs, [[3, 8]])
    np.testing.assert_array_equal(states[0], [3, 8])
    assert (states[1], states[2]) == (8, 5)


def test_results_are_fresh_and_arguments_untouched() -> None:
    graph = parse(
        "graph @f (%x: f32[2]; state %w: f32[2]) -> f32[2], f32[1,2] {\n"
        " %r = reshape %x {shape = [1, 2]} : f32[1,2] return %x, %r ; update %w = %x }"
    )
    x, w = X.copy(), W.copy()
    outputs, states = interpret(graph, [x], [w])
    for result in (*outputs, *states):
        assert not np.shares_memory(result, x)
        assert result.flags.writeable
    np.testing.assert_array_equal(w, W)


def test_regions_are_evaluated_with_their_own_arguments() -> None:
    graph = parse(
        """graph @f [fused] (%x: f32[2], %y: f32[2]) -> f32[2], f32[2] {
      %a, %b = fused %y, %x {kind = "loop"} (%x: f32[2], %y: f32[2]) {
        %0 = sub %x, %y : f32[2]
        yield %0, %x
      } : f32[2], f32[2]
      return %a, %b
    }"""
    )
    outputs, _ = interpret(graph, [X, W])
    np.testing.assert_array_equal(outputs, [W - X, W])


def test_a_block_or_an_op_can_be_evaluated_alone() -> None:
    np.testing.assert_array_equal(evaluate_block(STEP, [X, *STATES]), [[3, 8]])
    np.testing.assert_array_equal(evaluate_op(STEP.ops[0], [X, W]), [[3, 8]])


@pytest.mark.parametrize(
    ("inputs", "states", "error", "message"),
    [
        ([], STATES, ShapeError, "graph @step takes 1 inputs, got 0"),
        ([X], STATES[:2], ShapeError, "graph @step takes 3 states, got 2"),
        ([X[:1]], STATES, ShapeError, r"input x of graph @step is f32\[2\], got an array of shape \(1,\)"),
        ([X.astype(np.float64)], STATES, DTypeError, r"input x of graph @step is f32\[2\], got an array of float64"),
        ([X], [W, 1.0, STATES[2]], DTypeError, r"state n of graph @step is i64\[\], got an array of float64"),
    ],
)
def test_arguments_must_fit(inputs: list, states: list, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        interpret(STEP, inputs, states)


def test_a_gradient_op_is_refused_with_the_remedy() -> None:
    graph = parse("graph @f (%x: f32[]) -> f32[] { %g = gradient %x, %x, %x : f32[]  ; t.py:4\n return %g }")
    with pytest.raises(DifferentiationError, match=r"t\.py:4: gradient cannot be evaluated: .* autodiff"):
        interpret(graph, [np.float32(1)])


def test_a_fault_carries_the_users_line_even_in_a_region() -> None:
    graph = parse(
        """graph @f [fused] (%x: f32[2], %i: i64[1]) -> f32[1] {
      %y = fused %x, %i {kind = "loop"} (%x: f32[2], %i: i64[1]) {
        %0 = take %x, %i {axis = 0} : f32[1]  ; user.py:31
        yield %0
      } : f32[1]  ; user.py:30
      return %y
    }"""
    )
    with pytest.raises(OutOfRangeError, match=r"^user\.py:31: take: index 2 is out of range") as caught:
        interpret(graph, [X, np.array([2])])
    assert caught.value.location == Location("user.py", 31)


def test_an_integer_division_by_zero_is_a_fault() -> None:
    graph = parse("graph @f (%a: i32[]) -> i32[] { %0 = mod %a, %a : i32[]  ; m.py:2\n return %0 }")
    with pytest.raises(DivisionByZeroError, match=r"^m\.py:2: mod"):
        interpret(graph, [np.int32(0)])


@given(cases(gradients=False))
def test_random_graphs_run_alike_after_a_round_trip(case: Case) -> None:
    once = interpret(case.graph, case.inputs, case.states)
    again = interpret(parse(str(case.graph)), case.inputs, case.states)
    for a, b in zip([*once[0], *once[1]], [*again[0], *again[1]], strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


@given(cases())
def test_random_graphs_run_after_autodiff(case: Case) -> None:
    graph = Autodiff().run(case.graph)
    verify(graph)
    outputs, states = interpret(graph, case.inputs, case.states)
    for value, array in zip([*graph.results, *graph.states], [*outputs, *states], strict=True):
        assert (array.dtype, array.shape) == (value.type.dtype.numpy, value.type.shape)


def test_a_seed_gives_one_random_graph() -> None:
    first, second = (random_graph(random.Random(11)) for _ in range(2))
    assert same_graph(first.graph, second.graph)
    for a, b in zip([*first.inputs, *first.states], [*second.inputs, *second.states], strict=True):
        np.testing.assert_array_equal(a, b)
