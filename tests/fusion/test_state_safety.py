"""A schedule never overwrites a state that is still needed, and copies no more than it must."""

from __future__ import annotations

import pytest

from graphc.ir import Graph, TensorType, f32, i64, interpret, parse, verify
from graphc.ir.kernel_facts import can_fault
from graphc.ir.schedule import Schedule
from graphc.ir.verify_schedule import verify_schedule
from graphc.passes.fuse import Fuse
from graphc.passes.schedule import schedule
from tests.closeness import check_results
from tests.fusion.schedule_interpreter import run_schedule
from tests.fusion.stages import fused
from tests.fusion.training_graphs import Step, arguments, mlp, transformer_block


def check(graph: Graph) -> Schedule:
    """Schedule a fused graph, verify the schedule, and run it in many ways."""
    verify(graph)
    planned = schedule(graph)
    verify_schedule(planned)
    inputs, states = arguments(graph)
    expected = interpret(graph, inputs, states)
    for seed in range(5):
        check_results(graph, run_schedule(planned, inputs, states, seed), expected)
    return planned


def check_text(text: str) -> Schedule:
    graph = parse(f"graph @f [optimized] {text}")
    verify(graph)
    return check(Fuse().run(graph))


def n_copies(planned: Schedule) -> int:
    return sum(not launch.op.regions[0].ops for launch in planned.launches)


def order(planned: Schedule) -> list[str]:
    """The last op of each kernel, in the order in which they run."""
    return [launch.op.regions[0].ops[-1].name if launch.op.regions[0].ops else "copy" for launch in planned.launches]


# --- training steps


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_updates_in_place(optimizer: str) -> None:
    planned = check(fused(mlp(optimizer, sizes=(5, 4, 3), batch=3)))
    assert n_copies(planned) == 0
    for value in planned.graph.updates.values():
        assert planned.buffers[value].space == "state"


def test_dropout_counter_is_advanced_after_it_was_read() -> None:
    assert n_copies(check(fused(mlp("sgd", sizes=(5, 4, 4, 3), batch=3, dropout=True)))) == 0


def test_transformer_block() -> None:
    assert n_copies(check(fused(transformer_block(batch=2, width=4)))) == 0


def test_two_layers_share_a_weight() -> None:
    step = Step()
    x = step.input("x", TensorType(f32, (3, 4)))
    w = step.parameter("w", 4, 4)
    h = step.b.tanh(step.linear(x, w))
    loss = step.mean(step.linear(h, w))
    step.sgd({w: step.gradients(loss, [w])[0]}, momentum=True)
    step.graph.results = [loss]
    planned = check(fused(step.graph))
    assert n_copies(planned) == 0
    readers = [i for i, launch in enumerate(planned.launches) if planned.graph.states[0] in launch.op.operands]
    writer = planned.graph.updates[planned.graph.states[0]].op
    assert planned.launches[readers[-1]].op is writer


@pytest.mark.parametrize("against_new", [False, True])
def test_two_networks_against_each_other(against_new: bool) -> None:
    """The discriminator is updated; the generator's loss goes through it as it was before, or as it is after."""
    step = Step()
    b = step.b
    noise, real = step.input("noise", TensorType(f32, (3, 4))), step.input("real", TensorType(f32, (3, 5)))
    g, d = step.parameter("g", 5, 4), step.parameter("d", 2, 5)
    fake = b.tanh(step.linear(noise, g))
    judged = step.mean(b.sub(step.linear(b.stop_gradient(fake), d), step.linear(real, d)))
    (grad_d,) = step.gradients(b.mul(judged, judged), [d])
    new_d = b.sub(d, b.mul(step.splat(0.1, d), grad_d))
    deceived = step.mean(b.tanh(step.linear(fake, new_d if against_new else d)))
    (grad_g,) = step.gradients(deceived, [g])
    step.graph.updates = {d: new_d, g: b.sub(g, b.mul(step.splat(0.1, g), grad_g))}
    step.graph.results = [judged, deceived]
    assert n_copies(check(fused(step.graph))) == 0


# --- reading states around an update

UPDATE = """(%x: f32[4,4]; state %w: f32[4,4]) -> {types} {{
  %a = contract %x, %w {{spec = "mk,nk->mn"}} : f32[4,4]
  %g = contract %a, %x {{spec = "bm,bn->mn"}} : f32[4,4]
  %new = sub %w, %g : f32[4,4]
  {more}
  return {results} ; update %w = %new
}}"""


def test_output_of_the_old_value() -> None:
    planned = check_text(UPDATE.format(types="f32[4,4]", more="", results="%w"))
    assert n_copies(planned) == 1  # into the output
    assert order(planned).index("copy") < order(planned).index("sub")


