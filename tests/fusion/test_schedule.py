"""The order of kernels, the barriers between them, and the arena."""

from __future__ import annotations

import pytest

from graphc.ir import Graph, parse
from graphc.ir.schedule import Barrier, Launch, Schedule
from graphc.ir.verify_schedule import spans_overlap, verify_schedule
from graphc.passes.dependences import Dependences
from graphc.passes.memory import ALIGNMENT, Block, live_blocks
from graphc.passes.schedule import schedule
from tests.fusion.stages import fused
from tests.fusion.training_graphs import mlp, transformer_block


def plan(body: str, signature: str = "(%x: f32[64])", red_zone: int = 0) -> Schedule:
    """A schedule of kernels written as `%result = op %operand, ...`, each a loop of its own over f32[64], with `->` in
    place of `return`."""
    lines = []
    for line in filter(None, map(str.strip, body.splitlines())):
        if line.startswith("->"):
            returned, _, updates = line[2:].partition(";")
            types = ", ".join(["f32[64]"] * returned.count("%"))
            lines.append(f"return {returned}" + (f" ; {updates}" if updates else ""))
            continue
        name, _, text = line.partition(" = ")
        op, _, operands = text.partition(" ")
        args = ", ".join(f"{v}: f32[64]" for v in operands.split(", "))
        attributes = " {axes = [0]}" if op == "flip" else ""
        inner = f"%r = {op} {operands}{attributes} : f32[64]"
        lines.append(f'{name} = fused {operands} {{kind = "loop"}} ({args}) {{\n{inner}\nyield %r\n}} : f32[64]')
    text = "\n".join([f"graph @f [fused] {signature} -> {types} {{", *lines, "}"])
    planned = schedule(parse(text), red_zone=red_zone)
    verify_schedule(planned)
    return planned


def order(planned: Schedule) -> str:
    """The first result of each kernel; `|` is a barrier."""
    return " ".join("|" if isinstance(n, Barrier) else str(n.op.results[0].name) for n in planned.body)


# --- order


def test_kernels_without_dependences_share_a_group() -> None:
    planned = plan("""
      %a = exp %x
      %b = tanh %x
      %c = add %a, %b
      -> %c""")
    assert order(planned) == "a b | c"


def test_late_independent_kernel_joins_an_early_group() -> None:
    planned = plan("""
      %a = exp %x
      %b = flip %a
      %c = neg %x
      -> %b, %c""")
    assert order(planned) == "c a | b"


def test_large_temporaries_wait_for_their_readers() -> None:
    """%c could run at once, but would fill memory until %d."""
    graph = parse("""graph @f [fused] (%x: f32[65536]) -> f32[65536] {
      %a = fused %x {kind = "loop"} (%x: f32[65536]) {
        %r = exp %x : f32[65536]
        yield %r
      } : f32[65536]
      %b = fused %a {kind = "reduction"} (%a: f32[65536]) {
        %r = sum %a {axes = [0], keepdims = false} : f32[]
        yield %r
      } : f32[]
      %c = fused %x {kind = "loop"} (%x: f32[65536]) {
        %r = tanh %x : f32[65536]
        yield %r
      } : f32[65536]
      %d = fused %b, %c {kind = "loop"} (%b: f32[], %c: f32[65536]) {
        %s = broadcast %b {shape = [65536], dims = []} : f32[65536]
        %r = mul %s, %c : f32[65536]
        yield %r
      } : f32[65536]
      return %d
    }""")
    planned = schedule(graph)
    verify_schedule(planned)
    assert order(planned).replace("| ", "") == "a b c d"
    assert planned.arena_bytes == 4 * 65536 + ALIGNMENT


def test_writer_of_a_state_waits_for_readers_of_the_old_value() -> None:
    planned = plan(
        """
      %new = neg %w
      %a = flip %w
      %b = exp %w
      -> %a, %b ; update %w = %new""",
        "(; state %w: f32[64])",
    )
    assert order(planned) == "a b | new"


def test_aliases_stand_before_their_readers() -> None:
    graph = parse("""graph @f [fused] (%x: f32[4,4]) -> f32[16], f32[2,8] {
      %a = reshape %x {shape = [16]} : f32[16]
      %b = fused %a {kind = "loop"} (%a: f32[16]) {
        %r = exp %a : f32[16]
        yield %r
      } : f32[16]
      %c = fused %b {kind = "loop"} (%b: f32[16]) {
        %r = neg %b : f32[16]
        yield %r
      } : f32[16]
      %d = reshape %c {shape = [2, 8]} : f32[2,8]
      return %b, %d
    }""")
    planned = schedule(graph)
    verify_schedule(planned)
    assert [op.name for op in planned.graph.ops] == ["reshape", "fused", "fused", "reshape"]
    assert [planned.buffers[v].place for v in planned.graph.results] == [("output", 0), ("output", 1)]


