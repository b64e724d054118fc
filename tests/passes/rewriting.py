"""What the tests of rewrites share: graphs from small functions, and arguments full of special values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.ir import Builder, Graph, TensorType, Value, interpret, type_of, verify

Array = np.ndarray[Any, Any]
Body = Callable[..., "Value | Sequence[Value]"]

SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 7e4, -1e-30)


def make_graph(types: Sequence[TensorType], body: Body, n_states: int = 0, stage: str = "differentiated") -> Graph:
    """The graph of `body(builder, *arguments)`; the last `n_states` arguments are states."""
    args = [Value(t, name=f"x{i}") for i, t in enumerate(types)]
    n_inputs = len(args) - n_states
    graph = Graph("f", args[:n_inputs], args[n_inputs:], stage=stage)
    results = body(Builder(graph), *args)
    graph.results = [results] if isinstance(results, Value) else list(results)
    return graph


def special_arguments(types: Sequence[TensorType]) -> list[Array]:
    """One array for each type: every combination of special values where there is room for them, in turn where not."""
    floats = [t for t in types if t.dtype.is_float]
    columns = list(zip(*itertools.product(SPECIAL, repeat=max(1, len(floats))), strict=True))
    rng = np.random.default_rng(0)
    arrays = []
    for t in types:
        if t.dtype.is_float:
            column = np.array(columns[floats.index(t)] if len(floats) == 1 else columns.pop())
            arrays.append(np.resize(column, t.shape).astype(t.dtype.numpy))
        elif t.dtype.is_bool:
            arrays.append(rng.integers(0, 2, t.shape).astype(bool))
        else:
            info = np.iinfo(t.dtype.numpy)
            ends = np.array([info.min, info.max, 0, 1, info.max // 3], t.dtype.numpy)
            arrays.append(rng.permutation(np.resize(ends, t.size)).reshape(t.shape))
    return arrays


def run(graph: Graph, arguments: Sequence[Array]) -> list[Array]:
    """Outputs, then new state values."""
    outputs, states = interpret(graph, arguments[: graph.n_inputs], arguments[graph.n_inputs :])
    return [*outputs, *states]


def assert_same_bits(actual: Sequence[Array], expected: Sequence[Array]) -> None:
    """Equal types and elements; +0.0 and -0.0 differ, any NaN equals any other."""
    assert [type_of(a) for a in actual] == [type_of(e) for e in expected]
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(_signed(a), _signed(e))


def _signed(array: Array) -> Array:
    """Elements that compare by bits, but for NaN."""
    if array.dtype.kind in "biu":
        return array
    wide = array.astype(np.float64)
    return np.stack([wide, np.where(np.isnan(wide), 0.0, np.copysign(1.0, wide))])


def assert_close(actual: Sequence[Array], expected: Sequence[Array], rtol: float = 1e-5) -> None:
    """Equal up to rounding; infinities and NaN at the same places."""
    for a, e in zip(actual, expected, strict=True):
        assert type_of(a) == type_of(e)
        np.testing.assert_allclose(a.astype(np.float64), e.astype(np.float64), rtol=rtol, atol=1e-6)


def checked(graph: Graph) -> Graph:
    """`graph`, verified."""
    verify(graph)
    return graph
