"""Printing and parsing back: names, attributes, arrays, locations, layout of the text."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphc.ir import (
    DTYPES,
    Block,
    Builder,
    DenseArray,
    Graph,
    Location,
    Op,
    TensorType,
    Value,
    bf16,
    f32,
    f64,
    i64,
    lookup,
    parse,
    parse_all,
    print_graph,
    print_op,
    registered,
    same_graph,
    type_of,
    verify,
)
from tests.random_graphs import Case, cases

VECTOR = TensorType(f32, (3,))
MATRIX = TensorType(f32, (4, 3))


def two_layer_graph() -> Graph:
    x, w = Value(MATRIX, name="x"), Value(TensorType(f32, (2, 3)), name="fc1.weight")
    graph = Graph("train_step", [x], [w])
    b = Builder(graph, Location("train.py", 14))
    h = b.contract(x, w, spec="mk,nk->mn")
    h.name = "h"
    b.location = Location("train.py", 15)
    h2 = b.relu(h)
    h2.name = "h"
    total = b.sum(h2, axes=(0, 1), keepdims=False)
    b.location = None
    graph.results = [total]
    graph.updates = {w: b.mul(w, b.full_like(w, 0.5))}
    return graph


def fused_graph() -> Graph:
    x = Value(VECTOR, name="x")
    a = Value(VECTOR)
    region = Block([a])
    b = Builder(region, Location("m.py", 3))
    region.results = [b.exp(a), b.neg(a)]
    graph = Graph("f", [x], stage="fused")
    op = Builder(graph, Location("m.py", 4)).append(
        Op("fused", [x], [VECTOR, VECTOR], {"kind": "loop"}, [region], Location("m.py", 4))
    )
    graph.results = list(op.results)
    return graph


def constant_graph(payload: Any, type: TensorType) -> Graph:
    graph = Graph("c")
    graph.results = [Builder(graph).constant(payload, type)]
    return graph


def round_trip(graph: Graph) -> Graph:
    text = str(graph)
    parsed = parse(text)
    assert same_graph(parsed, graph)
    assert str(parsed) == text
    return parsed


def test_a_graph_prints_like_this() -> None:
    assert str(two_layer_graph()) == (
        "graph @train_step [traced] (%x: f32[4,3]; state %fc1.weight: f32[2,3]) -> f32[] {\n"
        '  %h = contract %x, %fc1.weight {spec = "mk,nk->mn"} : f32[4,2]  ; train.py:14\n'
        "  %h.1 = relu %h : f32[4,2]  ; train.py:15\n"
        "  %0 = sum %h.1 {axes = [0, 1], keepdims = false} : f32[]  ; train.py:15\n"
        "  %1 = constant {value = 0.5, dtype = f32, shape = [2, 3]} : f32[2,3]\n"
        "  %2 = mul %fc1.weight, %1 : f32[2,3]\n"
        "  return %0 ; update %fc1.weight = %2\n"
        "}"
    )


def test_a_region_prints_like_this() -> None:
    assert str(fused_graph()) == (
        "graph @f [fused] (%x: f32[3]) -> f32[3], f32[3] {\n"
        '  %0, %1 = fused %x {kind = "loop"} (%0: f32[3]) {\n'
        "    %1 = exp %0 : f32[3]  ; m.py:3\n"
        "    %2 = neg %0 : f32[3]  ; m.py:3\n"
        "    yield %1, %2\n"
        "  } : f32[3], f32[3]  ; m.py:4\n"
        "  return %0, %1\n"
        "}"
    )


@pytest.mark.parametrize("graph", [two_layer_graph(), fused_graph()], ids=["flat", "region"])
def test_text_parses_back_with_locations_and_names(graph: Graph) -> None:
    parsed = round_trip(graph)
    assert [op.location for op in parsed.walk()] == [op.location for op in graph.walk()]
    verify(parsed)


def test_locations_can_be_left_out() -> None:
    assert "train.py" not in print_graph(two_layer_graph(), locations=False)
    assert print_graph(two_layer_graph(), locations=False) == print_graph(
        parse(str(two_layer_graph())), locations=False
    )


def test_locate_gives_ops_without_a_location_their_line_of_the_text() -> None:
    parsed = parse("\n" + str(two_layer_graph()), "a.gir", locate=True)
    assert [str(op.location) for op in parsed.ops] == [
        *("train.py:14", "train.py:15", "train.py:15", "a.gir:6", "a.gir:7")
    ]


@pytest.mark.parametrize(
    "file", ["a b.py", "C:\\x\\y.py", "<stdin>", "odd\n\u2028name", '"q".py', " pad ", "", "été.py"]
)
def test_any_file_name_survives_as_a_location(file: str) -> None:
    graph = constant_graph(1.0, VECTOR)
    graph.ops[0].location = Location(file, 7)
    assert round_trip(graph).ops[0].location == Location(file, 7)


@pytest.mark.parametrize("comment", ["note", "see: 12 of them", "ends with 12:", ":3", "a.py:x", '"bad \\q":3', "f:1²"])
def test_other_comments_are_no_locations(comment: str) -> None:
    text = f"graph @f (%x: f32[3]) -> f32[3] {{ ; {comment}\n %0 = exp %x : f32[3] ; {comment}\n return %0 }}"
    assert parse(text).ops[0].location is None


@given(st.lists(st.one_of(st.none(), st.text(), st.sampled_from(["0", "x", "a.b", "a\nb", "\ud800"])), max_size=5))
def test_argument_names_round_trip_exactly(names: list[str | None]) -> None:
    distinct = [n for i, n in enumerate(names) if n is None or n not in names[:i]]
    args = [Value(VECTOR, name=n) for n in distinct]
    graph = Graph("odd \u2028 name", args[:2], args[2:], results=args)
    assert [v.name for v in round_trip(graph).args] == distinct


def test_hints_are_made_unique_and_never_take_an_arguments_name() -> None:
    x = Value(VECTOR, name="h")
    graph = Graph("f", [x])
    b = Builder(graph)
    for hint in ("h", "h.1", "h", "1", "", None, "two words"):
        x = b.neg(x)
        x.name = hint
    assert [line.split(" = ")[0].strip() for line in str(graph).splitlines()[1:-2]] == [
        *("%h.1", "%h.1.1", "%h.2", '%"1"', "%0", "%1", '%"two words"')
    ]
    round_trip(graph)


def test_a_long_signature_takes_a_line_per_argument() -> None:
    inputs = [Value(MATRIX, name=f"a_rather_long_input_name_{i}") for i in range(3)]
    states = [Value(MATRIX, name=f"a_rather_long_state_name_{i}") for i in range(2)]
    graph = Graph("f", inputs, states, results=inputs[:1])
    assert str(graph) == (
        "graph @f [traced] (\n"
        "  %a_rather_long_input_name_0: f32[4,3],\n"
        "  %a_rather_long_input_name_1: f32[4,3],\n"
        "  %a_rather_long_input_name_2: f32[4,3]\n"
        "  ; state %a_rather_long_state_name_0: f32[4,3],\n"
        "  %a_rather_long_state_name_1: f32[4,3]\n"
        ") -> f32[4,3] {\n"
        "  return %a_rather_long_input_name_0\n"
        "}"
    )
    round_trip(graph)
    round_trip(Graph("only_states", [], [*inputs, *states]))


def test_a_graph_of_nothing() -> None:
    assert str(Graph("f")) == "graph @f [traced] () -> () {\n  return\n}"
    round_trip(Graph("f"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("-3", -3),
        ("9223372036854775807", 2**63 - 1),
        ("1e-07", 1e-7),
        ("-0.0", -0.0),
        ("nan", math.nan),
        ("inf", math.inf),
        ("-inf", -math.inf),
        ("0.1", 0.1),
    ],
)
def test_numbers_print_and_parse_exactly(text: str, value: bool | int | float) -> None:
    dtype = f64 if isinstance(value, float) else DTYPES["bool"] if isinstance(value, bool) else i64
    graph = constant_graph(value, TensorType(dtype, ()))
    assert f"value = {text}," in str(graph)
    round_trip(graph)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_any_float_round_trips(value: float) -> None:
    round_trip(constant_graph(value, TensorType(f64, ())))


def test_small_arrays_print_as_numbers_and_long_ones_as_bytes() -> None:
    small = np.array([[0.1, -0.0], [np.inf, np.nan]], np.float32)
    assert "dense<f32[2,2], [[0.1, -0.0], [inf, nan]]>" in str(round_trip(constant_graph(small, type_of(small))))
    long = np.arange(100, dtype=np.int16)
    assert 'dense<i16[100], "000001000200' in str(round_trip(constant_graph(long, type_of(long))))


def test_a_nan_with_a_payload_keeps_it() -> None:
    array = np.array([0x7FC00001, 0xFFC00000], np.uint32).view(np.float32)
    parsed = round_trip(constant_graph(array, type_of(array))).ops[0].attributes["value"]
    assert isinstance(parsed, DenseArray)
    assert parsed.array.tobytes() == array.tobytes()


@given(st.data())
def test_any_array_round_trips(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(list(DTYPES.values())))
    shape = tuple(data.draw(st.lists(st.integers(0, 4), max_size=4)))
    size = math.prod(shape) * dtype.itemsize
    raw = data.draw(st.binary(min_size=size, max_size=size))
    if dtype.is_bool:
        raw = bytes(b & 1 for b in raw)
    array = np.frombuffer(raw, dtype.numpy).reshape(shape)
    round_trip(constant_graph(array, type_of(array)))


def test_half_precisions_print_in_few_digits() -> None:
    array = np.array([0.1, 3.0e38], np.float32).astype(bf16.numpy)
    assert "[0.100098, 3.00406e+38]" in str(round_trip(constant_graph(array, type_of(array))))


@given(cases())
def test_random_graphs_round_trip(case: Case) -> None:
    verify(round_trip(case.graph))


@pytest.mark.parametrize("name", sorted(n for n, record in registered().items() if record.samples()))
def test_every_sample_of_an_op_round_trips(name: str) -> None:
    for arrays, attributes in lookup(name).samples():
        args = [Value(type_of(a)) for a in arrays]
        graph = Graph("sample", args)
        graph.results = list(Builder(graph).emit(name, args, attributes).results)
        verify(round_trip(graph))


def test_attributes_with_a_default_may_be_left_out() -> None:
    text = "graph @f (%x: f32[4,3]) -> f32[4] {{ %0 = sum %x {{axes = [1]{}}} : f32[4] return %0 }}"
    assert same_graph(parse(text.format("")), parse(text.format(", keepdims = false")))


def test_layout_of_the_text_does_not_matter() -> None:
    text = print_graph(two_layer_graph(), locations=False)
    squeezed = " ".join(text.split())
    spread = text.replace(" ", "\n").replace("\n;\nupdate\n", "\n; update\t").replace(";\nstate\n", "; state ")
    assert same_graph(parse(squeezed), two_layer_graph())
    assert same_graph(parse(f"; a comment\r\n{spread} ; the end"), two_layer_graph())


def test_several_graphs_in_one_text() -> None:
    text = f"; first\n{two_layer_graph()}\n\n; second\n{fused_graph()}\n; end"
    first, second = parse_all(text)
    assert same_graph(first, two_layer_graph())
    assert same_graph(second, fused_graph())
    assert parse_all("; nothing") == []


def test_a_broken_graph_still_prints() -> None:
    stray = Value(VECTOR, name="gone")
    graph = Graph("f", ops=[Op("frobnicate", [stray, Value(VECTOR)], [VECTOR], {"a": None, "b": [1]})])
    assert "%0 = frobnicate %<undefined gone>, %<undefined> {a = <None>, b = <[1]>} : f32[3]" in str(graph)


def test_an_op_prints_alone() -> None:
    op = two_layer_graph().ops[1]
    assert print_op(op) == "%h = relu %h : f32[4,2]  ; train.py:15"
    assert print_op(fused_graph().ops[0], locations=False).startswith(
        '%_, %_ = fused %x {kind = "loop"} (%0: f32[3]) {\n'
    )
