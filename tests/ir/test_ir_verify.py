"""Each invariant of the verifier, broken once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphc.ir import (
    Block,
    Builder,
    Graph,
    Location,
    Op,
    TensorType,
    Value,
    VerifyError,
    bool_,
    f32,
    f64,
    i64,
    parse,
    verify,
)

SCALAR, VECTOR, MATRIX = TensorType(f32, ()), TensorType(f32, (3,)), TensorType(f32, (2, 3))


def graph_of(*ops: Op, stage: str = "traced", args: tuple[Value, ...] = (), results: tuple[Value, ...] = ()) -> Graph:
    return Graph("g", args, [], ops, results, stage=stage)


def neg(x: Value, **changes: object) -> Op:
    op = Op("neg", [x], [x.type], {}, (), Location("user.py", 5))
    for key, value in changes.items():
        setattr(op, key, value)
    return op


def unknown_stage() -> Graph:
    return graph_of(stage="frozen")


def repeated_argument_name() -> Graph:
    return Graph("g", [Value(VECTOR, name="x")], [Value(VECTOR, name="x")])


def rank_of_33() -> Graph:
    return graph_of(args=(Value(TensorType(f32, (1,) * 33), name="x"),))


def negative_size() -> Graph:
    return graph_of(args=(Value(TensorType(f32, (-1,)), name="x"),))


def strides_beyond_64_bits() -> Graph:
    return graph_of(args=(Value(TensorType(f32, (0, 2**40, 2**40)), name="x"),))


def argument_given_twice() -> Graph:
    x = Value(VECTOR)
    return graph_of(args=(x, x))


def argument_that_is_a_result() -> Graph:
    op = neg(Value(VECTOR))
    return graph_of(args=(op.result,))


def op_given_twice() -> Graph:
    x = Value(VECTOR, name="x")
    op = neg(x)
    return graph_of(op, op, args=(x,))


def result_of_another_op() -> Graph:
    x = Value(VECTOR, name="x")
    return graph_of(neg(x, results=neg(x).results), args=(x,))


def argument_shared_by_two_regions() -> Graph:
    x, shared = Value(VECTOR, name="x"), Value(VECTOR, name="a")
    kernels = [Op("fused", [x], [VECTOR], {"kind": "loop"}, [Block([shared], (), [shared])]) for _ in range(2)]
    return graph_of(*kernels, args=(x,), stage="fused")


def use_before_definition() -> Graph:
    x = Value(VECTOR, name="x")
    first = neg(x)
    return graph_of(neg(first.result), first, args=(x,))


def use_of_an_outer_value_in_a_region() -> Graph:
    x, a = Value(VECTOR, name="x"), Value(VECTOR, name="a")
    inner = neg(x)
    kernel = Op("fused", [x], [VECTOR], {"kind": "loop"}, [Block([a], [inner], [inner.result])])
    return graph_of(kernel, args=(x,), stage="fused")


def undefined_result() -> Graph:
    return graph_of(results=(Value(VECTOR, name="gone"),))


def undefined_update() -> Graph:
    w = Value(VECTOR, name="w")
    return Graph("g", [], [w], updates={w: Value(VECTOR, name="gone")})


def unregistered_op() -> Graph:
    return graph_of(Op("frobnicate", [], []))


def wrong_operand_count() -> Graph:
    x = Value(VECTOR, name="x")
    return graph_of(Op("add", [x], [VECTOR]), args=(x,))


def missing_attribute() -> Graph:
    x = Value(VECTOR, name="x")
    return graph_of(Op("sum", [x], [SCALAR], {"axes": (0,)}), args=(x,))


def unknown_attribute() -> Graph:
    x = Value(VECTOR, name="x")
    return graph_of(neg(x, attributes={"speed": 3}), args=(x,))


def attribute_of_the_wrong_kind() -> Graph:
    x = Value(VECTOR, name="x")
    return graph_of(Op("sum", [x], [SCALAR], {"axes": [0], "keepdims": False}), args=(x,))


def attribute_outside_the_closed_set() -> Graph:
    return graph_of(Op("constant", [], [SCALAR], {"value": np.float32(1), "dtype": f32, "shape": ()}))


def fused_without_region() -> Graph:
    return graph_of(Op("fused", [], [], {"kind": "loop"}), stage="fused")


def neg_with_region() -> Graph:
    x = Value(VECTOR, name="x")
    return graph_of(neg(x, regions=(Block(),)), args=(x,))


def region_argument_of_another_type() -> Graph:
    x, a = Value(VECTOR, name="x"), Value(MATRIX, name="a")
    return graph_of(Op("fused", [x], [MATRIX], {"kind": "loop"}, [Block([a], (), [a])]), args=(x,), stage="fused")


def wrong_result_type() -> Graph:
    x = Value(VECTOR, name="x")
    return graph_of(Op("neg", [x], [MATRIX], {}, (), Location("user.py", 5)), args=(x,))


def operands_the_rule_refuses() -> Graph:
    x, y = Value(VECTOR, name="x"), Value(MATRIX, name="y")
    return graph_of(Op("add", [x, y], [VECTOR]), args=(x, y))


def wrong_result_count() -> Graph:
    x = Value(VECTOR, name="x")
    return graph_of(Op("neg", [x], []), args=(x,))


def region_yields_another_type() -> Graph:
    x, a = Value(VECTOR, name="x"), Value(VECTOR, name="a")
    return graph_of(Op("fused", [x], [MATRIX], {"kind": "loop"}, [Block([a], (), [a])]), args=(x,), stage="fused")


def update_of_an_input() -> Graph:
    x = Value(VECTOR, name="x")
    return Graph("g", [x], updates={x: x})


def update_of_another_type() -> Graph:
    x, w = Value(MATRIX, name="x"), Value(VECTOR, name="w")
    return Graph("g", [x], [w], updates={w: x})


def gradient_graph(wrt: TensorType = VECTOR, cotangent: TensorType = SCALAR, targets: int = 1) -> Graph:
    x, c, w = Value(VECTOR, name="x"), Value(cotangent, name="c"), Value(wrt, name="w")
    graph = Graph("g", [x, c, w])
    loss = Builder(graph).sum(x, axes=(0,), keepdims=False)
    graph.ops.append(Op("gradient", [loss, c, w], [wrt], {"targets": targets}, (), Location("user.py", 9)))
    return graph


def gradient_after_autodiff() -> Graph:
    graph = gradient_graph()
    graph.stage = "differentiated"
    return graph


def stop_gradient_in_optimized() -> Graph:
    x = Value(VECTOR, name="x")
    return graph_of(Op("stop_gradient", [x], [VECTOR]), args=(x,), stage="optimized")


def fused_in_optimized() -> Graph:
    x, a = Value(VECTOR, name="x"), Value(VECTOR, name="a")
    return graph_of(Op("fused", [x], [VECTOR], {"kind": "loop"}, [Block([a], (), [a])]), args=(x,), stage="optimized")


BROKEN: list[tuple[int, Callable[[], Graph], str]] = [
    (1, unknown_stage, "unknown stage 'frozen'; stages are traced, differentiated, optimized, fused"),
    (1, repeated_argument_name, "two arguments are named 'x'"),
    (2, rank_of_33, "argument %x has a type that cannot be represented, f32[1,1,"),
    (2, negative_size, "argument %x has a type that cannot be represented, f32[-1]"),
    (2, strides_beyond_64_bits, "argument %x has a type that cannot be represented, f32[0,1099511627776,"),
    (3, argument_given_twice, "argument %1 is defined twice"),
    (3, argument_that_is_a_result, "argument %0 is also a result of an op"),
    (3, op_given_twice, "user.py:5: result %1 is defined twice"),
    (3, result_of_another_op, "user.py:5: result %0 does not refer back to its op"),
    (3, argument_shared_by_two_regions, "argument %a is defined twice"),
    (4, use_before_definition, "user.py:5: operand %1 is not defined before its use in the same block"),
    (4, use_of_an_outer_value_in_a_region, "user.py:5: operand %x is not defined before its use in the same block"),
    (5, undefined_result, "result %<undefined gone> is not defined in the block that gives it"),
    (5, undefined_update, "the new value %<undefined gone> of %w is not defined in the graph"),
    (6, unregistered_op, "frobnicate is not a registered op"),
    (6, wrong_operand_count, "add takes 2 operands, this one has 1"),
    (7, missing_attribute, "sum lacks the attribute 'keepdims'"),
    (7, unknown_attribute, "user.py:5: neg has no attribute 'speed'"),
    (7, attribute_of_the_wrong_kind, "sum: attribute 'axes' cannot be [0]"),
    (7, attribute_outside_the_closed_set, "attribute 'value' of constant holds a value that no attribute may"),
    (8, fused_without_region, "fused cannot have 0 regions"),
    (8, neg_with_region, "user.py:5: neg cannot have 1 regions"),
    (8, region_argument_of_another_type, "the region's arguments do not match the operands in number and type"),
    (9, wrong_result_type, "user.py:5: result %0 has type f32[2,3], neg gives f32[3]"),
    (9, operands_the_rule_refuses, "add: shapes differ: f32[3] and f32[2,3]"),
    (9, wrong_result_count, "neg gives 1 results, this one has 0"),
    (9, region_yields_another_type, "result %0 has type f32[2,3], fused gives f32[3]"),
    (10, update_of_an_input, "%x is updated but is not a state"),
    (10, update_of_another_type, "state %w has type f32[3], its new value %x has type f32[2,3]"),
    (9, lambda: gradient_graph(wrt=TensorType(i64, (3,))), "gradient: i64[3] is not a float tensor"),
    (
        9,
        lambda: gradient_graph(cotangent=VECTOR),
        "gradient: the cotangent f32[3] must have the type of its",
    ),
    (9, lambda: gradient_graph(targets=2), "gradient: 3 operands with targets = 2"),
    (11, gradient_after_autodiff, "user.py:9: gradient stands in traced graphs only"),
    (12, stop_gradient_in_optimized, "stop_gradient is gone from the stage optimized on"),
    (13, fused_in_optimized, "fused stands in the stage fused only"),
]


@pytest.mark.parametrize(("rule", "make", "message"), BROKEN, ids=[getattr(m, "__name__", "") for _, m, _ in BROKEN])
def test_a_broken_invariant_is_named(rule: int, make: Callable[[], Graph], message: str) -> None:
    graph = make()
    with pytest.raises(VerifyError) as caught:
        verify(graph)
    assert message in str(caught.value)
    assert f"(rule {rule} of stage {graph.stage})" in str(caught.value)


def test_an_error_shows_the_op_and_carries_its_location() -> None:
    with pytest.raises(VerifyError) as caught:
        verify(wrong_result_type())
    assert str(caught.value) == (
        "user.py:5: result %0 has type f32[2,3], neg gives f32[3] (rule 9 of stage traced)\n    %0 = neg %x : f32[2,3]"
    )
    assert caught.value.location == Location("user.py", 5)


@pytest.mark.parametrize(
    "text",
    [
        "graph @f () -> () { return }",
        "graph @f (%x: f32[0,3]; state %w: f32[3]) -> f32[0,3] { return %x ; update %w = %w }",
        "graph @f (%0: f32[], %1: f32[]) -> f32[] { return %1 }",
        "graph @f (%x: f32[]) -> f32[] { %g = gradient %x, %x, %x : f32[] %s = stop_gradient %g : f32[] return %s }",
        "graph @f [differentiated] (%x: f32[]) -> f32[] { %s = stop_gradient %x : f32[] return %s }",
    ],
)
def test_valid_graphs_pass(text: str) -> None:
    verify(parse(text))


def test_result_types_of_a_where_are_checked_by_its_own_rule() -> None:
    c, x, y = Value(TensorType(bool_, (3,))), Value(VECTOR), Value(TensorType(f64, (3,)))
    with pytest.raises(VerifyError, match="where"):
        verify(graph_of(Op("where", [c, x, y], [VECTOR]), args=(c, x, y)))


def test_braces_in_names_do_no_harm() -> None:
    x = Value(VECTOR, name="{x}")
    with pytest.raises(VerifyError, match=r'"\{x\}"'):
        verify(Graph("g", [x], updates={x: x}))
    with pytest.raises(VerifyError, match=r"\{0\} is not a registered op"):
        verify(graph_of(Op("{0}", [], [])))
