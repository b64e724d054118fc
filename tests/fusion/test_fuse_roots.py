"""What fusion makes of reductions and contractions."""

from __future__ import annotations

import pytest

from graphc.ir import parse
from graphc.passes.schedule import schedule
from tests.fusion.fusing import fuse, kernels, shapes_of
from tests.fusion.stages import fused

# --- reductions


def test_softmax_is_one_kernel() -> None:
    graph = fuse("""(%x: f32[4,8]) -> f32[4,8] {
      %m = max %x {axes = [1], keepdims = true} : f32[4,1]
      %b = broadcast %m {shape = [4, 8], dims = [0, 1]} : f32[4,8]
      %s = sub %x, %b : f32[4,8]
      %e = exp %s : f32[4,8]
      %t = sum %e {axes = [1], keepdims = false} : f32[4]
      %r = reshape %t {shape = [4, 1]} : f32[4,1]
      %u = broadcast %r {shape = [4, 8], dims = [0, 1]} : f32[4,8]
      %y = div %e, %u : f32[4,8]
      return %y
    }""")
    assert [kind for kind, _ in shapes_of(graph)] == ["reduction"]


def test_reduced_value_along_another_axis_is_another_kernel() -> None:
    graph = fuse("""(%x: f32[8,8]) -> f32[8,8] {
      %m = max %x {axes = [1], keepdims = false} : f32[8]
      %b = broadcast %m {shape = [8, 8], dims = [1]} : f32[8,8]
      %s = sub %x, %b : f32[8,8]
      return %s
    }""")
    assert shapes_of(graph) == [("reduction", ["max"]), ("loop", ["broadcast", "sub"])]


def test_reductions_over_other_axes_are_other_kernels() -> None:
    graph = fuse("""(%x: f32[8,8]) -> f32[8], f32[8], f32[] {
      %a = sum %x {axes = [0], keepdims = false} : f32[8]
      %b = sum %x {axes = [1], keepdims = false} : f32[8]
      %c = sum %x {axes = [0, 1], keepdims = false} : f32[]
      return %a, %b, %c
    }""")
    assert shapes_of(graph) == [("reduction", ["sum"])] * 3


def test_reductions_of_one_space_are_one_kernel() -> None:
    graph = fuse("""(%x: f32[8,8]) -> f32[8], f32[8], i64[8] {
      %a = sum %x {axes = [0], keepdims = false} : f32[8]
      %b = max %x {axes = [0], keepdims = false} : f32[8]
      %c = argmax %x {axes = [0], keepdims = false} : i64[8]
      return %a, %b, %c
    }""")
    assert shapes_of(graph) == [("reduction", ["sum", "max", "argmax"])]


@pytest.mark.parametrize(("rows", "n_kernels"), [(512, 1), (1, 2)])
def test_long_loop_is_not_left_to_one_row(rows: int, n_kernels: int) -> None:
    columns = 65536 // rows
    graph = fuse(f"""(%x: f32[{rows},{columns}]) -> f32[{rows},{columns}] {{
      %m = max %x {{axes = [1], keepdims = false}} : f32[{rows}]
      %b = broadcast %m {{shape = [{rows}, {columns}], dims = [0]}} : f32[{rows},{columns}]
      %s = sub %x, %b : f32[{rows},{columns}]
      return %s
    }}""")
    assert len(kernels(graph)) == n_kernels


# --- contractions


def test_epilogue_with_several_results() -> None:
    graph = fuse("""(%x: f32[4,8], %w: f32[5,8], %b: f32[5], %r: f32[4,5]) -> f32[4,5], f32[4,5] {
      %a = contract %x, %w {spec = "mk,nk->mn"} : f32[4,5]
      %c = broadcast %b {shape = [4, 5], dims = [1]} : f32[4,5]
      %d = add %a, %c : f32[4,5]
      %e = relu %d : f32[4,5]
      %f = add %e, %r : f32[4,5]
      return %d, %f
    }""")
    assert shapes_of(graph) == [("contraction", ["contract", "broadcast", "add", "relu", "add"])]


def test_one_contraction_per_kernel() -> None:
    graph = fuse("""(%x: f32[4,8], %w: f32[5,8], %y: f32[4,6], %v: f32[5,6]) -> f32[4,5] {
      %a = contract %x, %w {spec = "mk,nk->mn"} : f32[4,5]
      %b = contract %y, %v {spec = "mk,nk->mn"} : f32[4,5]
      %c = add %a, %b : f32[4,5]
      return %c
    }""")
    assert sorted(shapes_of(graph)) == [("contraction", ["contract"]), ("contraction", ["contract", "add"])]


