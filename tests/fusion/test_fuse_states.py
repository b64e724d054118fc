"""What fusion makes of outputs, states and faults."""

from __future__ import annotations

from tests.fusion.fusing import fuse, kernels, names_in, shapes_of


def test_each_output_and_update_has_a_result_of_its_own() -> None:
    graph = fuse("""(%x: f32[4]; state %a: f32[4], %b: f32[4], %c: f32[4]) -> f32[4], f32[4], f32[2,2], f32[4], f32[3] {
      %k = constant {value = dense<f32[3], [1.0, 2.0, 3.0]>, dtype = f32, shape = [3]} : f32[3]
      %y = exp %x : f32[4]
      %r = reshape %y {shape = [2, 2]} : f32[2,2]
      return %y, %y, %r, %x, %k ; update %a = %b, %b = %a, %c = %y
    }""")
    roots = graph.roots()
    assert len({v if v.op is None or v.op.name != "reshape" else v.op.operands[0] for v in roots}) == len(roots)
    assert all(v.op is not None for v in roots)
    assert [names for _, names in shapes_of(graph)].count([]) == 7  # copies
    assert graph.updates[graph.states[2]].op is next(op for op in kernels(graph) if names_in(op) == ["exp"])


def test_state_updated_with_itself_is_not_updated() -> None:
    graph = fuse("(; state %a: f32[4]) -> f32[4] { return %a ; update %a = %a }")
    assert graph.updates == {}


def test_constant_output() -> None:
    graph = fuse("""() -> f32[4] {
      %k = constant {value = 1.5, dtype = f32, shape = [4]} : f32[4]
      return %k
    }""")
    assert shapes_of(graph) == [("loop", ["constant"])]


def test_state_read_elsewhere_than_where_it_is_written_stays_out_of_the_kernel() -> None:
    """w / |w| in one kernel would have to be copied into the state; in two, it is updated in place."""
    graph = fuse("""(; state %w: f32[8,8]) -> () {
      %s = mul %w, %w : f32[8,8]
      %n = sum %s {axes = [1], keepdims = false} : f32[8]
      %r = rsqrt %n : f32[8]
      %b = broadcast %r {shape = [8, 8], dims = [0]} : f32[8,8]
      %u = mul %w, %b : f32[8,8]
      return ; update %w = %u
    }""")
    assert shapes_of(graph) == [("reduction", ["mul", "sum", "rsqrt"]), ("loop", ["broadcast", "mul"])]


def test_kernel_that_can_fault_writes_no_state() -> None:
    graph = fuse("""(%i: i64[4]; state %w: i64[4]) -> i64[4] {
      %three = constant {value = 3, dtype = i64, shape = [4]} : i64[4]
      %d = add %i, %three : i64[4]
      %q = floor_div %i, %d : i64[4]
      %u = add %w, %q : i64[4]
      return %q ; update %w = %u
    }""")
    assert shapes_of(graph) == [("loop", ["constant", "add", "floor_div"]), ("loop", ["add"])]


def test_division_by_a_positive_constant_cannot_fault() -> None:
    graph = fuse("""(%i: i64[4]; state %w: i64[4]) -> () {
      %d = constant {value = 3, dtype = i64, shape = [4]} : i64[4]
      %q = floor_div %i, %d : i64[4]
      %u = add %w, %q : i64[4]
      return ; update %w = %u
    }""")
    assert shapes_of(graph) == [("loop", ["constant", "floor_div", "add"])]


def test_what_can_fault_is_computed_whole() -> None:
    """A loop over the slice alone would miss an index out of range outside of it."""
    graph = fuse("""(%i: i64[8], %x: i64[3]) -> i64[3] {
      %c = check_index %i {low = 0, high = 4} : i64[8]
      %s = slice %c {start = [0], stop = [3], step = [1]} : i64[3]
      %a = add %s, %x : i64[3]
      return %a
    }""")
    assert shapes_of(graph) == [("loop", ["check_index"]), ("loop", ["slice", "add"])]
