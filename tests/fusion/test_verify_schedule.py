"""The schedule's verifier notices every invariant that is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from graphc.ir import Graph, Op, Value, VerifyError, parse
from graphc.ir.schedule import Barrier, Buffer, Launch, Node, Partition
from graphc.ir.verify_schedule import verify_schedule
from graphc.passes.schedule import schedule

# %p and %q are in the arena, one after the other; %w is updated in place; %out is an output.
GRAPH = """graph @f [fused] (%x: f32[4,4]; state %w: f32[4,4]) -> f32[2,2] {
  %k = constant {value = dense<f32[4], [1.0, 2.0, 3.0, 4.0]>, dtype = f32, shape = [4]} : f32[4]
  %p = fused %x, %w {kind = "contraction"} (%x: f32[4,4], %w: f32[4,4]) {
    %a = contract %x, %w {spec = "mk,kn->mn"} : f32[4,4]
    yield %a
  } : f32[4,4]
  %q = fused %p {kind = "reduction"} (%p: f32[4,4]) {
    %a = sum %p {axes = [1], keepdims = false} : f32[4]
    yield %a
  } : f32[4]
  %v = fused %w, %p {kind = "loop"} (%w: f32[4,4], %p: f32[4,4]) {
    %a = sub %w, %p : f32[4,4]
    yield %a
  } : f32[4,4]
  %o = fused %q, %k {kind = "loop"} (%q: f32[4], %k: f32[4]) {
    %a = flip %q {axes = [0]} : f32[4]
    %b = mul %a, %k : f32[4]
    yield %b
  } : f32[4]
  %out = reshape %o {shape = [2, 2]} : f32[2,2]
  return %out ; update %w = %v
}"""


class Broken:
    """A sound schedule, and ways to break it."""

    def __init__(self, text: str = GRAPH):
        self.schedule = schedule(parse(text))
        verify_schedule(self.schedule)
        self.values = {v.name: v for op in self.graph.ops for v in op.results} | {v.name: v for v in self.graph.args}

    @property
    def graph(self) -> Graph:
        return self.schedule.graph

    def body(self, change: Callable[[list[Node]], object]) -> Broken:
        nodes = list(self.schedule.body)
        change(nodes)
        self.schedule = replace(self.schedule, body=tuple(nodes))
        return self

    def move(self, name: str, **fields: object) -> Broken:
        """Change a value's buffer, everywhere it is used."""
        return self.buffers({self.values[name]: replace(self.schedule.buffers[self.values[name]], **fields)})  # type: ignore[arg-type]

    def buffers(self, changed: dict[Value, Buffer]) -> Broken:
        buffers = {**self.schedule.buffers, **changed}
        body = [_launch(node.op, buffers) if isinstance(node, Launch) else node for node in self.schedule.body]
        self.schedule = replace(self.schedule, buffers=buffers, body=tuple(body))
        return self

    def fails(self, rule: int, message: str) -> None:
        with pytest.raises(VerifyError, match=rf"{message}.*\(rule {rule} of schedules\)"):
            verify_schedule(self.schedule)

    def launch(self, name: str) -> Launch:
        return next(node for node in self.schedule.launches if self.values[name] in node.op.results)


def _launch(op: Op, buffers: dict[Value, Buffer]) -> Launch:
    return Launch(op, tuple(buffers[v] for v in op.operands), tuple(buffers[v] for v in op.results))


def test_the_sound_schedule_is_as_the_tests_expect() -> None:
    broken = Broken()
    names = [node.op.results[0].name if isinstance(node, Launch) else "|" for node in broken.schedule.body]
    assert names == ["p", "|", "v", "q", "|", "o"]
    buffers = {name: broken.schedule.buffers[value] for name, value in broken.values.items()}
    assert (buffers["p"].place, buffers["q"].place) == (("arena", 0), ("arena", 64))
    assert (buffers["v"].place, buffers["o"].place, buffers["k"].place) == (
        ("state", 0),
        ("output", 0),
        ("constant", 0),
    )


