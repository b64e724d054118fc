"""The cut of a contraction: invariants over shapes and targets, and correct results on every x86 baseline."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from graphc.codegen.host import host_target
from graphc.codegen.kernels import emit_kernel
from graphc.codegen.kernels.contraction_tiles import choose_tiling
from graphc.codegen.llvm import compile_kernel
from graphc.ir.target import BASELINES, GENERIC_AARCH64, GENERIC_X86_64_V3, GENERIC_X86_64_V4, Target
from graphc.ir.types import f32
from tests.contraction.guard_pages import run_fenced
from tests.contraction.products import check_product, contraction, negated, random_operands

SHAPES = list(itertools.product((1, 2, 7, 16, 64, 129, 1000), (1, 3, 10, 48, 128, 1001), (1, 5, 64, 784, 40_000)))

LARGE = [(2048, 2048, 2048), (4096, 4096, 4096), (4096, 1000, 3000), (2000, 4096, 512)]


@pytest.mark.parametrize("target", BASELINES.values(), ids=lambda t: t.name)
@pytest.mark.parametrize("itemsize", [1, 4, 8])
@pytest.mark.parametrize("costly_left", [False, True])
def test_tiles_fit_registers_and_blocks_cover_the_shape(target: Target, itemsize: int, costly_left: bool) -> None:
    for m, n, k in SHAPES:
        tiling = choose_tiling(target, itemsize, 3, m, n, k, costly_left)
        accumulators = tiling.rows * tiling.vectors
        wide = tiling.lanes * itemsize <= max(target.vector_bytes, 2 * itemsize)
        assert wide
        assert accumulators + tiling.vectors + 1 <= target.vector_registers
        assert tiling.edge_rows == m % tiling.rows
        assert tiling.edge_vectors == -(-(n % tiling.panel) // tiling.lanes)
        assert tiling.m_block == m or tiling.m_block % tiling.rows == 0
        assert tiling.n_block == n or tiling.n_block % tiling.panel == 0
        assert tiling.k_block == k or tiling.k_block % tiling.lanes == 0
        assert 1 <= tiling.m_part <= tiling.m_block <= m
        assert tiling.m_part in (tiling.m_block, m) or tiling.m_part % tiling.rows == 0
        assert 1 <= tiling.n_block <= n
        assert 1 <= tiling.k_block <= k


def test_the_order_of_sums_does_not_depend_on_the_number_of_cores() -> None:
    one, many = (dataclasses.replace(GENERIC_X86_64_V4, cores=cores) for cores in (1, 64))
    for m, n, k in [*SHAPES, *LARGE]:
        few, more = (choose_tiling(target, 4, 1, m, n, k) for target in (one, many))
        assert (few.lanes, few.k_block) == (more.lanes, more.k_block)


@pytest.mark.parametrize("target", BASELINES.values(), ids=lambda t: t.name)
def test_units_of_a_large_product_grow_to_what_the_caches_hold(target: Target) -> None:
    for m, n, k in LARGE:
        tiling = choose_tiling(target, 4, 1, m, n, k)
        units = -(-m // tiling.m_block) * -(-n // tiling.n_block)
        kept = 4 * tiling.n_block * max(tiling.m_block, tiling.k_block)
        assert kept <= target.l3_bytes // (2 * target.cores)
        assert 4 * target.cores <= units
        assert units < 16 * target.cores or 2 * kept > target.l3_bytes // (2 * target.cores)
        assert 4 * tiling.k_block * tiling.m_part <= target.l2_bytes * 3 // 4
        assert tiling.m_part % tiling.rows == 0


@pytest.mark.parametrize(
    ("target", "tile"), [(GENERIC_X86_64_V4, (8, 2, 16)), (GENERIC_X86_64_V3, (6, 2, 8))], ids=["v4", "v3"]
)
def test_register_tiles_of_a_large_product(target: Target, tile: tuple[int, int, int]) -> None:
    tiling = choose_tiling(target, 4, 1, 1024, 1024, 1024)
    assert (tiling.rows, tiling.vectors, tiling.lanes) == tile


def test_few_columns_do_not_waste_a_wide_vector() -> None:
    assert choose_tiling(GENERIC_X86_64_V4, 4, 1, 64, 3, 100).lanes == 4


def test_work_is_cut_into_units_for_several_threads() -> None:
    for m, n, k in [(64, 128, 784), (784, 128, 64), (256, 1024, 1024), (768, 512, 128)]:
        tiling = choose_tiling(GENERIC_X86_64_V4, 4, 1, m, n, k)
        assert -(-m // tiling.m_block) * -(-n // tiling.n_block) >= 4


def test_rows_alone_are_cut_where_the_right_operand_need_not_be_packed() -> None:
    """The weight gradient of a first layer: 784 columns make no equal blocks of vectors, 128 rows do."""
    packed, lying = (choose_tiling(GENERIC_X86_64_V4, 4, 1, 128, 784, 64, right_lies=lies) for lies in (False, True))
    assert packed.n_block < 784 == lying.n_block
    assert 128 % lying.m_block == 0
    assert 128 // lying.m_block == 8
    a, b = random_operands("km,kn->mn", {"m": 128, "n": 784, "k": 64}, f32)
    source = emit_kernel(contraction("km,kn->mn", a, b), (0, 1, 2), GENERIC_X86_64_V4).source
    assert "right" not in source.partition("def kernel")[2]


def test_a_costly_prologue_is_repeated_for_few_blocks_of_columns() -> None:
    cheap, costly = (choose_tiling(GENERIC_X86_64_V4, 4, 1, 512, 1024, 512, costly) for costly in (False, True))
    assert costly.n_block >= 2 * cheap.n_block


@pytest.mark.parametrize("name", ["x86-64-v2", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("spec", ["mk,kn->mn", "mk,nk->mn"])
@pytest.mark.parametrize("sizes", [{"m": 29, "n": 43, "k": 70}, {"m": 64, "n": 10, "k": 16}], ids=str)
def test_baselines(name: str, spec: str, sizes: dict[str, int]) -> None:
    target = BASELINES[name]
    if target.vector_bytes > host_target().vector_bytes or "x86" not in host_target().triple:
        pytest.skip(f"this machine does not run {name}")
    a, b = random_operands(spec, sizes, f32)
    check_product(run_fenced(spec, (a, b), False, True, target), spec, a, b)
    check_product(-run_fenced(spec, (a, b), True, True, target), spec, a, b)


def test_another_architecture_compiles() -> None:
    a, b = random_operands("mk,nk->mn", {"m": 20, "n": 20, "k": 20}, f32)
    kernel = emit_kernel(contraction("mk,nk->mn", a, b, negated), (0, 1, 2), GENERIC_AARCH64)
    assert "fmla" in compile_kernel(kernel, GENERIC_AARCH64).assembly
