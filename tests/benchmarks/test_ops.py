"""The operations that `benchmarks.ops` measures: graphc's side is right, and what is wrong is found."""

from __future__ import annotations

import pytest

from benchmarks import ops_graphc
from benchmarks.ops_workloads import ADAM_STEPS, Operation

SMALL = [Operation("cross_entropy", (6, 5)), Operation("layer_norm", (7, 19)), Operation("adam", (33,))]


@pytest.mark.parametrize("operation", SMALL, ids=lambda o: o.kind)
def test_results_are_checked(operation: Operation) -> None:
    call, results = ops_graphc.make(operation, 1)
    for _ in range(ADAM_STEPS if operation.kind == "adam" else 1):
        call()
    assert operation.check(results()) < 2e-5
    wrong = [*results()]
    wrong[1] = wrong[1] * 1.01
    with pytest.raises(SystemExit, match="is wrong"):
        operation.check(wrong)


def test_bytes_that_have_to_be_moved() -> None:
    assert [operation.nbytes for operation in SMALL] == [2 * 4 * 30, 4 * 4 * 133, 7 * 4 * 33]