def test_output_of_the_new_value() -> None:
    planned = check_text(UPDATE.format(types="f32[4,4]", more="", results="%new"))
    assert n_copies(planned) == 1
    assert order(planned)[-1] == "copy"


def test_loss_of_the_old_value() -> None:
    loss = "%l = sum %w {axes = [0, 1], keepdims = false} : f32[]"
    planned = check_text(UPDATE.format(types="f32[]", more=loss, results="%l"))
    assert n_copies(planned) == 0
    assert order(planned).index("sum") < order(planned).index("sub")


def test_loss_of_the_new_value() -> None:
    loss = "%l = sum %new {axes = [0, 1], keepdims = false} : f32[]"
    planned = check_text(UPDATE.format(types="f32[]", more=loss, results="%l"))
    assert n_copies(planned) == 0
    assert order(planned)[-1] == "sum"


def test_old_value_needed_after_the_new_one() -> None:
    """A kernel that reads both cannot run before the writer nor after it: the new value waits elsewhere."""
    both = """%d = contract %new, %w {spec = "mk,nk->mn"} : f32[4,4]"""
    planned = check_text(UPDATE.format(types="f32[4,4]", more=both, results="%d"))
    assert n_copies(planned) == 1
    assert order(planned)[-1] == "copy"


def test_only_the_smallest_state_of_a_cycle_is_copied() -> None:
    planned = check_text("""(; state %a: f32[8,8], %b: f32[8]) -> () {
      %k = sum %a {axes = [0], keepdims = false} : f32[8]
      %nb = add %b, %k : f32[8]
      %c = broadcast %b {shape = [8, 8], dims = [0]} : f32[8,8]
      %na = mul %a, %c : f32[8,8]
      return ; update %a = %na, %b = %nb
    }""")
    assert n_copies(planned) == 1
    (copy,) = [launch.op for launch in planned.launches if not launch.op.regions[0].ops]
    assert copy.results[0].type == TensorType(f32, (8,))


def test_states_swapped() -> None:
    planned = check_text("""(; state %a: f32[4], %b: f32[4]) -> () {
      return ; update %a = %b, %b = %a
    }""")
    assert n_copies(planned) == 3  # one of them is saved first


def test_states_rotated() -> None:
    planned = check_text("""(; state %a: f32[4], %b: f32[4], %c: f32[4]) -> () {
      return ; update %a = %b, %b = %c, %c = %a
    }""")
    assert n_copies(planned) == 4


def test_state_set_to_an_input() -> None:
    planned = check_text("(%x: f32[4]; state %a: f32[4]) -> f32[4] { return %a ; update %a = %x }")
    assert n_copies(planned) == 2


@pytest.mark.parametrize(
    "moved",
    [
        "%n = transpose %w {perm = [1, 0]} : f32[4,4]",
        "%n = flip %w {axes = [0]} : f32[4,4]",
        """%h = slice %w {start = [1, 0], stop = [4, 4], step = [1, 1]} : f32[3,4]
           %t = slice %w {start = [0, 0], stop = [1, 4], step = [1, 1]} : f32[1,4]
           %n = concat %h, %t {axis = 0} : f32[4,4]""",
        """%t = transpose %w {perm = [1, 0]} : f32[4,4]
           %n = add %w, %t : f32[4,4]""",
        """%r = reshape %w {shape = [16]} : f32[16]
           %f = flip %r {axes = [0]} : f32[16]
           %n = reshape %f {shape = [4, 4]} : f32[4,4]""",
    ],
)
def test_state_updated_with_its_own_elements_from_elsewhere(moved: str) -> None:
    planned = check_text(f"(; state %w: f32[4,4]) -> () {{ {moved}\n return ; update %w = %n }}")
    assert n_copies(planned) == 1


def test_state_updated_through_another_shape_in_place() -> None:
    planned = check_text("""(%x: f32[16]; state %w: f32[4,4]) -> () {
      %r = reshape %w {shape = [16]} : f32[16]
      %e = exp %x : f32[16]
      %a = mul %r, %e : f32[16]
      %n = reshape %a {shape = [4, 4]} : f32[4,4]
      return ; update %w = %n
    }""")
    assert n_copies(planned) == 0


def test_softmax_of_a_state_is_copied_into_it() -> None:
    """The reduction needs whole rows of the old value."""
    planned = check_text("""(; state %w: f32[4,8]) -> () {
      %e = exp %w : f32[4,8]
      %t = sum %e {axes = [1], keepdims = false} : f32[4]
      %b = broadcast %t {shape = [4, 8], dims = [0]} : f32[4,8]
      %n = div %e, %b : f32[4,8]
      return ; update %w = %n
    }""")
    assert n_copies(planned) <= 1


