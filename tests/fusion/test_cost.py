"""Counting what a schedule does."""

from __future__ import annotations

import pytest

from graphc.ir import Block, Builder, TensorType, Value, f32, i64, parse
from graphc.ir.ceilings import Ceilings, MemoryLevel
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
    assert "roofline" not in text
    assert len({len(line) for line in lines[:-1]}) == 1


LEVELS = (MemoryLevel("L1", 500, 4e9), MemoryLevel("L2", 100_000, 2e9), MemoryLevel("memory", None, 1e9))
SLOW_MEMORY = Ceilings(2, 1e15, LEVELS)
SLOW_ARITHMETIC = Ceilings(2, 1e6, LEVELS)


def test_the_level_that_holds_the_working_set() -> None:
    sizes = {0: "L1", 500: "L1", 501: "L2", 100_000: "L2", 100_001: "memory"}
    assert {n: SLOW_MEMORY.level_of(n).name for n in sizes} == sizes


def test_roofline_is_the_longer_of_arithmetic_and_traffic() -> None:
    planned = schedule(fused(mlp("sgd", sizes=(6, 5, 4), batch=3)))
    by_memory, by_arithmetic = cost(planned, SLOW_MEMORY), cost(planned, SLOW_ARITHMETIC)
    assert by_memory.peak_bytes > 500
    assert by_memory.roofline == pytest.approx(by_memory.bytes_moved / 2e9)
    assert by_arithmetic.roofline == pytest.approx(sum(k.work.weight for k in by_arithmetic.kernels) / 1e6)
    assert cost(planned).roofline is None
    lines = str(by_memory).splitlines()
    assert lines[0].endswith("roofline us")
    assert lines[-3].split()[-1] == f"{by_memory.roofline * 1e6:,.2f}"
    assert lines[-1] == "roofline: 2 threads: 1000000 GFLOP/s, L1 4 GB/s, L2 2 GB/s, memory 1 GB/s; all of it fits L2"
    assert len({len(line) for line in lines[:-2]}) == 1


def test_peak_memory_counts_every_buffer_once() -> None:
    planned = schedule(fused(mlp("sgd", sizes=(6, 5, 4), batch=3)))
    parameters = 4 * (6 * 5 + 5 + 5 * 4 + 4)  # updated in place
    batch = 4 * 3 * 6 + 8 * 3
    rate, loss, constants = 8, 4, sum(op.result.type.nbytes for op in planned.constants)
    assert cost(planned).peak_bytes == planned.arena_bytes + parameters + batch + rate + loss + constants


def test_long_lists_of_results_are_shortened() -> None:
    found = cost(schedule(fused(mlp("adam", sizes=(6, 5, 4), batch=3))))
    assert max(len(k.results) for k in found.kernels) < 40
    assert any("..." in k.results for k in found.kernels)
