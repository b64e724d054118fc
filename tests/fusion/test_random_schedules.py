"""Random programs give the same results fused, and run on the memory that was planned for them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from graphc.ir import interpret, same_graph
from graphc.ir.schedule_text import parse_schedule, print_schedule, same_schedule
from graphc.ir.verify_schedule import verify_schedule
from graphc.passes.schedule import schedule
from tests.closeness import check_results
from tests.fusion.schedule_interpreter import run_schedule
from tests.fusion.stages import fused, optimized, plain
from tests.random_graphs import random_graph


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("prepare", [plain, optimized])
def test_random_program(seed: int, prepare: object) -> None:
    rng = random.Random(seed)
    case = random_graph(rng, n_ops=rng.randint(3, 40), max_elements=48)
    source = prepare(case.graph)  # type: ignore[operator]
    graph = fused(source)
    assert same_graph(graph, fused(source))
    expected = interpret(source, case.inputs, case.states)
    # The same ops on the same arrays: not even rounding differs.
    actual = interpret(graph, case.inputs, case.states)
    for a, b in zip([*actual[0], *actual[1]], [*expected[0], *expected[1]], strict=True):
        np.testing.assert_array_equal(a, b)
    planned = schedule(graph, red_zone=64 * (seed % 2))
    verify_schedule(planned)
    assert same_schedule(parse_schedule(print_schedule(planned)), planned)
    check_results(graph, run_schedule(planned, case.inputs, case.states, seed), expected)
