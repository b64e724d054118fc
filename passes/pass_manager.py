"""Runs passes over a graph: verifies, times, shows, and finds the one that is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from graphc.ir.errors import FaultError, GraphcError, VerifyError
from graphc.ir.graph import Graph
from graphc.ir.interpret import interpret
from graphc.ir.ops.rounding import widen
from graphc.ir.types import type_of
from graphc.ir.verify import verify

Array = np.ndarray[Any, Any]


@runtime_checkable
class Pass(Protocol):
    """A frozen dataclass whose fields are its options and whose docstring says what must hold before and after."""

    @property
    def name(self) -> str: ...

    def run(self, graph: Graph) -> Graph:
        """A new graph; `graph` stays as it is."""
        ...


Observe = Callable[[str, Graph], None]


@dataclass(frozen=True)
class Timing:
    """What one pass took, and how many ops there were before and after."""

    pass_name: str
    seconds: float
    ops_before: int
    ops_after: int


@dataclass(frozen=True)
class PassManager:
    """Runs `passes` in order. `verify_each` checks the graph before the first and after every pass;
    `observe(name, graph)` sees the result of every pass (to print it, say)."""

    passes: Sequence[Pass]
    verify_each: bool = False
    observe: Observe | None = None

    def run(self, graph: Graph) -> Graph:
        """The graph after the last pass. Raises what `run_timed` raises."""
        return self.run_timed(graph)[0]

    def run_timed(self, graph: Graph) -> tuple[Graph, list[Timing]]:
        """The graph after the last pass, and what each pass took. Raises VerifyError, naming the pass, where one breaks
        an invariant, and what the passes raise."""
        timings = []
        if self.verify_each:
            verify(graph)
        for one in self.passes:
            start = time.perf_counter()
            after = one.run(graph)
            timings.append(Timing(one.name, time.perf_counter() - start, _count(graph), _count(after)))
            graph = after
            if self.verify_each:
                _verify_after(one, graph)
            if self.observe is not None:
                self.observe(one.name, graph)
        return graph, timings


def _count(graph: Graph) -> int:
    return sum(1 for _ in graph.walk())


def _verify_after(one: Pass, graph: Graph) -> None:
    try:
        verify(graph)
    except VerifyError as error:
        raise VerifyError(f"after the pass {one.name}: {error.message}", error.location) from error


# --- bisection --------------------------------------------------------------------------------------------------------

# How far apart two roundings of one program may be, relative to the larger of 1 and the magnitude.
TOLERANCE = {"f64": 1e-9, "f32": 1e-4, "f16": 3e-2, "bf16": 2e-1}


@dataclass(frozen=True)
class Difference:
    """The first pass that changed a result: which one (`position` counts from 0), which result (an output or a state's
    new value, by number or name), and by how much."""

    pass_name: str
    position: int
    result: str
    max_error: float

    def __str__(self) -> str:
        return f"pass {self.position} ({self.pass_name}) changes {self.result}: largest error {self.max_error:g}"


def bisect(
    graph: Graph,
    inputs: Sequence[Array],
    states: Sequence[Array],
    passes: Sequence[Pass],
    tolerance: float | None = None,
) -> Difference | None:
    """The first of `passes` after which the interpreter gives other results than before all of them; None where none
    does. Floats differ where they are further apart than `tolerance`, relative to the larger of 1 and their magnitude
    (None: what rounding explains, by element type); of integers and bools, `max_error` counts those that differ. A
    fault that the graph did not have before is a difference too.

    While the graph holds `gradient` ops it has no value; comparison starts after the pass that removes the last one.
    Raises what the passes raise, and FaultError where already the first graph with a value faults.
    """
    expected = _values(graph, inputs, states)
    for position, one in enumerate(passes):
        graph = one.run(graph)
        if expected is None:
            expected = _values(graph, inputs, states)
            continue
        try:
            found = _values(graph, inputs, states)
        except FaultError as fault:
            return Difference(one.name, position, str(fault), float("inf"))
        assert found is not None
        for name, before in expected.items():
            after = found[name]
            if type_of(after) != type_of(before):
                raise GraphcError(f"{one.name} changed the type of {name}: {type_of(before)} became {type_of(after)}")
            error = _distance(before, after)
            allowed = TOLERANCE.get(type_of(before).dtype.name, 0.0) if tolerance is None else tolerance
            if error > allowed:
                return Difference(one.name, position, name, error)
    return None


def _values(graph: Graph, inputs: Sequence[Array], states: Sequence[Array]) -> dict[str, Array] | None:
    """Every output and new state value by a name for it; None where the graph has no value yet."""
    if any(op.name == "gradient" for op in graph.ops):
        return None
    outputs, updated = interpret(graph, inputs, states)
    names = [f"state {v.name or i}" for i, v in enumerate(graph.states)]
    return {**{f"output {i}": a for i, a in enumerate(outputs)}, **dict(zip(names, updated, strict=True))}


def _distance(a: Array, b: Array) -> float:
    """The largest difference between two arrays: of floats, relative to the larger of 1 and the magnitude of `a`, NaN
    being equal to NaN and to nothing else, an infinity to itself; of others, the number of elements that differ."""
    if a.dtype.kind in "biu":
        return float(np.count_nonzero(a != b))
    x, y = widen(a).astype(np.float64), widen(b).astype(np.float64)
    with np.errstate(all="ignore"):
        error = np.abs(x - y) / np.maximum(1.0, np.abs(x))
    error = np.where(np.isfinite(error), error, np.inf)
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    return float(np.max(np.where(same, 0.0, error), initial=0.0))