# --- 1: launches


def test_kernel_not_launched() -> None:
    Broken().body(lambda nodes: nodes.pop()).fails(1, "the kernel that computes %o is launched 0 times")


def test_kernel_launched_twice() -> None:
    Broken().body(lambda nodes: nodes.append(nodes[0])).fails(1, "launched 2 times")


def test_foreign_kernel() -> None:
    broken = Broken()
    other = Broken()
    broken.body(lambda nodes: nodes.append(other.launch("q"))).fails(1, "not in the graph")


def test_graph_that_breaks_its_own_rules() -> None:
    broken = Broken()
    broken.graph.stage = "optimized"
    with pytest.raises(VerifyError, match="fused"):
        verify_schedule(broken.schedule)


# --- 2: buffers


def test_value_without_buffer() -> None:
    broken = Broken()
    buffers = {v: b for v, b in broken.schedule.buffers.items() if v is not broken.values["p"]}
    broken.schedule = replace(broken.schedule, buffers=buffers)
    broken.fails(2, "the value %p has no buffer")


def test_buffer_of_another_type() -> None:
    broken = Broken()
    broken.move("q", type=broken.values["p"].type).fails(2, r"the buffer %q is f32\[4,4\], its value f32\[4\]")


def test_unknown_space() -> None:
    Broken().move("q", space="heap").fails(2, "unknown space 'heap'")


@pytest.mark.parametrize("role", ["reads", "writes"])
def test_launch_with_other_buffers(role: str) -> None:
    broken = Broken()
    elsewhere = (broken.schedule.buffers[broken.values["k"]],)
    at = broken.schedule.body.index(broken.launch("q"))
    changed = replace(broken.launch("q"), **{role: elsewhere})  # type: ignore[arg-type]
    broken.body(lambda nodes: nodes.__setitem__(at, changed)).fails(2, f"a launch {role} %k")


# --- 3: places


@pytest.mark.parametrize(
    ("name", "space", "message"),
    [
        ("x", "arena", "%x does not lie in input 0"),
        ("w", "arena", "%w does not lie in state 0"),
        ("k", "input", "%k does not lie in constant 0"),
        ("v", "arena", "%v does not lie in state 0"),
        ("q", "output", "%q lies in output 0, which is not its own"),
        ("p", "state", "%p lies in state 0, which is not its own"),
    ],
)
def test_value_in_the_wrong_place(name: str, space: str, message: str) -> None:
    Broken().move(name, space=space).fails(3, message)


def test_reshape_elsewhere() -> None:
    Broken().move("out", space="arena").fails(3, "%out does not lie where what it is a reshape of lies")


def test_one_value_for_two_outputs() -> None:
    broken = Broken()
    broken.graph.results.append(broken.values["o"])
    broken.fails(3, "%o cannot be output 1 as well")


def test_argument_as_new_state() -> None:
    broken = Broken()
    broken.graph.updates[broken.values["w"]] = broken.values["x"]
    broken.fails(3, "%x cannot be the new value of state 0")


def test_result_in_a_state_it_is_not_the_update_of() -> None:
    broken = Broken()
    broken.graph.updates.clear()
    broken.fails(3, "%v lies in state 0, which is not its own")


def test_constant_as_output() -> None:
    broken = Broken()
    broken.graph.results[:] = [broken.values["k"]]
    broken.fails(3, "%k cannot be output 0 as well")


# --- 4: the arena


def test_unaligned_offset() -> None:
    Broken().move("q", offset=72).fails(4, "the offset 72 of %q is not a multiple of 64")


def test_arena_too_small() -> None:
    broken = Broken()
    broken.schedule = replace(broken.schedule, arena_bytes=64)
    broken.fails(4, "%q ends outside the arena of 64 bytes")


def test_negative_offset() -> None:
    Broken().move("q", offset=-64).fails(4, "%q ends outside the arena")


# --- 5: contents


