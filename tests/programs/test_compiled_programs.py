"""Random programs, with nested gradients and updated states, give the same results interpreted and compiled.

GRAPHC_RANDOM_PROGRAMS sets how many are drawn (default 500).
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings

from graphc.cli.run import run_compiled
from graphc.ir import interpret
from graphc.passes.autodiff import Autodiff
from tests.closeness import check_results
from tests.random_graphs import Case, cases

COUNT = int(os.environ.get("GRAPHC_RANDOM_PROGRAMS", "500"))


@settings(max_examples=COUNT, deadline=None, suppress_health_check=list(HealthCheck), derandomize="CI" in os.environ)
@given(cases())
def test_compiled_programs_agree_with_the_interpreter(case: Case) -> None:
    differentiated = Autodiff().run(case.graph)
    expected = interpret(differentiated, case.inputs, case.states)
    check_results(differentiated, run_compiled(case.graph, case.inputs, case.states), expected)
