"""Fuses small graphs, and says what came of it."""

from __future__ import annotations

import numpy as np

from graphc.ir import Graph, Op, interpret, parse, same_graph, verify
from graphc.passes.fuse import Fuse
from tests.fusion.training_graphs import arguments


def kernels(graph: Graph) -> list[Op]:
    return [op for op in graph.ops if op.name == "fused"]


def shapes_of(graph: Graph) -> list[tuple[str, list[str]]]:
    """The kind of each kernel, and the names of its ops."""
    return [(str(op.attributes["kind"]), [inner.name for inner in op.regions[0].ops]) for op in kernels(graph)]


def names_in(op: Op) -> list[str]:
    return [inner.name for inner in op.regions[0].ops]


def fuse(text: str) -> Graph:
    """Fuse a graph given by its signature and body, and check that it computes the same."""
    graph = parse(f"graph @f [optimized] {text}")
    verify(graph)
    result = Fuse().run(graph)
    verify(result)
    assert same_graph(parse(str(result)), result)
    inputs, states = arguments(graph)
    expected, actual = interpret(graph, inputs, states), interpret(result, inputs, states)
    for a, b in zip([*expected[0], *expected[1]], [*actual[0], *actual[1]], strict=True):
        np.testing.assert_array_equal(a, b)
    return result
