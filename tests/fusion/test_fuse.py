"""What fusion makes of small programs."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.ir import Graph, Op, interpret, parse, same_graph, verify
from graphc.passes.fuse import Fuse
from tests.fusion.stages import fused, optimized
from tests.fusion.training_graphs import arguments, mlp, transformer_block


def kernels(graph: Graph) -> list[Op]:
    return [op for op in graph.ops if op.name == "fused"]


def shapes_of(graph: Graph) -> list[tuple[str, list[str]]]:
    """The kind of each kernel, and the names of its ops."""
    return [(str(op.attributes["kind"]), [inner.name for inner in op.regions[0].ops]) for op in kernels(graph)]


def names_in(op: Op) -> list[str]:
    return [inner.name for inner in op.regions[0].ops]


def fuse(text: str) -> Graph:
    """Fuse a graph given by its signature and body, and check that it computes the same."""
    graph = parse(f"graph @f [optimized] {text}")
    verify(graph)
    result = Fuse().run(graph)
    verify(result)
    assert same_graph(parse(str(result)), result)
    inputs, states = arguments(graph)
    expected, actual = interpret(graph, inputs, states), interpret(result, inputs, states)
    for a, b in zip([*expected[0], *expected[1]], [*actual[0], *actual[1]], strict=True):
        np.testing.assert_array_equal(a, b)
    return result


# --- whole training steps


@pytest.mark.parametrize(("optimizer", "n_updates"), [("sgd", 1), ("momentum", 2), ("adam", 3), ("adamw", 3)])
def test_training_step_of_an_mlp(optimizer: str, n_updates: int) -> None:
    graph = fused(mlp(optimizer))
    kinds = [kind for kind, _ in shapes_of(graph)]
    assert kinds.count("contraction") == 5  # two forward, one for the hidden gradient, two for the weights
    assert kinds.count("reduction") == 4  # cross-entropy both ways, its mean, two biases
    assert kinds.count("loop") == (1 if optimizer.startswith("adam") else 0)  # bias corrections
    assert len(kinds) == len(graph.ops)
    by_name = {v.name: graph.updates[v].op for v in graph.states if v in graph.updates}
    for name in ("fc1.weight", "fc2.weight"):
        update = by_name[name]
        assert update is not None
        assert update.attributes["kind"] == "contraction"
        assert len(update.results) == n_updates  # the gradient itself is not among them
        assert all(v in graph.updates.values() for v in update.results)
    for name in ("fc1.bias", "fc2.bias"):
        update = by_name[name]
        assert update is not None
        assert update.attributes["kind"] == "reduction"
        assert all(v in graph.updates.values() for v in update.results)


def test_dropout_draws_its_numbers_once() -> None:
    graph = fused(mlp("sgd", dropout=True))
    drawn = [name for _, names in shapes_of(graph) for name in names if name == "random_uniform"]
    assert len(drawn) == 1
    (kernel,) = [op for op in kernels(graph) if "random_uniform" in names_in(op)]
    assert kernel.attributes["kind"] == "contraction"
    # What the backward pass needs of it are masks.
    assert sorted(str(v.type.dtype) for v in kernel.results) == ["bool", "bool", "f32"]


def test_layer_norm_and_gelu() -> None:
    graph = fused(transformer_block())
    found = kernels(graph)
    assert len(found) == 12
    (norm,) = [op for op in found if "rsqrt" in names_in(op)]
    assert norm.attributes["kind"] == "reduction"
    assert names_in(norm).count("sum") == 2
    # Gain and shift of the norm are reduced together.
    gain = next(graph.updates[v].op for v in graph.states if v.name == "ln.weight")
    shift = next(graph.updates[v].op for v in graph.states if v.name == "ln.bias")
    assert gain is shift
    # GELU's backward pass multiplies the stored pre-activation again, instead of storing multiples of it.
    (forward,) = [op for op in found if "erf" in names_in(op)]
    assert len(forward.results) == 3


def test_fusion_is_deterministic() -> None:
    graph = optimized(mlp("adam"))
    assert str(fused(graph)) == str(fused(graph))


def test_locations_and_names_are_kept() -> None:
    graph = fused(mlp("sgd"))
    assert all(op.location is not None for op in graph.ops)
    assert "%loss = fused" in str(graph)


# --- loops


def test_pointwise_chain_is_one_loop() -> None:
    graph = fuse("""(%x: f32[4,8], %y: f32[4,8]) -> f32[4,8] {
      %a = exp %x : f32[4,8]
      %b = mul %a, %y : f32[4,8]
      %c = tanh %b : f32[4,8]
      return %c
    }""")
    assert shapes_of(graph) == [("loop", ["exp", "mul", "tanh"])]


def test_value_used_inside_and_outside_is_a_result_too() -> None:
    graph = fuse("""(%x: f32[4,8]) -> f32[4,8], f32[4,8] {
      %a = exp %x : f32[4,8]
      %b = tanh %a : f32[4,8]
      return %a, %b
    }""")
    assert shapes_of(graph) == [("loop", ["exp", "tanh"])]
    assert graph.ops[0].results == (graph.results[0], graph.results[1])


def test_loops_that_read_the_same_are_one() -> None:
    graph = fuse("""(%x: f32[4,8]) -> f32[4,8], f32[4,8] {
      %a = exp %x : f32[4,8]
      %b = tanh %x : f32[4,8]
      return %a, %b
    }""")
    assert shapes_of(graph) == [("loop", ["exp", "tanh"])]


def test_costly_value_is_not_computed_again_for_every_row() -> None:
    graph = fuse("""(%x: f32[64,8], %v: f32[8]) -> f32[64,8] {
      %a = exp %v : f32[8]
      %b = broadcast %a {shape = [64, 8], dims = [1]} : f32[64,8]
      %c = mul %x, %b : f32[64,8]
      return %c
    }""")
    assert shapes_of(graph) == [("loop", ["exp"]), ("loop", ["broadcast", "mul"])]


def test_cheap_value_is() -> None:
    graph = fuse("""(%x: f32[64,8], %v: f32[8], %w: f32[8]) -> f32[64,8] {
      %a = add %v, %w : f32[8]
      %b = broadcast %a {shape = [64, 8], dims = [1]} : f32[64,8]
      %c = mul %x, %b : f32[64,8]
      return %c
    }""")
    assert shapes_of(graph) == [("loop", ["add", "broadcast", "mul"])]


def test_costly_value_needed_at_two_places_is_stored() -> None:
    graph = fuse("""(%x: f32[8,8]) -> f32[8,8] {
      %a = exp %x : f32[8,8]
      %b = transpose %a {perm = [1, 0]} : f32[8,8]
      %c = add %a, %b : f32[8,8]
      return %c
    }""")
    assert shapes_of(graph) == [("loop", ["exp"]), ("loop", ["transpose", "add"])]


def test_layout_ops_are_read_through() -> None:
    graph = fuse("""(%x: f32[8,6], %y: f32[3,6]) -> f32[3,7] {
      %a = exp %x : f32[8,6]
      %b = slice %a {start = [1, 0], stop = [7, 6], step = [2, 1]} : f32[3,6]
      %c = add %b, %y : f32[3,6]
      %d = pad %c {low = [0, 1], high = [0, 0], interior = [0, 0], value = 0.0} : f32[3,7]
      return %d
    }""")
    assert shapes_of(graph) == [("loop", ["exp", "slice", "add", "pad"])]


def test_constants_and_coordinates_are_made_where_they_are_used() -> None:
    graph = fuse("""(%x: i64[4], %y: i64[4,8]) -> i64[4,8], i64[8] {
      %i = iota {dtype = i64, shape = [4, 8], axis = 1} : i64[4,8]
      %two = constant {value = 2, dtype = i64, shape = [4, 8]} : i64[4,8]
      %a = mul %i, %two : i64[4,8]
      %b = add %a, %y : i64[4,8]
      %c = sum %a {axes = [0], keepdims = false} : i64[8]
      return %b, %c
    }""")
    assert sorted(shapes_of(graph)) == [
        ("loop", ["iota", "constant", "mul", "add"]),
        ("reduction", ["iota", "constant", "mul", "sum"]),
    ]


def test_random_numbers_are_made_once() -> None:
    graph = fuse("""(%x: f32[4,8], %key: i64[], %offset: i64[]) -> f32[4], f32[8] {
      %u = random_uniform %key, %offset {dtype = f32, shape = [4, 8]} : f32[4,8]
      %a = mul %u, %x : f32[4,8]
      %b = sum %a {axes = [1], keepdims = false} : f32[4]
      %c = sum %u {axes = [0], keepdims = false} : f32[8]
      return %b, %c
    }""")
    drawn = [name for _, names in shapes_of(graph) for name in names if name == "random_uniform"]
    assert len(drawn) == 1


def test_reshape_of_what_is_in_memory_is_an_alias() -> None:
    graph = fuse("""(%x: f32[4,8], %w: f32[5,8]) -> f32[32], f32[20] {
      %a = reshape %x {shape = [32]} : f32[32]
      %b = exp %a : f32[32]
      %c = contract %x, %w {spec = "mk,nk->mn"} : f32[4,5]
      %d = reshape %c {shape = [20]} : f32[20]
      return %b, %d
    }""")
    assert [op.name for op in graph.ops] == ["reshape", "fused", "fused", "reshape"]
    assert shapes_of(graph) == [("loop", ["exp"]), ("contraction", ["contract"])]


def test_gather_reads_an_argument_of_its_kernel() -> None:
    graph = fuse("""(%x: f32[8,4], %i: i64[3]) -> f32[3,4], f32[3,8] {
      %a = exp %x : f32[8,4]
      %b = take %a, %i {axis = 0} : f32[3,4]
      %c = tanh %b : f32[3,4]
      %t = transpose %x {perm = [1, 0]} : f32[4,8]
      %d = take %t, %i {axis = 0} : f32[3,8]
      return %c, %d
    }""")
    assert shapes_of(graph) == [
        ("loop", ["exp"]),
        ("loop", ["take", "tanh"]),
        ("loop", ["transpose"]),
        ("loop", ["take"]),
    ]


def test_scatter_takes_in_what_it_adds() -> None:
    graph = fuse("""(%i: i64[3], %g: f32[3,4]) -> f32[8,4] {
      %zero = constant {value = 0.0, dtype = f32, shape = [8, 4]} : f32[8,4]
      %a = exp %g : f32[3,4]
      %b = index_add %zero, %i, %a {axis = 0} : f32[8,4]
      %c = tanh %b : f32[8,4]
      return %c
    }""")
    assert shapes_of(graph) == [("scatter", ["constant", "exp", "index_add"]), ("loop", ["tanh"])]


def test_empty_tensors() -> None:
    graph = fuse("""(%x: f32[0,8]) -> f32[0,8], f32[8] {
      %a = exp %x : f32[0,8]
      %b = sum %a {axes = [0], keepdims = false} : f32[8]
      return %a, %b
    }""")
    assert shapes_of(graph) == [("reduction", ["exp", "sum"])]


# --- scalars

SCALARS = """(%rate: f64[], %x: f32[8], %y: f32[4]; state %t: i64[]) -> f32[8], f32[4] {
      %one = constant {value = 1, dtype = i64, shape = []} : i64[]
      %now = add %t, %one : i64[]
      %n = cast %now {dtype = f64} : f64[]
      %a = OP %rate, %n : f64[]
      %b = cast %a {dtype = f32} : f32[]
      %c = broadcast %b {shape = [8], dims = []} : f32[8]
      %d = mul %x, %c : f32[8]
      %e = broadcast %b {shape = [4], dims = []} : f32[4]
      %f = mul %y, %e : f32[4]
      return %d, %f ; update %t = %now
    }"""


def test_costly_scalars_are_one_kernel() -> None:
    graph = fuse(SCALARS.replace("OP", "pow"))
    assert shapes_of(graph) == [
        ("loop", ["constant", "add", "cast", "pow", "cast"]),
        ("loop", ["broadcast", "mul"]),
        ("loop", ["broadcast", "mul"]),
    ]
    assert set(graph.ops[0].results) == {graph.updates[graph.states[0]], graph.ops[1].operands[0]}


def test_cheap_scalars_are_computed_by_everyone() -> None:
    graph = fuse(SCALARS.replace("OP", "mul"))
    assert shapes_of(graph)[0] == ("loop", ["constant", "add", "cast", "mul", "cast", "broadcast", "mul"])
    assert len(kernels(graph)) == 3


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
    graph = fuse("""(%x: f32[4,8], %y: f32[4,8], %w: f32[5,8], %v: f32[6,8]) -> f32[4,5], f32[4,6] {
      %p = mul %x, %y : f32[4,8]
      %a = contract %p, %w {spec = "mk,nk->mn"} : f32[4,5]
      %b = contract %p, %v {spec = "mk,nk->mn"} : f32[4,6]
      return %a, %b
    }""")
    assert shapes_of(graph) == [("loop", ["mul"]), ("contraction", ["contract"]), ("contraction", ["contract"])]


def test_operand_that_the_epilogue_needs_too_is_computed_once() -> None:
    graph = fuse("""(%x: f32[4,4], %y: f32[4,4], %w: f32[4,4]) -> f32[4,4] {
      %p = mul %x, %y : f32[4,4]
      %a = contract %p, %w {spec = "mk,kn->mn"} : f32[4,4]
      %c = add %a, %p : f32[4,4]
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


# --- outputs and states


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
