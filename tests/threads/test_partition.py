"""How a schedule's work is shared out: phases, strands, and what is worth several threads."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from graphc.codegen.spmd import strands_of, worth_of
from graphc.ir import Graph, ParseError, parse
from graphc.ir.kernel_facts import can_fault
from graphc.ir.schedule import Barrier, Launch, Partition, Schedule
from graphc.ir.schedule_text import parse_schedule, print_schedule, same_schedule
from graphc.ir.verify_schedule import verify_schedule
from tests.fusion.training_graphs import mlp, transformer_block
from tests.random_graphs import Case, cases
from tests.runtime.programs import emitted


def kernels(*lines: str, result: str = "%c") -> Graph:
    """Kernels on %x: f32[64]; each line is a name, an op and its operands."""
    body = []
    for line in lines:
        name, op, *operands = line.split()
        listed = ", ".join(operands)
        typed = ", ".join(f"{o}: f32[64]" for o in operands)
        body.append(f'  {name} = fused {listed} {{kind = "loop"}} ({typed}) {{')
        body.append(f"    %r = {op} {listed} : f32[64]\n    yield %r\n  }} : f32[64]")
    return parse("\n".join(["graph @f [fused] (%x: f32[64]) -> f32[64] {", *body, f"  return {result}", "}"]))


def shape_of(schedule: Schedule) -> list[list[list[str]]]:
    """Phases of strands of the names of results."""
    return [
        [[launch.op.results[0].name or "" for launch in strand] for strand in strands_of(phase)]
        for phase in schedule.phases
    ]


def test_a_chain_of_single_units_is_one_strand() -> None:
    chain = kernels("%a exp %x", "%b neg %a", "%c add %b %a")
    assert shape_of(emitted(chain).schedule) == [[["a", "b", "c"]]]


def test_what_is_independent_has_strands_of_its_own() -> None:
    """%c needs two strands: no single thread runs both, so it waits at a barrier."""
    fork = kernels("%a exp %x", "%b neg %x", "%c add %a %b")
    assert shape_of(emitted(fork).schedule) == [[["a"], ["b"]], [["c"]]]


@pytest.mark.parametrize(
    "graph", [mlp("adam", (784, 128, 10)), mlp("momentum", (784, 128, 64, 10), 1), transformer_block()]
)
def test_partitions_are_sound(graph: Graph) -> None:
    schedule = emitted(graph).schedule
    verify_schedule(schedule)
    text = print_schedule(schedule)
    assert "strand" in text
    assert same_schedule(parse_schedule(text), schedule)
    assert print_schedule(parse_schedule(text)) == text


@given(cases())
def test_random_partitions_are_sound(case: Case) -> None:
    schedule = emitted(case.graph).schedule
    verify_schedule(schedule)
    assert same_schedule(parse_schedule(print_schedule(schedule)), schedule)


def test_fewer_barriers_than_groups() -> None:
    """A small-batch step would otherwise meet at a barrier after nearly every kernel."""
    from_planner = list(emitted(mlp("momentum", (784, 128, 64, 10), 1)).schedule.body)
    barriers = sum(isinstance(node, Barrier) for node in from_planner)
    assert barriers < len(from_planner) - barriers - 1


def test_nothing_moves_past_a_fault() -> None:
    """What reads the result of a range check waits for the barrier that all threads check it at."""
    for phase in emitted(mlp("sgd", (20, 16, 10), 8)).schedule.phases:
        faulting = [launch for launch in phase if can_fault(launch.op)]
        if faulting:
            assert not any(b.space == "state" for launch in phase for b in launch.writes)


def test_partitions_make_schedules_differ() -> None:
    schedule = emitted(kernels("%a exp %x", "%c neg %a")).schedule
    first, *rest = schedule.body
    assert isinstance(first, Launch)
    other = replace(schedule, body=(replace(first, partition=Partition(9, 9, 9)), *rest))
    assert not same_schedule(schedule, other)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("units 1", "units -1", "out of range"),
        ("units 1", "units", "expected how many units"),
        ("cost", "costs", "'cost'"),
        ("strand 0", "strand %x", "the number of the strand"),
    ],
)
def test_malformed_partitions(old: str, new: str, message: str) -> None:
    text = print_schedule(emitted(kernels("%c exp %x")).schedule)
    assert old in text
    with pytest.raises(ParseError, match=message):
        parse_schedule(text.replace(old, new))


def test_worth() -> None:
    """Small programs get one thread; the more work between barriers, the more threads."""
    few = worth_of(emitted(mlp("sgd", (8, 8, 4), 4)).schedule)
    some = worth_of(emitted(mlp("adam", (784, 128, 10), 64)).schedule)
    many = worth_of(emitted(mlp("adam", (784, 1024, 1024, 10), 256)).schedule)
    assert few.threads == 1
    assert not few.wake
    assert 2 <= some.threads < many.threads
    assert many.wake
