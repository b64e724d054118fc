"""Index arithmetic: whatever is simplified has the value, and the bounds, that Python's ints give."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphc.codegen.index import Condition, Index, ravel, unravel

SIZES = {"i": 5, "j": 4}

leaves = st.sampled_from(["i", "j"]) | st.integers(-3, 9)
expressions = st.recursive(
    leaves,
    lambda inner: (
        st.tuples(st.sampled_from(["+", "-"]), inner, inner)
        | st.tuples(st.just("*"), inner, st.integers(-4, 6))
        | st.tuples(st.sampled_from(["//", "%"]), inner, st.integers(1, 7))
    ),
    max_leaves=8,
)


def value_of(expression: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(expression, str):
        return names[expression]
    if isinstance(expression, int):
        return expression
    operator, left, right = expression
    a, b = value_of(left, names), value_of(right, names)
    if operator in "+-":
        return a + b if operator == "+" else a - b
    return a * b if operator == "*" else a // b if operator == "//" else a % b


def places() -> list[dict[str, int]]:
    return [dict(zip(SIZES, at, strict=True)) for at in itertools.product(*map(range, SIZES.values()))]


@settings(max_examples=400)
@given(expressions)
def test_simplified_index_has_the_value_of_the_expression(expression: Any) -> None:
    symbolic = Index.of(value_of(expression, {n: Index.variable(n, 0, s - 1, 0) for n, s in SIZES.items()}))
    for at in places():
        found = eval(symbolic.text, {}, at)
        assert found == value_of(expression, at)
        assert symbolic.low <= found <= symbolic.high


@settings(max_examples=300)
@given(expressions, st.integers(-5, 9))
def test_comparison_is_decided_only_where_it_holds_everywhere(expression: Any, bound: int) -> None:
    x = Index.of(value_of(expression, {n: Index.variable(n, 0, s - 1, 0) for n, s in SIZES.items()}))
    for sign, outcome in {"<": x < bound, "<=": x <= bound, ">": x > bound, ">=": x >= bound, "==": x == bound}.items():
        for at in places():
            expected = eval(f"value {sign} bound", {"value": value_of(expression, at), "bound": bound})
            assert (eval(outcome.text, {}, at) if isinstance(outcome, Condition) else outcome) == expected


@pytest.mark.parametrize(
    ("shape", "other"),
    [((64, 128), (128, 64)), ((2, 3, 4), (4, 6)), ((6, 4), (2, 3, 2, 2)), ((5, 7), (7, 5)), ((24,), (2, 3, 4))],
)
def test_reshaping_back_and_forth_leaves_no_division(shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    index = [Index.variable(f"i{d}", 0, n - 1, 0) for d, n in enumerate(shape)]
    there = unravel(ravel(index, shape), other)
    assert ravel(there, other).text == ravel(index, shape).text
    back = unravel(ravel(there, other), shape)
    assert [i.text for i in back] == [i.text for i in index]


def test_text_is_readable() -> None:
    i, j = Index.variable("i", 0, 9, 0), Index.variable("j", 0, 63, 0)
    assert (i * 128 + j - 1).text == "i * 128 + j - 1"
    assert ((i * 128 + j) // 128).text == "i"
    assert (9 - i).text == "9 - i"
    assert (-i - 9).text == "-i - 9"


def test_variable_of_one_value_is_that_value() -> None:
    assert Index.variable("i", 0, 0, 0).known == 0


def test_condition_has_no_truth_value() -> None:
    i = Index.variable("i", 0, 9, 0)
    with pytest.raises(TypeError, match="known only while the kernel runs"):
        bool(i < 5)
    both = (i < 5) & (i >= 2) & True
    assert isinstance(both, Condition)
    assert both.text == "i < 5 and i >= 2"
    assert ((i < 5) & False) is False


def test_product_of_two_variables_is_rejected() -> None:
    i = Index.variable("i", 0, 9, 0)
    with pytest.raises(TypeError, match="linear"):
        i * i
