"""Counting what a schedule does."""

from __future__ import annotations

from graphc.ir import Block, Builder, TensorType, Value, f32, i64, parse
from graphc.ir.op_cost import Work, work_of, work_per_element
from graphc.passes.cost import cost
from graphc.passes.schedule import schedule
from tests.fusion.stages import fused
from tests.fusion.training_graphs import mlp


def test_work_of_single_ops() -> None:
    b = Builder(Block())
    x, y = (Value(TensorType(f32, (4, 8))) for _ in range(2))
    assert work_of(b.add(x, y).op) == Work(32, 0, 32)
    assert work_per_element(b.exp(x).op) == Work(1, 1, 20)
    assert work_of(b.cast(x, dtype=i64).op).flops == 0
    assert work_of(b.sum(x, axes=(0,), keepdims=False).op).flops == 32
    assert work_of(b.transpose(x, perm=(1, 0)).op) == Work()
    assert work_of(b.contract(x, y, spec="mk,nk->mn").op).flops == 2 * 4 * 4 * 8
    assert work_of(b.contract(x, y, spec="mk,mk->mk").op).flops == 2 * 4 * 8
    assert work_of(b.iota(dtype=i64, shape=(4, 8), axis=0).op) == Work()


def test_cost_of_a_training_step() -> None:
    found = cost(schedule(fused(mlp("sgd"))))
    contractions = 2 * 64 * 128 * (784 + 10) + 2 * 64 * (10 * 128 + 10 * 128 + 128 * 784)
    assert contractions < found.flops < 1.03 * contractions
    assert found.transcendental == 64 * 10 + 64
    # The weights are read twice or three times and written once; their gradients appear nowhere.
    weights = 4 * 128 * 784
    assert found.bytes_written < weights + 200_000
    assert found.bytes_read == sum(k.bytes_read for k in found.kernels)
    assert found.arena_bytes == schedule(fused(mlp("sgd"))).arena_bytes


def test_what_is_picked_from_an_operand_is_all_that_counts() -> None:
    graph = parse("""graph @f [fused] (%x: f32[100,8], %i: i64[3]) -> f32[3,8] {
      %r = fused %x, %i {kind = "loop"} (%x: f32[100,8], %i: i64[3]) {
        %t = take %x, %i {axis = 0} : f32[3,8]
        %s = slice %x {start = [0, 0], stop = [3, 8], step = [1, 1]} : f32[3,8]
        %r = add %t, %s : f32[3,8]
        yield %r
      } : f32[3,8]
      return %r
    }""")
    found = cost(schedule(graph))
    assert found.bytes_read == 2 * 3 * 8 * 4 + 3 * 8
    assert found.bytes_written == 3 * 8 * 4


def test_table() -> None:
    text = str(cost(schedule(fused(mlp("sgd", sizes=(6, 5, 4), batch=3)))))
    lines = text.splitlines()
    assert lines[0].split()[:3] == ["kernel", "kind", "ops"]
    assert "9 kernels" in lines[-2]
    assert lines[-1].startswith("arena: ")
    assert len({len(line) for line in lines[:-1]}) == 1
