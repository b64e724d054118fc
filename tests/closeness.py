"""Compares the results of two ways of running one graph, up to rounding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.ir import Graph, Value, type_of

Array = np.ndarray[Any, Any]
Results = tuple[Sequence[Array], Sequence[Array]]  # outputs, new states: what `interpret` returns

TOLERANCES = {"f64": 1e-9, "f32": 5e-4, "f16": 0.05, "bf16": 0.3}


def check_results(graph: Graph, actual: Results, expected: Results) -> None:
    """Fails unless both runs of `graph` gave the same outputs and new states up to rounding in the coarsest element
    type that each was computed through. `graph` may be of any stage in which the results depend on the same values."""
    coarsest = _coarsest(graph)
    outputs = [coarsest[v] for v in graph.results]
    states = [coarsest[graph.updates.get(v, v)] for v in graph.states]
    check_close(actual[0], expected[0], outputs, "output")
    check_close(actual[1], expected[1], states, "state")


def check_close(
    actual: Sequence[Array], expected: Sequence[Array], tolerances: Sequence[float] | None = None, role: str = "result"
) -> None:
    """Fails unless each array has the type of the expected one and its numbers: integers and bools exactly, floats
    within a tolerance (by default that of their own type) of the largest magnitude in the array, or of 1."""
    assert len(actual) == len(expected)
    for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
        assert (a.dtype, a.shape) == (e.dtype, e.shape), f"{role} {i} is {a.dtype}{a.shape}, not {e.dtype}{e.shape}"
        dtype = type_of(e).dtype
        if not dtype.is_float:
            np.testing.assert_array_equal(a, e, err_msg=f"{role} {i}")
            continue
        tolerance = tolerances[i] if tolerances else TOLERANCES[dtype.name]
        wide = e.astype(np.float64)
        scale = float(np.max(np.abs(wide), initial=1.0, where=np.isfinite(wide)))
        np.testing.assert_allclose(
            a.astype(np.float64), wide, rtol=0, atol=tolerance * scale, err_msg=f"{role} {i} ({dtype})"
        )


def _coarsest(graph: Graph) -> dict[Value, float]:
    """The largest tolerance among each value's own type and those it depends on through floats."""
    found = {arg: TOLERANCES.get(arg.type.dtype.name, 0.0) for arg in graph.args}
    for op in graph.ops:
        through = max((found[v] for v in op.operands), default=0.0)
        for result in op.results:
            own = TOLERANCES.get(result.type.dtype.name)
            found[result] = 0.0 if own is None else max(own, through)
    return found
