"""Constant folding, common subexpressions, dead code."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.ir import (
    Builder,
    DenseArray,
    Graph,
    GraphcError,
    Location,
    TensorType,
    Value,
    bf16,
    bool_,
    f32,
    i8,
    i64,
    same_graph,
)
from graphc.passes.canonicalize import Canonicalize
from graphc.passes.constants import as_element, is_identity, is_power_of_two, splat_of
from graphc.passes.contract_layout import ContractLayout
from graphc.passes.cse import Cse
from graphc.passes.dce import Dce
from graphc.passes.fold import Fold
from graphc.passes.pass_manager import Pass
from tests.passes.rewriting import assert_same_bits, checked, make_graph, run, special_arguments

F4, BIG = TensorType(f32, (4,)), TensorType(f32, (1000, 1000))
SCALAR = TensorType(i64, ())


def folded(*results: Value) -> list[object]:
    """What the constants that the results became hold."""
    assert all(v.op and v.op.name == "constant" for v in results)
    return [v.op.attributes["value"] for v in results if v.op]


# --- fold


def test_pointwise_of_splats_is_a_splat_of_any_size() -> None:
    graph = make_graph([], lambda b: b.exp(b.add(b.constant(1.0, BIG), b.constant(0.5, BIG))))
    after = checked(Fold().run(graph))
    assert folded(*after.results) == [float(np.exp(np.float32(1.5)))]


def test_splats_round_as_their_type_does() -> None:
    half = TensorType(bf16, (4,))
    graph = make_graph([], lambda b: b.add(b.constant(1.0, half), b.constant(0.0039, half)))
    assert folded(*Fold().run(graph).results) == [1.0]


def test_small_arrays_fold_through_any_op() -> None:
    def body(b: Builder) -> list[Value]:
        x = b.constant(np.arange(4, dtype=np.float32), F4)
        y = b.constant(np.array([[1, 2]] * 4, np.float32), TensorType(f32, (4, 2)))
        return [b.contract(x, y, spec="k,kn->n"), b.mul(x, b.full_like(x, 0.0)), b.argmax(x, axes=(0,))]

    graph = make_graph([], body)
    after = checked(Fold().run(graph))
    product, zeros, last = folded(*after.results)
    assert product == DenseArray(np.array([6, 12], np.float32))
    assert (zeros, last) == (0.0, 3)
    assert_same_bits(run(after, []), run(graph, []))


def test_large_arrays_stay_ops() -> None:
    graph = make_graph([], lambda b: b.exp(b.constant(np.arange(9, dtype=np.float32), TensorType(f32, (9,)))))
    assert [op.name for op in Fold(limit=8).run(graph).ops] == ["constant", "exp"]
    assert folded(*Fold(limit=9).run(graph).results)


def test_what_generates_stays() -> None:
    def body(b: Builder) -> list[Value]:
        key = b.constant(1, SCALAR)
        return [b.iota(dtype=i64, shape=(3,), axis=0), b.random_uniform(key, key, dtype=f32, shape=(3,))]

    assert [op.name for op in Fold().run(make_graph([], body)).ops] == ["constant", "iota", "random_uniform"]


def test_faults_are_left_for_run_time() -> None:
    def body(b: Builder) -> list[Value]:
        x, zero = b.constant(7, SCALAR), b.constant(0, SCALAR)
        return [b.floor_div(x, zero), b.check_index(x, low=0, high=7), b.check_index(x, low=0, high=8)]

    after = Fold().run(make_graph([], body))
    assert [v.op.name for v in after.results if v.op] == ["floor_div", "check_index", "constant"]


def test_special_values_fold_exactly() -> None:
    def body(b: Builder) -> list[Value]:
        x = b.constant(special_arguments([TensorType(f32, (12,))])[0], TensorType(f32, (12,)))
        zero, bottom = b.full_like(x, -0.0), b.full_like(x, -np.inf)
        return [b.mul(x, zero), b.add(x, bottom), b.neg(zero), b.relu(x), b.sign(x), b.max(x, axes=(0,))]

    graph = make_graph([], body)
    after = checked(Fold().run(graph))
    assert len(folded(*after.results)) == 6
    assert_same_bits(run(after, []), run(graph, []))


def test_elements() -> None:
    assert as_element(300, i8) == 44
    assert as_element(-129, i8) == 127
    assert as_element(1e40, f32) == np.inf
    assert as_element(2, bool_) is True
    assert [is_power_of_two(v) for v in (1, 0.25, -8, 3, 0, np.inf, np.nan)] == [True] * 3 + [False] * 4
    b = Builder(Graph("f"))
    assert splat_of(b.constant(0.1, F4)) == float(np.float32(0.1))
    assert not is_identity("add", b.constant(0.0, F4))
    assert is_identity("add", b.constant(-0.0, F4))
    assert not is_identity("exp", b.constant(0.0, F4))


# --- cse


def test_equal_ops_are_one() -> None:
    def body(b: Builder, x: Value, y: Value) -> list[Value]:
        b.location = Location("a.py", 1)
        first = b.exp(b.add(x, y))
        b.location = Location("a.py", 2)
        return [first, b.exp(b.add(y, x)), b.sub(x, y), b.sub(y, x)]

    after = checked(Cse().run(make_graph([F4, F4], body)))
    assert [op.name for op in after.ops] == ["add", "exp", "sub", "sub"]
    assert after.results[0] is after.results[1]
    assert [str(op.location) for op in after.ops] == ["a.py:1", "a.py:1", "a.py:2", "a.py:2"]


def test_attributes_tell_ops_apart() -> None:
    def body(b: Builder, x: Value) -> list[Value]:
        zeros = [b.full_like(x, v) for v in (0.0, -0.0, np.nan, float("nan"))]
        casts = [b.cast(x, dtype=d) for d in (bf16, f32)]
        return [*zeros, *casts, b.sum(x, axes=(0,)), b.sum(x, axes=(0,), keepdims=True), b.sum(x, axes=())]

    after = Cse().run(make_graph([F4], body))
    assert len(after.ops) == 8
    assert after.results[2] is after.results[3]


def test_equal_arrays_are_one() -> None:
    def body(b: Builder) -> list[Value]:
        arrays = [np.arange(4), np.arange(4), np.arange(4)[::-1]]
        return [b.constant(a.astype(np.float32), F4) for a in arrays]

    after = Cse().run(make_graph([], body))
    assert len(after.ops) == 2


def test_equal_draws_are_one() -> None:
    """A random op is a function of its key and offset."""

    def body(b: Builder, key: Value, offset: Value) -> list[Value]:
        draw = {"dtype": f32, "shape": (3,)}
        return [b.random_normal(key, offset, **draw) for _ in range(2)] + [b.random_normal(offset, key, **draw)]

    assert len(Cse().run(make_graph([SCALAR, SCALAR], body)).ops) == 2


# --- dce


def test_dead_ops_and_dead_stores_go() -> None:
    def body(b: Builder, x: Value, w: Value, v: Value) -> list[Value]:
        b.log(b.exp(x))
        b.check_index(b.cast(x, dtype=i64), low=0, high=1)
        return [b.neg(x)]

    graph = make_graph([F4, F4, F4], body, n_states=2)
    w, v = graph.states
    graph.updates = {w: w, v: graph.results[0]}
    after = checked(Dce().run(graph))
    assert [op.name for op in after.ops] == ["neg"]
    assert after.updates == {after.states[1]: after.results[0]}


def test_what_an_update_needs_stays() -> None:
    graph = make_graph([F4, F4], lambda b, x, w: b.neg(x), n_states=1)
    b = Builder(graph)
    graph.updates = {graph.states[0]: b.mul(graph.states[0], b.exp(graph.inputs[0]))}
    graph.results = []
    assert [op.name for op in Dce().run(graph).ops] == ["exp", "mul"]


@pytest.mark.parametrize("one", [Dce(), Cse(), Fold(), Canonicalize(), ContractLayout()], ids=lambda p: p.name)
def test_nothing_is_simplified_before_autodiff(one: Pass) -> None:
    def body(b: Builder, x: Value) -> list[Value]:
        b.location = Location("train.py", 12)
        y = b.sum(x, axes=(0,))
        return [b.gradient(y, b.full_like(y, 1.0), x)]

    with pytest.raises(GraphcError, match=f"train.py:12: {one.name} cannot run .* run autodiff first"):
        one.run(make_graph([F4], body, stage="traced"))


@pytest.mark.parametrize("one", [Dce(), Cse(), Fold(), Canonicalize(), ContractLayout()], ids=lambda p: p.name)
def test_the_graph_given_stays_as_it_is(one: Pass) -> None:
    def body(b: Builder, x: Value) -> list[Value]:
        y = b.mul(b.neg(b.neg(x)), b.add(b.full_like(x, 2.0), b.full_like(x, 2.0)))
        return [
            b.contract(
                b.transpose(b.reshape(y, shape=(2, 2)), perm=(1, 0)), b.reshape(y, shape=(2, 2)), spec="mk,kn->mn"
            )
        ]

    graph, twin = (make_graph([F4], body) for _ in range(2))
    one.run(graph)
    assert same_graph(graph, twin)