def test_cheap_operand_is_prepared_while_packing() -> None:
    graph = fuse("""(%x: f32[4,8], %y: f32[4,8], %w: f32[5,8]) -> f32[4,5] {
      %p = mul %x, %y : f32[4,8]
      %a = contract %p, %w {spec = "mk,nk->mn"} : f32[4,5]
      return %a
    }""")
    assert shapes_of(graph) == [("contraction", ["mul", "contract"])]


def test_costly_operand_is_not() -> None:
    graph = fuse("""(%x: f32[4,8], %w: f32[5,8]) -> f32[4,5] {
      %p = exp %x : f32[4,8]
      %a = contract %p, %w {spec = "mk,nk->mn"} : f32[4,5]
      return %a
    }""")
    assert shapes_of(graph) == [("loop", ["exp"]), ("contraction", ["contract"])]


def test_operand_of_two_contractions_is_computed_once() -> None:
    graph = fuse("""(%x: f32[64,32], %y: f32[64,32], %w: f32[5,32], %v: f32[6,32]) -> f32[64,5], f32[64,6] {
      %p = mul %x, %y : f32[64,32]
      %a = contract %p, %w {spec = "mk,nk->mn"} : f32[64,5]
      %b = contract %p, %v {spec = "mk,nk->mn"} : f32[64,6]
      return %a, %b
    }""")
    assert shapes_of(graph) == [("loop", ["mul"]), ("contraction", ["contract"]), ("contraction", ["contract"])]


def test_operand_that_the_epilogue_needs_too_is_computed_once() -> None:
    graph = fuse("""(%x: f32[64,64], %y: f32[64,64], %w: f32[64,64]) -> f32[64,64] {
      %p = mul %x, %y : f32[64,64]
      %a = contract %p, %w {spec = "mk,kn->mn"} : f32[64,64]
      %c = add %a, %p : f32[64,64]
      return %c
    }""")
    assert shapes_of(graph) == [("loop", ["mul"]), ("contraction", ["contract", "add"])]


def test_norm_of_a_gradient_reads_what_the_contraction_stores() -> None:
    """The square is computed by the reduction, not stored by the contraction besides the gradient."""
    graph = fuse("""(%x: f32[8,4], %y: f32[8,5]) -> f32[4,5], f32[] {
      %g = contract %x, %y {spec = "bm,bn->mn"} : f32[4,5]
      %s = mul %g, %g : f32[4,5]
      %n = sum %s {axes = [0, 1], keepdims = false} : f32[]
      return %g, %n
    }""")
    assert shapes_of(graph) == [("contraction", ["contract"]), ("reduction", ["mul", "sum"])]


def test_no_cycle_between_kernels() -> None:
    """%a feeds both the contraction and, past it, the sum; one kernel of %a and %d would wait for itself."""
    graph = fuse("""(%x: f32[4,4], %w: f32[4,4]) -> f32[4,4] {
      %a = exp %x : f32[4,4]
      %b = contract %a, %w {spec = "mk,nk->mn"} : f32[4,4]
      %c = max %b {axes = [1], keepdims = true} : f32[4,1]
      %k = broadcast %c {shape = [4, 4], dims = [0, 1]} : f32[4,4]
      %d = add %a, %k : f32[4,4]
      return %d
    }""")
    assert [kind for kind, _ in shapes_of(graph)] == ["loop", "contraction", "reduction"]


def test_epilogue_in_another_shape() -> None:
    """Heads are split from, or rows joined in, the result of a product; what follows goes into its kernel."""
    traced = parse("""graph @f [traced] (%x: f32[4,8,16], %w: f32[12,16], %r: f32[32,12]
      ; state %s: f32[32,12]) -> f32[32,12] {
      %a = contract %x, %w {spec = "btk,nk->btn"} : f32[4,8,12]
      %b = reshape %a {shape = [32, 12]} : f32[32,12]
      %c = add %b, %r : f32[32,12]
      %d = relu %c : f32[32,12]
      %e = add %s, %d : f32[32,12]
      return %d ; update %s = %e
    }""")
    (kernel,) = kernels(fused(traced))
    assert kernel.attributes["kind"] == "contraction"
    assert not any(op.name == "reshape" for op in kernel.regions[0].ops)
    planned = schedule(fused(traced))
    assert len(planned.launches) == 1  # the state is updated in place