def test_scheduling_is_deterministic() -> None:
    graph = fused(mlp("adam"))
    assert order(schedule(graph)) == order(schedule(graph))
    assert schedule(graph).arena_bytes == schedule(graph).arena_bytes


def test_the_given_graph_stays_as_it_is() -> None:
    graph = fused(mlp("sgd"))
    before = str(graph)
    schedule(graph)
    assert str(graph) == before


# --- the arena


def test_memory_of_a_dead_value_is_used_again() -> None:
    planned = plan("""
      %a = exp %x
      %b = flip %a
      %c = flip %b
      %d = flip %c
      -> %d""")
    places = [planned.buffers[launch.op.results[0]].place for launch in planned.launches]
    assert places == [("arena", 0), ("arena", 256), ("arena", 0), ("output", 0)]
    assert planned.arena_bytes == 512


def test_dying_operand_is_updated_in_place() -> None:
    planned = plan("""
      %a = exp %x
      %b = flip %a
      %c = neg %b
      %d = flip %c
      -> %d""")
    b, c = (planned.buffers[planned.launches[i].op.results[0]] for i in (1, 2))
    assert b.place == c.place


def test_operand_that_is_read_again_is_not_updated_in_place() -> None:
    planned = plan("""
      %a = exp %x
      %b = neg %a
      %c = flip %a
      %d = add %b, %c
      -> %d""")
    a, b = (planned.buffers[planned.launches[i].op.results[0]] for i in (0, 1))
    assert order(planned) == "a | b c | d"
    assert a.place != b.place


def test_two_operands_of_one_kernel_are_not_updated_by_one_result() -> None:
    graph = parse("""graph @f [fused] (%x: f32[64]) -> f32[64] {
      %a = fused %x {kind = "loop"} (%x: f32[64]) {
        %r = exp %x : f32[64]
        yield %r
      } : f32[64]
      %p, %q = fused %a {kind = "loop"} (%a: f32[64]) {
        %r = neg %a : f32[64]
        %s = abs %a : f32[64]
        yield %r, %s
      } : f32[64], f32[64]
      %d = fused %p, %q {kind = "loop"} (%p: f32[64], %q: f32[64]) {
        %r = sub %p, %q : f32[64]
        yield %r
      } : f32[64]
      return %d
    }""")
    planned = schedule(graph)
    verify_schedule(planned)
    assert planned.arena_bytes == 512


def test_scalars_get_a_line_each() -> None:
    graph = parse("""graph @f [fused] (%x: f32[]) -> f32[] {
      %a, %b = fused %x {kind = "loop"} (%x: f32[]) {
        %r = exp %x : f32[]
        %s = neg %x : f32[]
        yield %r, %s
      } : f32[], f32[]
      %c = fused %a, %b {kind = "loop"} (%a: f32[], %b: f32[]) {
        %r = sub %a, %b : f32[]
        yield %r
      } : f32[]
      return %c
    }""")
    planned = schedule(graph)
    assert sorted(b.offset for b in planned.buffers.values() if b.space == "arena") == [0, ALIGNMENT]


def test_red_zones() -> None:
    body = """
      %a = exp %x
      %b = flip %a
      %c = flip %b
      %d = flip %c
      -> %d"""
    planned = plan(body, red_zone=64)
    places = sorted({b.offset for b in planned.buffers.values() if b.space == "arena"})
    assert places == [0, 320, 640]  # 256 bytes and a red zone each; no memory is used twice
    assert planned.arena_bytes == 960


def test_blocks_meet_where_their_groups_do() -> None:
    early, late = Block(64, 0, 1), Block(64, 2, 3)
    assert not early.meets(late)
    assert Block(64, 1, 2).meets(early)
    assert Block(64, 1, 2).meets(late)


@pytest.mark.parametrize("graph", [mlp("adam"), transformer_block()], ids=["mlp", "transformer"])
def test_arena_is_close_to_what_is_needed_at_once(graph: Graph) -> None:
    planned = schedule(fused(graph))
    found = Dependences(planned.graph)
    groups: list[list[object]] = [[]]
    for node in planned.body:
        if isinstance(node, Launch):
            groups[-1].append(node.op)
        else:
            groups.append([])
    elsewhere = {v: b for v, b in planned.buffers.items() if b.space != "arena"}
    blocks = live_blocks(found, groups, elsewhere)  # type: ignore[arg-type]
    peak = max(sum(b.nbytes for b in blocks if b.first <= i <= b.last) for i in range(len(groups)))
    assert peak <= planned.arena_bytes <= 1.25 * peak


def test_spans() -> None:
    assert spans_overlap(("arena", 0, 10), ("arena", 9, 12))
    assert not spans_overlap(("arena", 0, 10), ("arena", 10, 12))
    assert not spans_overlap(("arena", 0, 10), ("input 0", 0, 10))
