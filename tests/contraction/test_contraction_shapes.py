"""Every arrangement of letters, over sizes around those of vectors, register tiles and blocks."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.codegen.host import host_target
from graphc.codegen.kernels import emit_kernel
from graphc.ir.types import f32, f64
from tests.codegen.harness import run
from tests.contraction.products import check_product, check_spec, contraction, negated, random_operands

TRANSPOSES = ("mk,kn->mn", "mk,nk->mn", "km,kn->mn", "km,nk->mn")
SIZES = (1, 2, 3, 7, 15, 16, 17, 47, 48, 49, 64, 65, 100, 129)
TRIPLES = [(SIZES[i], SIZES[(5 * i + 3) % len(SIZES)], SIZES[(9 * i + 9) % len(SIZES)]) for i in range(len(SIZES))]


@pytest.mark.parametrize("spec", TRANSPOSES)
@pytest.mark.parametrize(("m", "n", "k"), TRIPLES)
def test_matrix_products(spec: str, m: int, n: int, k: int) -> None:
    check_spec(spec, {"m": m, "n": n, "k": k}, f32, seed=m + n + k)


@pytest.mark.parametrize("spec", TRANSPOSES)
@pytest.mark.parametrize(
    ("m", "n", "k"), [(64, 128, 784), (784, 128, 64), (64, 10, 128), (5, 300, 600), (257, 129, 300)]
)
def test_several_blocks(spec: str, m: int, n: int, k: int) -> None:
    check_spec(spec, {"m": m, "n": n, "k": k}, f32)


@pytest.mark.parametrize("spec", TRANSPOSES)
@pytest.mark.parametrize(("m", "n", "k"), [(17, 33, 9), (64, 20, 130), (1, 40, 65), (40, 1, 65)])
def test_double_precision(spec: str, m: int, n: int, k: int) -> None:
    check_spec(spec, {"m": m, "n": n, "k": k}, f64)


@pytest.mark.parametrize(
    "spec",
    [
        "bmk,bkn->bmn",
        "mkb,bnk->mnb",  # a batch letter innermost
        "bmk,nbk->mbn",
        "bmk,kn->bmn",  # shared by the batch: b counts as rows
        "mk,bkn->bmn",
        "bcmk,cbkn->bcmn",
        "bqhd,bkhd->bhqk",  # attention
        "bhqk,bkhd->bqhd",
        "abk,abn->kn",  # two summed letters
        "xymk,nyx->mnk",
        "abk,kcd->adbc",  # result letters of both operands interleaved
        "ab,cd->acbd",  # nothing summed
        "ab,cd->dbca",
        "bi,bj->bij",
        "k,k->",
        "k,nk->n",
        "mk,k->m",
        "m,->m",
        ",->",
        "m,m->m",
        "mk,kn->nm",  # the operands change roles
    ],
)
def test_letters_in_any_order(spec: str) -> None:
    letters = sorted(set(spec) - set(",->"))
    check_spec(spec, dict(zip(letters, (3, 20, 5, 18, 7), strict=False)), f32)
    check_spec(spec, dict(zip(letters, (17, 2, 1, 4, 33), strict=False)), f32)
    check_spec(spec, dict(zip(letters, (2, 3, 5, 4, 3), strict=False)), f32, python=True)


@pytest.mark.parametrize("spec", [*TRANSPOSES, "jk,jk->", "mjk,jkn->mn"])
def test_nothing_to_sum_gives_zeros(spec: str) -> None:
    check_spec(spec, {"m": 5, "n": 19, "j": 0, "k": 0}, f32)


@pytest.mark.parametrize("empty", ["m", "n", "b"])
def test_an_empty_result_has_no_units(empty: str) -> None:
    a, b = random_operands("bmk,bkn->bmn", {"b": 2, "m": 3, "n": 4, "k": 5, empty: 0}, f32)
    op = contraction("bmk,bkn->bmn", a, b)
    assert emit_kernel(op, (0, 1, 2), host_target()).units == 0
    assert run(op, [a, b]).results[0].size == 0


def test_an_operand_may_be_given_twice() -> None:
    x = np.random.default_rng(0).standard_normal((33, 20)).astype(np.float32)
    op = contraction("mk,nk->mn", x, x)
    (region,) = op.regions
    region.ops[0].operands = (region.args[0], region.args[0])
    region.args.pop()
    (actual,) = run(op, [x]).results
    check_product(actual, "mk,nk->mn", x, x)


@pytest.mark.parametrize("spec", TRANSPOSES)
@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (3, 5, 2), (17, 18, 4), (33, 16, 17), (2, 40, 16)])
def test_source_runs_as_python(spec: str, m: int, n: int, k: int) -> None:
    a, b = random_operands(spec, {"m": m, "n": n, "k": k}, f32)
    for follow in (None, negated):
        op = contraction(spec, a, b, follow)
        native, python = run(op, [a, b]).results[0], run(op, [a, b], python=True).results[0]
        np.testing.assert_allclose(native, python, rtol=0, atol=2.0**-22 * k * abs(a).max() * abs(b).max())