def test_contraction_that_reads_the_state_as_an_operand() -> None:
    planned = check_text("""(%x: f32[4,4]; state %w: f32[4,4]) -> () {
      %n = contract %x, %w {spec = "mk,kn->mn"} : f32[4,4]
      return ; update %w = %n
    }""")
    assert n_copies(planned) == 1


def test_reduced_state_is_updated_in_place() -> None:
    planned = check_text("""(%g: f32[8,4]; state %b: f32[4]) -> () {
      %s = sum %g {axes = [0], keepdims = false} : f32[4]
      %n = sub %b, %s : f32[4]
      return ; update %b = %n
    }""")
    assert order(planned) == ["sub"]


# --- faults


def test_what_can_fault_runs_before_anything_is_overwritten() -> None:
    planned = check_text("""(%x: f32[4,4], %i: i64[2]; state %w: f32[4,4]) -> f32[2,4] {
      %n = contract %x, %x {spec = "mk,kn->mn"} : f32[4,4]
      %e = exp %n : f32[4,4]
      %t = take %e, %i {axis = 0} : f32[2,4]
      return %t ; update %w = %n
    }""")
    assert n_copies(planned) == 1
    assert order(planned)[-2:] == ["take", "copy"]


def test_faults_leave_unrelated_states_alone() -> None:
    planned = check_text("""(%x: f32[4], %i: i64[2]; state %w: f32[4]) -> f32[2] {
      %n = sub %w, %x : f32[4]
      %t = take %x, %i {axis = 0} : f32[2]
      return %t ; update %w = %n
    }""")
    assert order(planned) == ["take", "sub"]
    assert n_copies(planned) == 0


def test_embedding_is_updated_after_its_gradient_was_scattered() -> None:
    step = Step()
    tokens = step.input("tokens", TensorType(i64, (3,)))
    table = step.parameter("table", 5, 4)
    loss = step.mean(step.b.tanh(step.b.take(table, tokens, axis=0)))
    step.sgd({table: step.gradients(loss, [table])[0]})
    step.graph.results = [loss]
    planned = check(fused(step.graph))
    assert n_copies(planned) == 0
    first_write = next(i for i, n in enumerate(planned.launches) if any(b.space == "state" for b in n.writes))
    assert not any(can_fault(launch.op) for launch in planned.launches[first_write:])


def test_scatter_into_a_state() -> None:
    planned = check_text("""(%i: i64[3], %g: f32[3,4]; state %w: f32[5,4]) -> () {
      %n = index_add %w, %i, %g {axis = 0} : f32[5,4]
      return ; update %w = %n
    }""")
    assert n_copies(planned) == 1


# --- graphs that fusion did not make


def test_roots_of_a_graph_written_by_hand() -> None:
    graph = parse("""graph @f [fused] (%x: f32[4]; state %a: f32[4], %b: f32[4]) -> f32[4], f32[4], f32[2,2], f32[2] {
      %k = constant {value = dense<f32[2], [1.0, 2.0]>, dtype = f32, shape = [2]} : f32[2]
      %y = fused %x {kind = "loop"} (%x: f32[4]) {
        %y = exp %x : f32[4]
        yield %y
      } : f32[4]
      %r = reshape %y {shape = [2, 2]} : f32[2,2]
      return %y, %x, %r, %k ; update %a = %y, %b = %b
    }""")
    planned = check(graph)
    assert n_copies(planned) == 4
    assert list(planned.graph.updates) == [planned.graph.states[0]]


def test_one_kernel_updates_two_states_on_a_cycle() -> None:
    graph = parse("""graph @f [fused] (; state %a: f32[4], %b: f32[4], %c: f32[4]) -> () {
      %na, %nb = fused %a, %b, %c {kind = "loop"} (%a: f32[4], %b: f32[4], %c: f32[4]) {
        %x = add %a, %c : f32[4]
        %y = add %b, %c : f32[4]
        yield %x, %y
      } : f32[4], f32[4]
      %nc = fused %a, %nb, %c {kind = "loop"} (%a: f32[4], %nb: f32[4], %c: f32[4]) {
        %r = flip %a {axes = [0]} : f32[4]
        %s = add %r, %nb : f32[4]
        %t = mul %s, %c : f32[4]
        yield %t
      } : f32[4]
      return ; update %a = %na, %b = %nb, %c = %nc
    }""")
    planned = check(graph)
    assert n_copies(planned) == 1
