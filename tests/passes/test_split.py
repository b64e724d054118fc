"""Long sums for few elements become sums of slabs, in equal parts or with something left over."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Op, Value
from graphc.ir.interpret import interpret
from graphc.ir.types import DType, TensorType, bf16, bool_, f32, i32
from graphc.passes.pipeline import lower
from graphc.passes.split import Split

Build = Callable[..., Value]


def graph_of(build: Build, *shapes: tuple[int, ...], dtype: DType = f32) -> Graph:
    arguments = [Value(TensorType(dtype, shape), name=f"x{i}") for i, shape in enumerate(shapes)]
    graph = Graph("split", arguments, stage="differentiated")
    graph.results = [build(Builder(graph), *arguments)]
    return graph


def split(graph: Graph) -> list[Op]:
    return Split().run(graph).ops


def contract(spec: str) -> Build:
    return lambda b, x, y: b.contract(x, y, spec=spec)


def reduce(name: str, *axes: int) -> Build:
    return lambda b, x: b.emit(name, [x], {"axes": axes, "keepdims": False}).result


def inputs(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    found = []
    for value in graph.inputs:
        if value.type.dtype.is_float:
            found.append(rng.standard_normal(value.type.shape).astype(value.type.dtype.numpy))
        else:
            found.append(rng.integers(0, 2, value.type.shape).astype(value.type.dtype.numpy))
    return found


LONG = [
    (reduce("sum", 0), [(1 << 17,)], f32),
    (reduce("sum", 0), [(131_101,)], f32),  # a prime: something is left over
    (reduce("max", 0, 1), [(300, 500)], f32),
    (reduce("min", 0), [(131_101,)], f32),
    (reduce("sum", 0), [(4096, 10)], f32),
    (reduce("sum", 0), [(2100, 512)], f32),  # many columns, but of so much memory that whole rows are read faster
    (reduce("sum", 1), [(4, 50_000)], f32),
    (reduce("sum", 0, 2), [(300, 3, 200)], f32),
    (reduce("sum", 0), [(200_000,)], bf16),
    (reduce("prod", 0), [(200_001,)], i32),
    (reduce("any", 0), [(200_003,)], bool_),
    (reduce("all", 0), [(200_003,)], bool_),
    (contract("k,k->"), [(1 << 20,), (1 << 20,)], f32),
    (contract("k,k->"), [(1_000_003,), (1_000_003,)], f32),
    (contract("mk,nk->mn"), [(20, 20_000), (30, 20_000)], f32),
    (contract("km,kn->nm"), [(20_011, 20), (20_011, 30)], f32),
    (contract("jkm,jkn->mn"), [(7, 3000, 16), (7, 3000, 16)], f32),
    (contract("bmk,bnk->bmn"), [(2, 16, 40_000), (2, 16, 40_000)], bf16),
    (contract("mk,nk->mn"), [(20, 20_011), (30, 20_011)], i32),
]


@pytest.mark.parametrize(("build", "shapes", "dtype"), LONG)
def test_long_sums_are_split_and_stay_what_they_are(build: Build, shapes: list[tuple[int, ...]], dtype: DType) -> None:
    graph = graph_of(build, *shapes, dtype=dtype)
    after = Split().run(graph)
    kinds = [op.name for op in after.ops]
    assert kinds.count("reshape") >= 1
    assert len(kinds) > len(graph.ops)
    arrays = inputs(graph)
    (expected,), (actual,) = interpret(graph, arrays)[0], interpret(after, arrays)[0]
    assert actual.dtype == expected.dtype
    if dtype.is_float:  # of sums of numbers about 1
        tolerance = (1e-5 if dtype == f32 else 1e-2) * max(array.size for array in arrays) ** 0.5
        np.testing.assert_allclose(actual.astype(np.float64), expected.astype(np.float64), rtol=1e-2, atol=tolerance)
    else:
        np.testing.assert_array_equal(actual, expected)


SHORT = [
    (reduce("sum", 0), [(100_000,)]),
    (reduce("sum", 1), [(4096, 1000)]),  # enough rows
    (reduce("sum", 0), [(1000, 1024)]),  # enough columns
    (reduce("argmax", 0), [(1 << 18,)]),
    (contract("mk,nk->mn"), [(64, 784), (128, 784)]),
    (contract("mk,nk->mn"), [(1, 4096), (4096, 4096)]),
    (contract("k,k->"), [(10_000,), (10_000,)]),
]


@pytest.mark.parametrize(("build", "shapes"), SHORT)
def test_others_are_left_alone(build: Build, shapes: list[tuple[int, ...]]) -> None:
    graph = graph_of(build, *shapes)
    assert [op.name for op in split(graph)] == [op.name for op in graph.ops]


def test_slabs_come_from_the_shape_alone() -> None:
    """The same graph is cut alike for every target."""
    graph = graph_of(contract("mk,nk->mn"), (20, 20_000), (30, 20_000))
    partial = next(op for op in split(graph) if op.name == "contract")
    assert partial.result.type == TensorType(f32, (16, 20, 30))


def test_the_epilogue_goes_into_the_last_sum() -> None:
    def loss(b: Builder, x: Value) -> Value:
        total = b.sum(b.mul(x, x), axes=(0, 1), keepdims=False)
        return b.sqrt(total)

    first, last = lower(graph_of(loss, (512, 1024))).schedule.launches
    assert [op.name for op in first.op.regions[0].ops if op.name in ("mul", "sum")] == ["mul", "sum"]
    assert [op.name for op in last.op.regions[0].ops] == ["sum", "sqrt"]
