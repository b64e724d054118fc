"""Whatever the text, the parser answers with a graph or a ParseError, and what it accepts prints and verifies."""

from __future__ import annotations

import contextlib
import random
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from graphc.ir import Graph, ParseError, VerifyError, parse, parse_all, same_graph, verify
from tests.random_graphs import random_graph

KERNEL = """graph @"f g" [fused] (%x: f32[2,3], %"a b": f32[]; state %w: f32[2,3]) -> f32[2,3], f32[2] {
  %c = constant {value = dense<f32[2,3], [[0.5, -0.0, nan], [1.0, inf, -inf]]>, dtype = f32, shape = [2, 3]} : f32[2,3]
  %0 = fused %x, %c {kind = "loop"} (%0: f32[2,3], %1: f32[2,3]) {
    %2 = add %0, %1 : f32[2,3]  ; a.py:3
    %3 = constant {value = 1e-05, dtype = f32, shape = [2, 3]} : f32[2,3]
    %4 = mul %2, %3 : f32[2,3]  ; "b \\u0001.py":4
    yield %4
  } : f32[2,3]  ; a.py:4
  %1 = fused %0 {kind = "reduction"} (%0: f32[2,3]) {
    %1 = sum %0 {axes = [1], keepdims = false} : f32[2]
    yield %1
  } : f32[2]
  return %0, %1 ; update %w = %0
}"""
CORPUS = [KERNEL, *(str(random_graph(random.Random(seed), n_ops=8).graph) for seed in range(12))]
VOCABULARY = [
    *(
        "%0",
        "%x",
        "@f",
        "graph",
        "return",
        "yield",
        "; state",
        "; update",
        ";",
        "fused",
        "dense<",
        "->",
        "f32[2,3]",
        "[]",
    ),
    *(
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "<",
        ">",
        ",",
        ":",
        "=",
        '"',
        "\\",
        "-",
        "nan",
        "inf",
        "true",
        "1",
        "-1",
        "1e9",
        "9" * 30,
    ),
    *("\n", "\t", "\0", "\x0b", "\u2028", "é", "²", "\ud800", "loop", "axes", "shape", "kind", "9223372036854775807"),
]


def answer(text: str) -> list[Graph] | ParseError:
    try:
        return parse_all(text)
    except ParseError as error:
        return error


def check(text: str) -> None:
    found = answer(text)
    if isinstance(found, ParseError):
        assert found.location is not None
        assert 1 <= found.location.line <= text.count("\n") + 1
        assert str(found).endswith("^")
        return
    for graph in found:
        assert same_graph(parse(str(graph)), graph)
        with contextlib.suppress(VerifyError):
            verify(graph)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid text with a few pieces deleted, doubled, swapped or replaced."""
    text = draw(st.sampled_from(CORPUS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.sampled_from([0, 1, 1, 2, 5, 30, 300])))
        piece = draw(
            st.one_of(
                st.just(""),
                st.just(text[start:stop] * 2),
                st.sampled_from(VOCABULARY),
                st.text(string.printable, max_size=3),
                st.sampled_from([text[i : i + 20] for i in range(0, len(text) + 1, 7)]),
            )
        )
        text = text[:start] + piece + text[stop:]
    return text


@settings(max_examples=400)
@given(mutated())
def test_mutated_text(text: str) -> None:
    check(text)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(VOCABULARY), max_size=40).map(" ".join))
def test_tokens_in_any_order(text: str) -> None:
    check(text)
    check("graph @f (%x: f32[2,3]) -> () { " + text)


@settings(max_examples=200)
@given(st.text(max_size=80))
@example("graph @f () -> () { return }\n;")
def test_any_text(text: str) -> None:
    check(text)


@given(st.binary(max_size=200))
def test_bytes_read_as_text(data: bytes) -> None:
    check(data.decode("latin-1"))
    check(data.decode("utf-8", errors="surrogateescape"))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "graph @f (%x: f32[]) -> () { %0 = sum %x {axes = " + "[" * 100_000,
        "graph @f (%x: f32[" + "1," * 100_000,
        "graph @f (%x: f32[" + "9" * 100_000 + "])",
        "graph @f () -> () { %0 = " + "a" * 100_000 + " }",
        "graph @f () -> () { %0 = constant {value = dense<f32[" + ",".join(["1"] * 32) + "], " + "[" * 100_000,
        'graph @f () -> () { %0 = constant {value = dense<f32[1000000], "' + "0" * 100_000 + '">}',
        "graph @f () -> () { %0 = constant {value = " + "1" * 100_000 + ".0} : f32[]",
        "graph @f () -> () { %0 = iota {dtype = f32, shape = ["
        + "9223372036854775807," * 20_000
        + "1], axis = 0} : f32[]",
        "graph @f () -> () { " + ", ".join(f"%{i}" for i in range(50_000)) + " = iota",
        "graph @f (" + ", ".join(f"%x{i}: f32[]" for i in range(20_000)) + ") -> () { %0 = neg %y",
        '"' + "\\" * 100_000,
        "%" * 100_000,
        ";" * 100_000,
        "\n" * 100_000 + "x",
    ],
    ids=range(15),
)
def test_large_nonsense_is_refused_at_once(text: str) -> None:
    if text.startswith(";"):
        assert parse_all(text) == []
    else:
        with pytest.raises(ParseError):
            parse_all(text)


@pytest.mark.parametrize("text", CORPUS, ids=range(len(CORPUS)))
def test_the_texts_that_are_mutated_are_valid(text: str) -> None:
    verify(parse(text))