def test_read_before_written() -> None:
    # The whole groups change places, so nothing but the order is wrong.
    broken = Broken().body(lambda nodes: nodes.__setitem__(slice(None), [*nodes[4:], Barrier(), *nodes[:4]]))
    broken.fails(5, "a launch reads %q, which is not written yet")


def test_old_state_read_after_the_new_one_was_written() -> None:
    text = GRAPH.replace("return %out ;", "return %out, %late ;").replace("-> f32[2,2]", "-> f32[2,2], f32[4]")
    late = """%late = fused %w {kind = "reduction"} (%w: f32[4,4]) {
      %a = max %w {axes = [0], keepdims = false} : f32[4]
      yield %a
    } : f32[4]
    return"""
    broken = Broken(text.replace("return", late))
    launch = broken.launch("late")

    def last(nodes: list[Node]) -> None:
        nodes.remove(launch)
        nodes.extend([Barrier(), launch])

    broken.body(last).fails(5, "a launch reads %w, which is not written yet or no longer there")


def test_arena_lives_that_overlap() -> None:
    """%z lies where %p lay, whose last reader is put off until %z is written."""
    text = GRAPH.replace("%o = fused %q, %k", "%o = fused %z, %k").replace(
        "  %v = fused",
        """  %z = fused %q {kind = "loop"} (%q: f32[4]) {
    %a = flip %q {axes = [0]} : f32[4]
    yield %a
  } : f32[4]
  %v = fused""",
    )
    broken = Broken(text)
    assert broken.launch("z").writes[0].place == broken.launch("p").writes[0].place
    reader = broken.launch("v")

    def later(nodes: list[Node]) -> None:
        nodes.remove(reader)
        nodes.extend([Barrier(), reader])

    broken.body(later).fails(5, "a launch reads %p, which is not written yet or no longer there")


# --- 6: within a launch


def test_result_over_an_operand_that_is_read_elsewhere() -> None:
    broken = Broken()
    broken.move("o", space="arena", offset=64).move("out", space="arena", offset=64)
    broken.graph.results.clear()
    broken.fails(6, "a launch writes %o over %q, which it still reads")


def test_partial_overlap_within_a_launch() -> None:
    broken = Broken(
        GRAPH.replace("f32[4,4]", "f32[4,32]")
        .replace('contract %x, %w {spec = "mk,kn->mn"}', "mul %x, %w")
        .replace("contraction", "loop")
    )
    assert broken.schedule.buffers[broken.values["p"]].place == ("arena", 0)
    broken.move("q", offset=128).fails(6, "a launch writes %q and reads %p, which overlap")


TWO_RESULTS = """graph @f [fused] (%x: f32[32]) -> f32[32] {
  %p, %q = fused %x {kind = "loop"} (%x: f32[32]) {
    %a = exp %x : f32[32]
    %b = neg %x : f32[32]
    yield %a, %b
  } : f32[32], f32[32]
  %o = fused %p, %q {kind = "loop"} (%p: f32[32], %q: f32[32]) {
    %a = add %p, %q : f32[32]
    yield %a
  } : f32[32]
  return %o
}"""


@pytest.mark.parametrize("offset", [0, 64])
def test_results_that_overlap(offset: int) -> None:
    broken = Broken(TWO_RESULTS)
    assert broken.schedule.buffers[broken.values["p"]].offset == 0
    broken.move("q", offset=offset).fails(6, "a launch writes %p and %q, which overlap")


# --- 7: barriers


@pytest.mark.parametrize("missing", [1, 4])
def test_missing_barrier(missing: int) -> None:
    Broken().body(lambda nodes: nodes.pop(missing)).fails(7, "no barrier stands between uses of")


def test_memory_used_again_without_barrier() -> None:
    broken = Broken(GRAPH.replace("%q = fused %p", "%q = fused %x"))
    names = [node.op.results[0].name if isinstance(node, Launch) else "|" for node in broken.schedule.body]
    assert names[:2] == ["q", "p"]
    broken.move("q", offset=broken.launch("p").writes[0].offset)
    broken.fails(7, "no barrier stands between uses of %q and %p")


