"""The rewriter: what it carries along, and what it refuses."""

from __future__ import annotations

import pytest

from graphc.ir import Block, Builder, Graph, GraphcError, Location, Op, TensorType, Value, f32, same_graph
from graphc.passes.rewriter import Rewriter, is_op, rewrite, rewrite_region
from tests.passes.rewriting import checked, make_graph

F4 = TensorType(f32, (4,))


def sample() -> Graph:
    def body(b: Builder, x: Value, w: Value) -> Value:
        b.location = Location("a.py", 3)
        h = b.exp(x)
        h.name = "h"
        b.location = Location("a.py", 4)
        return b.mul(h, w)

    graph = make_graph([F4, F4], body, n_states=1)
    graph.updates = {graph.states[0]: graph.results[0]}
    return graph


def fused_sample() -> Graph:
    graph = make_graph([F4], lambda b, x: x, stage="fused")
    inside = Block([Value(F4)])
    inside.results = [Builder(inside).exp(inside.args[0])]
    op = Builder(graph).append(Op("fused", graph.args, [F4], {"kind": "loop"}, [inside]))
    graph.results = [op.result]
    return graph


@pytest.mark.parametrize("graph", [sample(), fused_sample()])
def test_a_copy_is_equal_and_shares_nothing(graph: Graph) -> None:
    copy = checked(rewrite(graph, lambda b, op, operands: None))
    assert same_graph(copy, graph)
    assert not set(copy.walk()) & set(graph.walk())
    assert [v.name for op in copy.ops for v in op.results] == [v.name for op in graph.ops for v in op.results]
    assert [op.location for op in copy.walk()] == [op.location for op in graph.walk()]
    assert list(copy.updates) == copy.states[: len(copy.updates)]


def test_replacements_take_name_and_location() -> None:
    def visit(b: Builder, op: Op, operands: tuple[Value, ...]) -> list[Value] | None:
        return [b.neg(b.tanh(operands[0]))] if op.name == "exp" else None

    after = checked(rewrite(sample(), visit, stage="optimized"))
    assert after.stage == "optimized"
    assert [op.name for op in after.ops] == ["tanh", "neg", "mul"]
    assert [str(op.location) for op in after.ops] == ["a.py:3", "a.py:3", "a.py:4"]
    assert [op.result.name for op in after.ops] == [None, "h", None]


def test_an_argument_keeps_its_name() -> None:
    after = rewrite(sample(), lambda b, op, operands: [operands[0]] if op.name == "exp" else None)
    assert [v.name for v in after.args] == ["x0", "x1"]
    assert after.ops[0].operands == tuple(after.args)


def test_regions_are_visited() -> None:
    def visit(b: Builder, op: Op, operands: tuple[Value, ...]) -> list[Value] | None:
        return [b.tanh(operands[0])] if op.name == "exp" else None

    assert [op.name for op in checked(rewrite(fused_sample(), visit)).walk()] == ["fused", "tanh"]


def test_a_region_is_copied() -> None:
    (region,) = fused_sample().ops[0].regions
    copy = rewrite_region(region)
    assert [op.name for op in copy.ops] == ["exp"]
    assert not set(copy.args) & set(region.args)
    assert copy.results == [copy.ops[0].result]


def test_types_must_not_change() -> None:
    def visit(b: Builder, op: Op, operands: tuple[Value, ...]) -> list[Value] | None:
        return [b.sum(operands[0], axes=(0,))] if op.name == "exp" else None

    with pytest.raises(
        GraphcError, match=r"a.py:3: a rewrite of exp replaces values of types \(f32\[4\]\) by \(f32\[\]\)"
    ):
        rewrite(sample(), visit)


def test_ops_may_be_cloned_in_another_order() -> None:
    def body(b: Builder, x: Value) -> list[Value]:
        return [b.exp(x), b.tanh(x)]

    graph = make_graph([F4], body)
    rewriter = Rewriter(graph)
    for op in reversed(graph.ops):
        rewriter.clone(op)
    after = checked(rewriter.finish())
    assert [op.name for op in after.ops] == ["tanh", "exp"]
    assert [is_op(v, "exp") for v in after.results] == [True, False]
