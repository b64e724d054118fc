"""Whole programs: schedules become native code that does what the interpreter does."""

from __future__ import annotations

import random

import ml_dtypes
import numpy as np
import pytest

from graphc.codegen.host import find_target
from graphc.codegen.llvm import compile_kernel
from graphc.ir import Builder, Graph, TensorType, Value, bool_, f32, interpret
from graphc.ir.attributes import DenseArray
from tests.fusion.training_graphs import arguments, mlp, transformer_block
from tests.random_graphs import random_graph
from tests.runtime.programs import check_against_interpreter, emitted, executor


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    "graph",
    [mlp("adam", (20, 16, 3), 8, dropout=True), mlp("momentum", (7, 5, 4, 3), 3), transformer_block()],
    ids=["mlp-adam-dropout", "mlp-momentum", "transformer"],
)
def test_training_steps(graph: Graph, debug: bool) -> None:
    inputs, states = arguments(graph)
    check_against_interpreter(graph, inputs, states, debug, steps=3)


def test_random_graphs() -> None:
    for seed in range(25):
        case = random_graph(random.Random(seed))
        check_against_interpreter(case.graph, case.inputs, case.states, debug=True, steps=1)


def test_several_outputs_and_states() -> None:
    text = """
    graph @several [traced] (%x: f32[3,4]; state %a: f32[4], %b: i64[], %c: f32[3,4]) -> f32[4], f32[3,4], i64[] {
      %s = sum %x {axes = [0], keepdims = false} : f32[4]
      %n = add %a, %s : f32[4]
      %one = constant {value = 1, dtype = i64, shape = []} : i64[]
      %m = add %b, %one : i64[]
      %y = mul %x, %c : f32[3,4]
      return %n, %y, %m ; update %a = %n, %b = %m
    }
    """
    x, c = np.arange(12, dtype=np.float32).reshape(3, 4), np.full((3, 4), 2, np.float32)
    program = check_against_interpreter(text, [x], [np.ones(4, np.float32), np.asarray(5), c], steps=3)
    assert [port.updated for port in program.program.states] == [True, True, False]
    assert program.states[1] == 8
    assert program.run([x])[2].shape == ()


def test_outputs_that_no_kernel_computes() -> None:
    text = """
    graph @pass (%x: f32[2,3], %y: f64[]; state %s: i8[3]) -> f32[2,3], f32[3,2], i8[3], f64[], f32[2,3], i64[2] {
      %r = reshape %x {shape = [3, 2]} : f32[3,2]
      %k = constant {value = dense<i64[2], [7, -9]>, dtype = i64, shape = [2]} : i64[2]
      return %x, %r, %s, %y, %x, %k
    }
    """
    inputs = [np.arange(6, dtype=np.float32).reshape(2, 3), np.asarray(2.5)]
    program = check_against_interpreter(text, inputs, [np.asarray([1, -2, 3], np.int8)])
    outputs = program.run(inputs)
    assert outputs[0] is not outputs[4]
    assert not np.shares_memory(outputs[0], inputs[0])


def test_empty_program() -> None:
    assert executor("graph @nothing [traced] (%x: f32[3]) -> () {\n  return\n}").run([np.ones(3, np.float32)]) == []


def test_empty_arrays() -> None:
    text = """
    graph @empty [traced] (%x: f32[0,4]; state %s: f32[0], %t: f32[4]) -> f32[0,4], f32[4] {
      %y = exp %x : f32[0,4]
      %z = sum %x {axes = [0], keepdims = false} : f32[4]
      %n = neg %s : f32[0]
      %m = add %t, %z : f32[4]
      return %y, %z ; update %s = %n, %t = %m
    }
    """
    states = [np.empty(0, np.float32), np.ones(4, np.float32)]
    for debug in (False, True):
        check_against_interpreter(text, [np.empty((0, 4), np.float32)], states, debug)