# --- 8: faults

FAULT = """graph @f [fused] (%x: f32[4], %i: i64[2]; state %w: f32[4]) -> f32[2] {
  %t = fused %x, %i {kind = "loop"} (%x: f32[4], %i: i64[2]) {
    %a = take %x, %i {axis = 0} : f32[2]
    yield %a
  } : f32[2]
  %v = fused %w, %x {kind = "loop"} (%w: f32[4], %x: f32[4]) {
    %a = sub %w, %x : f32[4]
    yield %a
  } : f32[4]
  return %t ; update %w = %v
}"""


def test_fault_after_a_state_was_overwritten() -> None:
    Broken(FAULT).body(lambda nodes: nodes.reverse()).fails(
        8, "a kernel that can fault runs when %v may be overwritten"
    )


def test_fault_beside_a_state_being_overwritten() -> None:
    Broken(FAULT).body(lambda nodes: nodes.pop(1)).fails(8, "%v is overwritten while a kernel that can fault may still")


def test_fault_in_the_kernel_that_overwrites() -> None:
    text = """graph @f [fused] (; state %w: i64[4]) -> () {
      %v = fused %w {kind = "loop"} (%w: i64[4]) {
        %a = floor_div %w, %w : i64[4]
        yield %a
      } : i64[4]
      %c = fused %v {kind = "loop"} (%v: i64[4]) { yield %v } : i64[4]
      return ; update %w = %c
    }"""
    broken = Broken(text)
    at = broken.values["v"]
    broken.graph.updates[broken.values["w"]] = at
    broken.move("v", space="state").move("c", space="arena", offset=0)
    broken.fails(8, "a kernel that can fault runs when %v may be overwritten")


# --- 7 and 9: partitions


def with_partitions(broken: Broken, *partitions: tuple[int, int] | None) -> Broken:
    """The launches with (units, strand)."""
    shares = iter(partitions)

    def change(nodes: list[Node]) -> None:
        for i, node in enumerate(nodes):
            if isinstance(node, Launch):
                share = next(shares)
                nodes[i] = replace(node, partition=Partition(share[0], 1, share[1]) if share else None)

    return broken.body(change)


def test_one_strand_needs_no_barrier() -> None:
    broken = with_partitions(Broken(), (1, 0), (1, 0), (1, 0), (1, 0))
    verify_schedule(broken.body(lambda nodes: nodes.pop(1)).schedule)


def test_two_strands_need_one() -> None:
    broken = with_partitions(Broken(), (1, 0), (1, 1), (1, 0), (1, 0))
    broken.body(lambda nodes: nodes.pop(1)).fails(7, "no barrier stands between uses of %p")


def test_a_strand_of_several_units() -> None:
    broken = with_partitions(Broken(), (2, 0), (2, 0), (2, 0), (1, 0))
    broken.body(lambda nodes: nodes.pop(1)).fails(9, "launches of 2 and 2 units share strand 0")


def test_a_strand_behind_a_fault() -> None:
    """What depends on a range check must not run before all threads know that it passed."""
    broken = Broken(
        FAULT.replace("return %t", '%u = fused %t {kind = "loop"} (%t: f32[2]) { yield %t } : f32[2]\n  return %u')
    )
    names = [node.op.results[0].name if isinstance(node, Launch) else "|" for node in broken.schedule.body]
    assert names == ["t", "|", "v", "u"]
    with_partitions(broken, (1, 0), (1, 1), (1, 0))
    broken.body(lambda nodes: nodes.insert(1, nodes.pop(3))).fails(7, "no barrier stands between uses of %t")


def test_some_launches_without_a_partition() -> None:
    with_partitions(Broken(), (1, 0), None, (1, 0), (1, 0)).fails(
        9, "some launches have a partition, and some have none"
    )
