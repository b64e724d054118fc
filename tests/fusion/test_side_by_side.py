"""Small kernels that have nothing to do with one another."""

from __future__ import annotations

from graphc.ir import TensorType, f32, f64
from tests.fusion.fusing import fuse, kernels, shapes_of
from tests.fusion.stages import fused, plain
from tests.fusion.training_graphs import Step


def test_updates_of_parameters_of_several_shapes_are_one_kernel() -> None:
    step = Step()
    rate = step.input("rate", TensorType(f64, ()))
    for shape in ((8, 4), (8,), (5, 8), (5,)):
        parameter = step.parameter(f"p{shape}", *shape)
        grad = step.input(f"g{shape}", TensorType(f32, shape))
        step.graph.updates[parameter] = step.b.sub(parameter, step.b.mul(step.scalar(rate, parameter), grad))
    (kernel,) = kernels(fused(step.graph))
    assert [v.type.shape for v in kernel.results] == [(8, 4), (8,), (5, 8), (5,)]
    assert [op.name for op in kernel.regions[0].ops].count("cast") == 1


def test_equal_kernels_stay_apart() -> None:
    graph = fuse("""(%x: f32[8], %y: f32[8]) -> f32[8], f32[8] {
      %a = exp %x : f32[8]
      %b = exp %y : f32[8]
      return %a, %b
    }""")
    assert shapes_of(graph) == [("loop", ["exp"])] * 2


def test_kernels_that_others_wait_for_stay_apart() -> None:
    """One kernel of both would make the first product wait for the second."""
    graph = fuse("""(%x: f32[4,8], %y: f32[8,8], %w: f32[8,8]) -> f32[4,8], f32[8,8] {
      %a = exp %x : f32[4,8]
      %b = contract %a, %w {spec = "mk,nk->mn"} : f32[4,8]
      %c = contract %y, %w {spec = "mk,nk->mn"} : f32[8,8]
      %d = transpose %c {perm = [1, 0]} : f32[8,8]
      %e = tanh %d : f32[8,8]
      %f = contract %e, %w {spec = "mk,nk->mn"} : f32[8,8]
      return %b, %f
    }""")
    assert len(kernels(graph)) == 5


def test_large_kernels_stay_apart() -> None:
    graph = fuse("""(%x: f32[128,128], %y: f32[8]) -> f32[128,128], f32[8] {
      %a = exp %x : f32[128,128]
      %b = tanh %y : f32[8]
      return %a, %b
    }""")
    assert shapes_of(graph) == [("loop", ["exp"]), ("loop", ["tanh"])]


def test_no_value_is_computed_for_two_shapes() -> None:
    graph = fuse("""(%x: f32[4], %y: f32[8,4]) -> f32[4], f32[8,4] {
      %two = constant {value = 2.0, dtype = f32, shape = [4]} : f32[4]
      %a = mul %x, %two : f32[4]
      %b = exp %a : f32[4]
      %c = broadcast %a {shape = [8, 4], dims = [1]} : f32[8,4]
      %d = add %c, %y : f32[8,4]
      return %b, %d
    }""")
    assert len(kernels(graph)) == 2


def test_state_that_another_kernel_reads_is_still_updated_in_place() -> None:
    graph = fuse("""(%x: f32[8,4]; state %w: f32[4]) -> f32[8,4] {
      %a = broadcast %w {shape = [8, 4], dims = [1]} : f32[8,4]
      %b = add %x, %a : f32[8,4]
      %c = exp %w : f32[4]
      return %b ; update %w = %c
    }""")
    assert len(kernels(graph)) == 2


def test_what_can_fault_stays_apart_from_updates() -> None:
    graph = fuse("""(%i: i64[4]; state %w: f32[3]) -> i64[4] {
      %c = check_index %i {low = 0, high = 4} : i64[4]
      %u = exp %w : f32[3]
      return %c ; update %w = %u
    }""")
    assert sorted(shapes_of(graph)) == [("loop", ["check_index"]), ("loop", ["exp"])]


def test_a_kernel_has_a_limited_number_of_parameters() -> None:
    step = Step()
    for n in range(1, 50):
        parameter = step.parameter(f"p{n}", n)
        step.graph.updates[parameter] = step.b.exp(parameter)
    found = kernels(fused(plain(step.graph)))
    assert [len(op.operands) + len(op.results) for op in found] == [64, 34]