@pytest.mark.parametrize(
    "array",
    [
        np.linspace(-3, 3, 1000, dtype=np.float32).reshape(10, 100),
        np.asarray([[True, False], [False, True]]),
        np.asarray([1.5, -2.25], ml_dtypes.bfloat16),
        np.asarray(1.5, np.float16),
        np.asarray([2**62, -(2**63)]),
    ],
    ids=lambda a: f"{a.dtype}{list(a.shape)}",
)
def test_array_constants(array: np.ndarray) -> None:
    type_ = DenseArray(array).type
    graph = Graph("constants", [Value(type_.with_dtype(bool_), name="chosen")])
    builder = Builder(graph)
    graph.results = [builder.where(graph.args[0], *(builder.constant(a, type_) for a in (array, np.zeros_like(array))))]
    chosen = np.arange(array.size).reshape(array.shape) % 3 != 1
    np.testing.assert_array_equal(executor(graph).run([chosen])[0], np.where(chosen, array, 0))


def test_half_precisions_and_bools_at_the_interface() -> None:
    text = """
    graph @narrow [traced] (%x: bf16[5], %m: bool[5]; state %s: f16[5]) -> bf16[5], bool[5] {
      %y = neg %x : bf16[5]
      %n = bitwise_not %m : bool[5]
      %z = cast %x {dtype = f16} : f16[5]
      %t = add %s, %z : f16[5]
      return %y, %n ; update %s = %t
    }
    """
    x = np.asarray([1, -2, 0.5, np.inf, 3], ml_dtypes.bfloat16)
    check_against_interpreter(text, [x, np.asarray([1, 0, 1, 1, 0], bool)], [np.ones(5, np.float16)], steps=1)


def test_equal_kernels_are_compiled_once() -> None:
    graph = Graph("equal", inputs := [Value(TensorType(f32, (6, n)), name=f"x{n}") for n in (5, 5, 7)])
    builder = Builder(graph)
    sums = [builder.sum(x, axes=(1,), keepdims=True) for x in inputs]
    graph.results = [
        builder.mul(x, builder.broadcast(s, shape=x.type.shape, dims=(0, 1))) for x, s in zip(inputs, sums, strict=True)
    ]
    code = emitted(graph)
    assert len(code.kernels) == 3
    assert len(code.distinct) == 2
    program = code.compile()
    assert len(program.objects) == 3  # the driver, and each kernel once
    again = emitted(graph).compile()
    assert again.objects[1] is program.objects[1]
    host = find_target("host")
    assert compile_kernel(code.kernels[0], host) is compile_kernel(code.kernels[1], host)
    x = [np.random.default_rng(0).normal(size=v.type.shape).astype(np.float32) for v in inputs]
    expected, _ = interpret(graph, x)
    for found, reference in zip(executor(graph).run(x), expected, strict=True):
        np.testing.assert_allclose(found, reference, rtol=1e-5)


def test_two_programs_of_one_name() -> None:
    """Entries of the same symbol live side by side."""
    texts = [
        f"graph @same [traced] (%x: f32[2]) -> f32[2] {{\n  %y = {op} %x : f32[2]\n  return %y\n}}"
        for op in ("neg", "abs")
    ]
    programs = [executor(text) for text in texts]
    x = np.asarray([-1, 2], np.float32)
    assert [program.run([x])[0].tolist() for program in programs] == [[1, -2], [1, 2]]


def test_names_of_ports_are_unique() -> None:
    unnamed, clash = Value(TensorType(f32, (2,))), Value(TensorType(f32, (2,)), name="state1")
    reserved = Value(TensorType(f32, (2,)), name="__metadata__")
    graph = Graph("ports", [], [clash, unnamed, reserved])
    graph.results = [Builder(graph).add(clash, unnamed)]
    program = emitted(graph).compile()
    assert [port.name for port in program.states] == ["state1", "state1_2", "__metadata___2"]
    assert [port.name for port in program.outputs] == ["output"]


def test_text_of_every_stage_of_code() -> None:
    code = emitted("graph @texts [traced] (%x: f32[4]) -> f32[4] {\n  %y = exp %x : f32[4]\n  return %y\n}")
    symbol = code.kernels[0].symbol
    assert code.source_text().startswith(f"# {symbol}, 1 units\n")
    assert "def kernel(p0, p1, scratch, fault, lo, hi):" in code.source_text()
    assert "define" in code.llvm_text()
    assert "graphc_texts" in code.llvm_text()
    assert symbol in code.assembly_text()
