"""What fusion makes of training steps, loops and scalars."""

from __future__ import annotations

import pytest

from tests.fusion.fusing import fuse, kernels, names_in, shapes_of
from tests.fusion.stages import fused, optimized
from tests.fusion.training_graphs import mlp, transformer_block

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


def test_equal_work_is_equal_kernels() -> None:
    """The rate in the shape of a weight is one value for all updates, and stands first in the program; yet every update
    is the same kernel."""
    graph = fused(mlp("adam", (16, 16, 16, 16), batch=16))
    texts = {}
    for state, value in graph.updates.items():
        assert value.op is not None
        if (state.name or "").endswith("weight"):
            region = value.op.regions[0]
            number = {v: i for i, v in enumerate([*region.args, *(v for op in region.ops for v in op.results)])}
            texts[state] = [(op.name, [number[v] for v in op.operands]) for op in region.ops]
    first, *others = texts.values()
    assert len(others) == 2
    assert all(other == first for other in others)


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
        ("loop", ["transpose"]),
        ("loop", ["take", "tanh", "take"]),
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


def test_cheap_value_of_little_memory_is_computed_by_everyone() -> None:
    """Even where more is read than it takes: a mask of labels costs less than a kernel before those that need it."""
    graph = fuse("""(%y: i64[64], %x: f32[64,4], %z: f32[64,4]) -> f32[64,4], f32[] {
      %k = constant {value = 7, dtype = i64, shape = [64]} : i64[64]
      %a = ne %y, %k : bool[64]
      %r = broadcast %a {shape = [64, 4], dims = [0]} : bool[64,4]
      %b = where %r, %x, %z : f32[64,4]
      %c = cast %a {dtype = f32} : f32[64]
      %d = sum %c {axes = [0], keepdims = false} : f32[]
      return %b, %d
    }""")
    assert sorted(shapes_of(graph)) == [
        ("loop", ["constant", "ne", "broadcast", "where"]),
        ("reduction", ["constant", "ne", "cast", "sum"]),
    ]


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
        ("loop", ["broadcast", "mul", "broadcast", "mul"]),
    ]
    assert set(graph.ops[0].results) == {graph.updates[graph.states[0]], graph.ops[1].operands[0]}


def test_cheap_scalars_are_computed_by_everyone() -> None:
    graph = fuse(SCALARS.replace("OP", "mul"))
    scalars = ["constant", "add", "cast", "mul", "cast"]
    assert shapes_of(graph) == [
        ("loop", [*scalars, "broadcast", "mul", "broadcast", "mul"]),
        ("loop", ["constant", "add"]),
    ]
