"""On random programs: after every pass the graph verifies, and the interpreter gives what it gave before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings

from graphc.ir import FaultError, Graph, interpret, parse, same_graph, verify
from graphc.passes.autodiff import Autodiff
from graphc.passes.canonicalize import Canonicalize
from graphc.passes.contract_layout import ContractLayout
from graphc.passes.cse import Cse
from graphc.passes.dce import Dce
from graphc.passes.fold import Fold
from graphc.passes.pass_manager import Pass
from graphc.passes.pipeline import lower
from tests.closeness import check_results
from tests.passes.rewriting import SPECIAL, Array, assert_same_bits
from tests.random_graphs import Case, cases

thorough = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

EXACT: list[Pass] = [Fold(), Fold(limit=0), Cse(), Dce()]
ROUNDING: list[Pass] = [Canonicalize(), ContractLayout()]
every = pytest.mark.parametrize("one", [*EXACT, *ROUNDING], ids=lambda p: p.name)


@every
@thorough
@given(case=cases())
def test_results_stay(one: Pass, case: Case) -> None:
    before = Autodiff().run(case.graph)
    after = one.run(before)
    verify(after)
    expected = interpret(before, case.inputs, case.states)
    check_results(before, interpret(after, case.inputs, case.states), expected)


@pytest.mark.parametrize("one", EXACT, ids=lambda p: p.name)
@thorough
@given(case=cases())
def test_special_values_stay(one: Pass, case: Case) -> None:
    before = Autodiff().run(case.graph)
    after = one.run(before)
    inputs, states = map(specials, case.inputs), map(specials, case.states)
    arguments = list(inputs), list(states)
    with np.errstate(all="ignore"):
        try:
            expected = interpret(before, *arguments)
        except FaultError:  # a special value became a divisor or an index
            reject()
        found = interpret(after, *arguments)
    for actual, wanted in zip(found, expected, strict=True):
        assert_same_bits(actual, wanted)


@every
@thorough
@given(case=cases())
def test_running_a_pass_again_changes_nothing(one: Pass, case: Case) -> None:
    once = one.run(Autodiff().run(case.graph))
    assert same_graph(one.run(once), once)


@every
@thorough
@given(case=cases())
def test_text_holds_what_passes_make(one: Pass, case: Case) -> None:
    after = one.run(Autodiff().run(case.graph))
    assert same_graph(parse(str(after)), after)


@thorough
@given(case=cases(gradients=False))
def test_a_program_without_gradients_stays(case: Case) -> None:
    after = Autodiff().run(case.graph)
    verify(after)
    assert live_names(after) == [name for name in live_names(case.graph) if name != "stop_gradient"]
    check_results(
        case.graph, interpret(after, case.inputs, case.states), interpret(case.graph, case.inputs, case.states)
    )


def live_names(graph: Graph) -> list[str]:
    return [op.name for op in graph.ops]


def specials(array: Array) -> Array:
    """Special values in place of floats."""
    if array.dtype.kind in "biu":
        return array
    with np.errstate(all="ignore"):
        return np.resize(np.array(SPECIAL), array.shape).astype(array.dtype)


@thorough
@given(case=cases())
def test_every_stage_gives_the_same_results(case: Case) -> None:
    graphs = lower(case.graph, verify_each=True).graphs
    first = graphs["differentiated"]
    expected = interpret(first, case.inputs, case.states)
    for stage in ("optimized", "fused"):
        check_results(first, interpret(graphs[stage], case.inputs, case.states), expected)
