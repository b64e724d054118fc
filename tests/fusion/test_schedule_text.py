"""Schedules as text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from graphc.ir import ParseError, parse
from graphc.ir.schedule import Schedule
from graphc.ir.schedule_text import parse_schedule, print_schedule, same_schedule
from graphc.ir.verify_schedule import verify_schedule
from graphc.passes.schedule import schedule
from tests.fusion.stages import fused
from tests.fusion.training_graphs import mlp

GRAPH = """graph @"a step" [fused] (%x: f32[4]; state %"the weight": f32[4]) -> f32[4] {
  %k = constant {value = dense<f32[4], [1.0, 2.0, 3.0, 4.0]>, dtype = f32, shape = [4]} : f32[4]
  %0 = fused %x {kind = "loop"} (%x: f32[4]) {
    %a = exp %x : f32[4]
    yield %a
  } : f32[4]
  %new = fused %0, %"the weight" {kind = "loop"} (%0: f32[4], %w: f32[4]) {
    %a = sub %w, %0 : f32[4]
    yield %a
  } : f32[4]
  %y = fused %0, %k {kind = "loop"} (%0: f32[4], %k: f32[4]) {
    %a = flip %0 {axes = [0]} : f32[4]
    %b = mul %a, %k : f32[4]
    yield %b
  } : f32[4]
  return %y ; update %"the weight" = %new
}"""

TABLE = """schedule @"a step" arena 64 {
  %x = input 0            ; f32[4]
  %"the weight" = state 0 ; f32[4]
  %0 = arena 0            ; f32[4], launches 0 to 2
  %new = state 0          ; f32[4]
  %k = constant 0         ; f32[4]
  %y = output 0           ; f32[4]
  launch %0               ; 0: loop of exp; reads %x
  barrier
  launch %new             ; 1: loop of sub; reads %0, %"the weight"; %new in place
  launch %y               ; 2: loop of flip, mul; reads %0, %k
}"""


def make() -> Schedule:
    return schedule(parse(GRAPH))


def test_text_of_a_schedule() -> None:
    text = print_schedule(make())
    assert text[text.index("schedule ") :] == TABLE


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_round_trip(optimizer: str) -> None:
    planned = schedule(fused(mlp(optimizer, sizes=(6, 5, 4), batch=3)))
    text = print_schedule(planned)
    read = parse_schedule(text)
    verify_schedule(read)
    assert same_schedule(read, planned)
    assert print_schedule(read) == text
    assert [b.name for b in read.buffers.values()] == [b.name for b in planned.buffers.values()]


def test_round_trip_of_names_that_need_quotes() -> None:
    planned = make()
    assert same_schedule(parse_schedule(print_schedule(planned)), planned)


def test_locations_can_be_left_out() -> None:
    planned = schedule(fused(mlp("sgd", sizes=(6, 5, 4), batch=3)))
    text = print_schedule(planned, locations=False)
    assert "train.py" not in text
    assert same_schedule(parse_schedule(text), planned)


def test_schedules_that_differ() -> None:
    planned = make()
    others = [
        replace(planned, arena_bytes=128),
        replace(planned, body=planned.body[:-1]),
        replace(planned, body=(*planned.body[:-2], planned.body[-1], planned.body[-2])),
        replace(planned, constants=()),
        replace(planned, buffers=dict(list(planned.buffers.items())[:-1])),
        schedule(parse(GRAPH.replace("exp", "neg"))),
        parse_schedule(print_schedule(planned).replace("arena 0 ", "arena 64")),
    ]
    assert same_schedule(planned, planned)
    for other in others:
        assert not same_schedule(planned, other)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (TABLE, "", "there is no schedule after the graph"),
        ('schedule @"a step"', "schedule @step", "'@step' is not the name of the graph above"),
        ("arena 64 {", "arena -1 {", "'-1' is out of range"),
        ("arena 64 {", "arena 1000000000000000000000 {", "is out of range"),
        ("%k = constant 0", "%k = constants 0", "unknown space 'constants'; did you mean 'constant'"),
        ("%k = constant 0", "%q = constant 0", "undefined value '%q'"),
        ("%k = constant 0", "%x = constant 0", "'%x' has two places"),
        ("  %k = constant 0         ; f32[4]\n", "", "there is no place for %k"),
        ("launch %y ", "launch %k ", "'%k' is not a result of a kernel"),
        ("launch %y ", "launch %y, %0 ", "a launch names all results of its kernel, in order: %y"),
        ("barrier", "barriers", "expected 'launch', 'barrier' or '}', found 'barriers'"),
    ],
)
def test_malformed_text(old: str, new: str, message: str) -> None:
    text = print_schedule(make())
    assert text.count(old) == 1
    with pytest.raises(ParseError) as caught:
        parse_schedule(text.replace(old, new), "step.gir")
    assert message in str(caught.value)


def test_errors_point_at_their_line() -> None:
    text = print_schedule(make()).replace("launch %y", "launch %z")
    line = 1 + text[: text.index("launch %z")].count("\n")
    with pytest.raises(ParseError, match=rf"step\.gir:{line}:10: undefined value '%z'"):
        parse_schedule(text, "step.gir")


def test_text_after_the_schedule() -> None:
    with pytest.raises(ParseError, match="expected the end of the text"):
        parse_schedule(print_schedule(make()) + "\nbarrier")
