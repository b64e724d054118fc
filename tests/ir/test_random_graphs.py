"""The random graphs: they cover every op, and a way of running them that rounds differently still passes."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from graphc.ir import Graph, evaluate_op, interpret, registered, verify
from graphc.passes.autodiff import Autodiff
from tests.closeness import Results, check_results
from tests.random_domains import keeps_exact
from tests.random_graphs import Case, random_graph

Array = np.ndarray[Any, Any]

_RELATIVE_ERRORS = {"f64": 1e-15, "f32": 3e-7, "f16": 1e-3, "bf16": 8e-3}


def sample(count: int) -> list[Case]:
    return [random_graph(random.Random(seed), n_ops=1 + seed % 30) for seed in range(count)]


def run_with_rounding_errors(graph: Graph, case: Case, rng: np.random.Generator) -> Results:
    """Interpret, with a small random error in every float that an op computes."""
    environment: dict[Any, Array] = dict(zip(graph.args, [*case.inputs, *case.states], strict=True))
    for op in graph.ops:
        arrays = evaluate_op(op, [environment[v] for v in op.operands])
        for value, array in zip(op.results, arrays, strict=True):
            error = _RELATIVE_ERRORS.get(value.type.dtype.name)
            if error is not None and not keeps_exact(op.name):
                factors = 1 + error * rng.uniform(-1, 1, array.shape)
                array = np.asarray(array.astype(np.float64) * factors).astype(array.dtype)
            environment[value] = array
    new_states = [graph.updates.get(state, state) for state in graph.states]
    return [environment[v] for v in graph.results], [environment[v] for v in new_states]


def test_they_are_valid_and_cover_every_op() -> None:
    drawn = sample(150)
    for case in drawn:
        verify(case.graph)
    counts = Counter(op.name for case in drawn for op in case.graph.ops)
    assert registered().keys() - counts.keys() == {"fused"}


def test_they_cover_scalars_ones_and_empty_axes_states_and_several_outputs() -> None:
    drawn = sample(150)
    shapes = [v.type.shape for case in drawn for op in case.graph.ops for v in op.results]
    assert {0, 1, 2, 3, 4} <= {len(s) for s in shapes}
    assert any(0 in s for s in shapes)
    assert any(1 in s for s in shapes)
    assert any(len(case.graph.results) > 2 for case in drawn)
    assert any(k is not v for case in drawn for k, v in case.graph.updates.items())
    assert sum(case.has_gradient for case in drawn) > 30


@pytest.mark.parametrize("seed", range(40))
def test_rounding_errors_stay_within_the_tolerances(seed: int) -> None:
    case = random_graph(random.Random(seed), n_ops=1 + seed % 30)
    graph = Autodiff().run(case.graph)
    actual = run_with_rounding_errors(graph, case, np.random.default_rng(seed))
    check_results(case.graph, actual, interpret(graph, case.inputs, case.states))


def test_a_wrong_result_is_noticed() -> None:
    case = random_graph(random.Random(3))
    graph = Autodiff().run(case.graph)
    outputs, states = interpret(graph, case.inputs, case.states)
    wrong = [np.asarray(a + 1).astype(a.dtype) if a.dtype != np.bool_ else ~a for a in outputs]
    with pytest.raises(AssertionError):
        check_results(case.graph, (wrong, states), (outputs, states))
