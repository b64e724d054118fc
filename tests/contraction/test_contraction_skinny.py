"""Products with few rows, few columns or little to sum, which have schedules of their own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from graphc.codegen.host import host_target
from graphc.codegen.kernels import emit_kernel
from graphc.codegen.kernels.contraction_dot import DotTiling, dot_tiling
from graphc.codegen.kernels.contraction_outer import OuterTiling, outer_tiling
from graphc.codegen.kernels.contraction_plan import roles_of
from graphc.codegen.llvm import compile_kernel
from graphc.ir.builder import Builder
from graphc.ir.graph import Op, Value
from graphc.ir.target import BASELINES, GENERIC_AARCH64, Target
from graphc.ir.types import DType, TensorType, bf16, f32, f64, i8, i32
from tests.codegen.harness import fused, run, types_of
from tests.contraction.guard_pages import run_fenced
from tests.contraction.products import check_against_records, check_product, check_spec, contraction, random_operands

TRANSPOSES = ("mk,kn->mn", "mk,nk->mn", "km,kn->mn", "km,nk->mn")
WIDE = 70


def problem(spec: str, **sizes: int) -> tuple[Op, list[np.ndarray]]:
    arrays = list(random_operands(spec, sizes, f32))
    return contraction(spec, *arrays), arrays


def cut(op: Op, target: Target) -> OuterTiling | DotTiling | None:
    roles = roles_of(op.regions[0].ops[0])
    return outer_tiling(roles, target, 1 << 20) or dot_tiling(roles, target)


@pytest.mark.parametrize("few", range(1, 17))
@pytest.mark.parametrize("short", ["m", "n", "k"])
def test_every_extent_from_1_to_16(few: int, short: str) -> None:
    for spec in TRANSPOSES:
        check_spec(spec, {"m": WIDE, "n": WIDE + 1, "k": WIDE + 2, short: few}, f32, seed=few)


@pytest.mark.parametrize("dtype", [f64, bf16, i32, i8], ids=str)
@pytest.mark.parametrize("sizes", [(3, 40, 130), (40, 3, 130), (40, 80, 3), (1, 40, 64), (1, 1, 500), (9, 33, 77)])
@pytest.mark.parametrize("spec", ["mk,nk->mn", "km,kn->mn"])
def test_types(spec: str, sizes: tuple[int, int, int], dtype: DType) -> None:
    check_spec(spec, dict(zip("mnk", sizes, strict=True)), dtype)


@pytest.mark.parametrize(
    ("spec", "sizes"),
    [
        ("k,k->", {"k": 40_000}),
        ("k,nk->n", {"n": 300, "k": 900}),
        ("mk,k->m", {"m": 300, "k": 900}),
        ("bmk,bnk->bmn", {"b": 5, "m": 4, "n": 30, "k": 100}),
        ("bmk,bkn->bmn", {"b": 5, "m": 40, "n": 60, "k": 3}),
        ("mbk,nbk->mnb", {"b": 5, "m": 4, "n": 30, "k": 100}),  # the batch innermost: results lie apart
        ("ambk,nk->abmn", {"a": 2, "b": 3, "m": 2, "n": 40, "k": 64}),
        ("m,n->mn", {"m": 40, "n": 80}),
        ("mk,nk->nm", {"m": 3, "n": 50, "k": 90}),
    ],
)
@pytest.mark.parametrize("dtype", [f32, i32], ids=str)
def test_other_letters(spec: str, sizes: dict[str, int], dtype: DType) -> None:
    check_spec(spec, sizes, dtype)


@pytest.mark.parametrize(
    ("spec", "sizes", "kind"),
    [
        ("mk,nk->mn", {"m": 4, "n": 128, "k": 784}, DotTiling),  # the forward pass of a small batch
        ("bm,bn->mn", {"b": 4, "m": 128, "n": 784}, OuterTiling),  # its weight gradient
        ("mk,k->m", {"m": 1024, "k": 1024}, DotTiling),
        ("mk,kn->mn", {"m": 4, "n": 1024, "k": 1024}, type(None)),  # the columns are lanes already
        ("mk,nk->mn", {"m": 64, "n": 128, "k": 784}, type(None)),
    ],
)
def test_which_schedule_is_chosen(spec: str, sizes: dict[str, int], kind: type) -> None:
    op, _ = problem(spec, **sizes)
    assert type(cut(op, host_target())) is kind


@pytest.mark.parametrize("target", BASELINES.values(), ids=lambda t: t.name)
def test_dot_tiles_fit_registers_and_vectors_fit_the_last_block(target: Target) -> None:
    for few, many, k in itertools.product(
        (1, 2, 3, 5, 8, 11, 16), (1, 2, 9, 100, 4000), (64, 65, 1000, 4097, 1_000_001)
    ):
        types = [TensorType(f32, (few, k)), TensorType(f32, (many, k))]
        tiling = cut(fused("contraction", types, lambda b, x, y: b.contract(x, y, spec="mk,nk->mn")), target)
        assert isinstance(tiling, DotTiling)
        assert tiling.few * tiling.many + min(tiling.few, tiling.many) + 1 <= target.vector_registers
        assert k % tiling.k_block == 0 or k % tiling.k_block >= tiling.lanes
        assert tiling.k_block == k or tiling.k_block % tiling.lanes == 0
        assert 1 <= tiling.many_block <= max(few, many)


@pytest.mark.parametrize("target", BASELINES.values(), ids=lambda t: t.name)
def test_working_memory_stays_within_the_second_cache(target: Target) -> None:
    """However many rows there are, and although they have to be laid out and their products kept."""
    many, k = 1_000_000, 64
    types = [TensorType(bf16, (16, k)), TensorType(bf16, (many, k))]
    op = fused("contraction", types, lambda b, x, y: b.relu(b.contract(x, y, spec="mk,nk->mn")))
    assert isinstance(cut(op, target), DotTiling)
    assert emit_kernel(op, (0, 1, 2), target).scratch_bytes <= target.l2_bytes


SPLITS = [
    ("mk,nk->mn", {"m": 4, "n": 900, "k": 700}),
    ("mk,nk->mn", {"m": 900, "n": 5, "k": 700}),
    ("km,kn->mn", {"m": 301, "n": 1000, "k": 4}),
    ("bkm,bkn->bmn", {"b": 3, "m": 33, "n": 70, "k": 9}),
]


def momentum(b: Builder, gradient: Value, velocity: Value, weight: Value) -> tuple[Value, Value]:
    new = b.add(b.mul(velocity, b.full_like(velocity, 0.9)), gradient)
    return new, b.sub(weight, b.mul(new, b.full_like(new, 0.1)))


@pytest.mark.parametrize(("spec", "sizes"), SPLITS, ids=lambda x: x if isinstance(x, str) else "")
def test_updates_in_place_in_any_order_of_units(spec: str, sizes: dict[str, int]) -> None:
    a, b = random_operands(spec, sizes, f32)
    shape = tuple(sizes[x] for x in spec.split("->")[1])
    velocity, weight = (np.random.default_rng(i).standard_normal(shape).astype(np.float32) for i in (1, 2))

    def region(builder: Builder, x: Value, y: Value, v: Value, w: Value) -> tuple[Value, Value]:
        return momentum(builder, builder.contract(x, y, spec=spec), v, w)

    arrays = [a, b, velocity, weight]
    op = fused("contraction", types_of(arrays), region)
    slots = (0, 1, 2, 3, 2, 3)
    check_against_records(op, arrays, 1e-5, slots)
    assert emit_kernel(op, slots, host_target()).units > 2
    whole = run(op, arrays, slots).results
    apart = run(op, arrays, slots, order=lambda units: [(u, u + 1) for u in reversed(range(units))]).results
    for one, other in zip(whole, apart, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("spec", TRANSPOSES)
@pytest.mark.parametrize("sizes", [(3, 40, 70), (40, 3, 70), (20, 50, 3)], ids=str)
def test_prologues(spec: str, side: int, sizes: tuple[int, int, int]) -> None:
    arrays = list(random_operands(spec, dict(zip("mnk", sizes, strict=True)), f32))

    def region(b: Builder, *operands: Value) -> Value:
        given = [b.relu(x) if i == side else x for i, x in enumerate(operands)]
        return b.tanh(b.contract(*given, spec=spec))

    check_against_records(fused("contraction", types_of(arrays), region), arrays, 1e-5)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("sizes", [(3, 43, 70), (43, 3, 70), (22, 43, 5), (43, 22, 50)], ids=str)
def test_padded_prologues(side: int, sizes: tuple[int, int, int]) -> None:
    """Which element stands where is decided at every place, at the edges of blocks too."""
    arrays = list(random_operands("mk,kn->mn", dict(zip("mnk", sizes, strict=True)), f32))
    arrays[side] = arrays[side][1:, 1:].copy()

    def region(b: Builder, *operands: Value) -> Value:
        given = list(operands)
        given[side] = b.pad(b.neg(given[side]), low=(1, 0), high=(0, 1), interior=(0, 0), value=0.5)
        return b.contract(*given, spec="mk,kn->mn")

    check_against_records(fused("contraction", types_of(arrays), region), arrays, 1e-5)


@pytest.mark.parametrize("spec", TRANSPOSES)
@pytest.mark.parametrize("sizes", [(4, 33, 64), (16, 17, 35), (33, 1, 80), (9, 48, 5), (1, 1, 33)], ids=str)
def test_nothing_is_touched_outside(spec: str, sizes: tuple[int, int, int]) -> None:
    """Results lie between guard bytes; a NaN beyond the end of an operand would show."""
    check_spec(spec, dict(zip("mnk", sizes, strict=True)), f32)


@pytest.mark.parametrize("spec", TRANSPOSES)
@pytest.mark.parametrize("sizes", [{"m": 3, "n": 20, "k": 45}, {"m": 20, "n": 40, "k": 3}], ids=str)
def test_source_runs_as_python(spec: str, sizes: dict[str, int]) -> None:
    check_spec(spec, sizes, f32, python=True)


@pytest.mark.parametrize("name", ["x86-64-v2", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("sizes", [{"m": 3, "n": 43, "k": 70}, {"m": 64, "n": 40, "k": 3}], ids=str)
def test_baselines(name: str, sizes: dict[str, int]) -> None:
    target = BASELINES[name]
    if target.vector_bytes > host_target().vector_bytes or "x86" not in host_target().triple:
        pytest.skip(f"this machine does not run {name}")
    a, b = random_operands("mk,nk->mn", sizes, f32)
    check_product(run_fenced("mk,nk->mn", (a, b), False, True, target), "mk,nk->mn", a, b)


def test_another_architecture_compiles() -> None:
    for sizes in ({"m": 3, "n": 20, "k": 45}, {"m": 20, "n": 40, "k": 3}):
        op, _ = problem("mk,nk->mn", **sizes)
        assert "fmla" in compile_kernel(emit_kernel(op, (0, 1, 2), GENERIC_AARCH64), GENERIC_AARCH64).assembly
