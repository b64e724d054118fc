"""Gradients of one op as graphs, to any order, and their comparison with central differences."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value
from graphc.ir.interpret import interpret
from graphc.ir.types import TensorType, f64, type_of
from graphc.passes.autodiff import Autodiff

Array = np.ndarray[Any, Any]


def gradient_graph(name: str, types: list[TensorType], attributes: dict[str, Any], order: int) -> Graph:
    """Inputs: the op's operands, then for each order the cotangents of what the order before yields. Results: the
    op's result (order 0), or the gradients of order n by all float operands and all cotangents of lower orders."""
    graph = Graph(name, [Value(t, name=f"x{i}") for i, t in enumerate(types)])
    builder = Builder(graph)
    targets = list(builder.emit(name, graph.inputs, attributes).results)
    for _ in range(order):
        wrt = [v for v in graph.inputs if v.type.dtype.is_float]
        cotangents = [Value(v.type, name=f"c{graph.n_inputs + i}") for i, v in enumerate(targets)]
        graph.args += cotangents
        graph.n_inputs += len(cotangents)
        targets = list(builder.emit("gradient", [*targets, *cotangents, *wrt], {"targets": len(targets)}).results)
    graph.results = targets
    return Autodiff().run(graph)


def gradients(name: str, operands: list[Array], cotangent: Array, **attributes: Any) -> list[Array]:
    """First-order gradients of the float operands."""
    graph = gradient_graph(name, [type_of(a) for a in operands], attributes, 1)
    return interpret(graph, [*operands, cotangent])[0]


def assert_gradients_match_differences(
    name: str, operands: list[Array], attributes: dict[str, Any], order: int
) -> None:
    """The gradient of order n, against differences of the gradient of order n - 1 along one random direction. Float
    operands are f64."""
    random = np.random.default_rng(7)
    types = [type_of(a) for a in operands]
    below, graph = (gradient_graph(name, types, attributes, n) for n in (order - 1, order))
    inputs = [*operands, *(_random(random, v.type) for v in below.inputs[len(operands) :])]
    cotangents = [_random(random, v.type) for v in graph.inputs[below.n_inputs :]]
    found, _ = interpret(graph, [*inputs, *cotangents])

    moved = [i for i, v in enumerate(below.inputs) if v.type.dtype.is_float]
    directions = {i: _random(random, below.inputs[i].type) for i in moved}

    def weighted(step: float) -> float:
        at = [x + step * directions[i] if i in directions else x for i, x in enumerate(inputs)]
        return float(sum(np.sum(r * c) for r, c in zip(interpret(below, at)[0], cotangents, strict=True)))

    step = 1e-5
    differences = (weighted(step) - weighted(-step)) / (2 * step)
    slope = float(sum(np.sum(g * directions[i]) for g, i in zip(found, moved, strict=True)))
    np.testing.assert_allclose(slope, differences, rtol=2e-6, atol=1e-6)


def _random(random: np.random.Generator, type: TensorType) -> Array:
    assert type.dtype == f64
    return np.asarray(random.uniform(-1, 1, type.shape))
