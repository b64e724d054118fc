"""Ways to cut a contraction: all give the same bits, and measuring chooses among them."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.codegen import autotune
from graphc.codegen.autotune import tune
from graphc.codegen.host import host_target
from graphc.codegen.kernels import emit_kernel
from graphc.codegen.kernels.contraction import candidates
from graphc.codegen.kernels.contraction_tiles import Tiling
from graphc.codegen.measure import MeasuredKernel
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value
from graphc.ir.target import GENERIC_X86_64_V3
from graphc.ir.types import TensorType, f32
from graphc.passes.pipeline import lower
from tests.codegen.harness import run
from tests.contraction.products import contraction, negated, random_operands


@pytest.mark.parametrize("follow", [None, negated], ids=["plain", "epilogue"])
@pytest.mark.parametrize(
    ("spec", "sizes"), [("mk,kn->mn", {"m": 70, "n": 90, "k": 600}), ("km,nk->mn", {"m": 33, "n": 130, "k": 40})]
)
def test_all_candidates_give_the_same_bits(spec: str, sizes: dict[str, int], follow: object) -> None:
    a, b = random_operands(spec, sizes, f32)
    op = contraction(spec, a, b, follow)  # type: ignore[arg-type]
    ways = candidates(op, host_target())
    assert len(ways) > 3
    kernels = [emit_kernel(op, (0, 1, 2), host_target(), way) for way in ways]
    assert kernels[0] == emit_kernel(op, (0, 1, 2), host_target())
    assert len({kernel.symbol for kernel in kernels}) == len(ways)
    first, *others = (run(op, [a, b], kernel=kernel).results[0] for kernel in kernels)
    for other in others:
        np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize("sizes", [(64, 784, 128), (1000, 70, 33), (3, 3, 3)])
def test_candidates_differ_in_tiles_and_blocks_alone(sizes: tuple[int, int, int]) -> None:
    m, k, n = sizes
    op = contraction("mk,kn->mn", *random_operands("mk,kn->mn", {"m": m, "k": k, "n": n}, f32))
    for target in (host_target(), GENERIC_X86_64_V3):
        first, *others = candidates(op, target)
        for way in others:
            assert isinstance(way, Tiling)
            assert isinstance(first, Tiling)
            assert (way.k_block, way.lanes) == (first.k_block, first.lanes)
            assert way.rows * way.vectors + way.vectors + 1 <= target.vector_registers


def test_an_empty_result_has_no_candidates() -> None:
    op = contraction("mk,kn->mn", *random_operands("mk,kn->mn", {"m": 0, "k": 3, "n": 4}, f32))
    assert candidates(op, host_target()) == []


def graph_of(m: int, k: int, n: int) -> Graph:
    graph = Graph("g", [Value(TensorType(f32, shape)) for shape in ((m, k), (k, n))])
    graph.results = [Builder(graph).contract(*graph.inputs, spec="mk,kn->mn")]
    return graph


def test_the_fastest_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """With made-up times: the more units, the faster."""

    class Fake:
        def __init__(self, kernel: object, buffers: object, target: object):
            self.units = kernel.units  # type: ignore[attr-defined]

        def seconds(self, budget: float) -> float:
            return 1 / self.units

    monkeypatch.setattr(autotune, "MeasuredKernel", Fake)
    schedule = lower(graph_of(256, 100, 256), host_target()).schedule
    (launch,) = schedule.launches
    ((symbol, way),) = tune(schedule, host_target()).items()
    chosen = emit_kernel(launch.op, (0, 1, 2), host_target())
    assert symbol == chosen.symbol
    most = max(emit_kernel(launch.op, (0, 1, 2), host_target(), c).units for c in candidates(launch.op, host_target()))
    assert emit_kernel(launch.op, (0, 1, 2), host_target(), way).units == most > chosen.units


def test_small_kernels_are_not_worth_it() -> None:
    assert tune(lower(graph_of(8, 8, 32), host_target()).schedule, host_target()) == {}


def test_measuring_runs_the_kernel() -> None:
    op = contraction("mk,kn->mn", *random_operands("mk,kn->mn", {"m": 8, "k": 40, "n": 32}, f32))
    types = [*(v.type for v in op.operands), op.results[0].type]
    measured = MeasuredKernel(emit_kernel(op, (0, 1, 2), host_target()), types, host_target())
    assert 0 < measured.seconds(1e-4) < 1
