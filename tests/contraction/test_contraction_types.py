"""Every element type: floats within their error bounds, half precisions rounded once, integers wrapping."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.ir.builder import Builder
from graphc.ir.graph import Value
from graphc.ir.types import DType, bf16, f16, f32, f64, i8, i16, i32, i64, u8
from tests.codegen.harness import evaluate, fused, run, types_of
from tests.contraction.products import check_product, check_spec, contraction, random_operands

DTYPES = [f32, f64, bf16, f16, i8, i16, i32, i64, u8]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("spec", ["mk,kn->mn", "mk,nk->mn", "km,nk->mn"])
@pytest.mark.parametrize("sizes", [{"m": 19, "n": 37, "k": 33}, {"m": 3, "n": 64, "k": 48}], ids=str)
def test_types(spec: str, sizes: dict[str, int], dtype: DType) -> None:
    check_spec(spec, sizes, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_types_uncompiled(dtype: DType) -> None:
    check_spec("mk,nk->mn", {"m": 3, "n": 18, "k": 17}, dtype, python=True)


@pytest.mark.parametrize("dtype", [bf16, f16], ids=str)
def test_half_precision_is_summed_in_f32(dtype: DType) -> None:
    # 1 is below half the distance between neighbours of 4096 in either type: a sum kept in it would stay at 4096
    a = np.ones((1, 513), dtype.numpy)
    a[0, 0] = 4096
    b = np.ones((513, 16), dtype.numpy)
    (actual,) = run(contraction("mk,kn->mn", a, b), [a, b]).results
    assert (actual == np.array(4096 + 512).astype(dtype.numpy)).all()


@pytest.mark.parametrize("dtype", [bf16, f16], ids=str)
def test_half_precision_is_rounded_before_the_epilogue(dtype: DType) -> None:
    # The product 4097 * 1 rounds to 4096 (in either type); without that rounding the difference would be 1.
    a, b = np.array([[4096, 1]], dtype.numpy), np.ones((2, 1), dtype.numpy)

    def minus_4096(builder: Builder, product: Value) -> Value:
        return builder.sub(product, builder.full_like(product, 4096))

    op = contraction("mk,kn->mn", a, b, minus_4096)
    assert run(op, [a, b]).results[0].astype(np.float64) == 0


def test_mixed_precision_weights_are_cast_while_packing() -> None:
    x, w = random_operands("mk,nk->mn", {"m": 40, "n": 50, "k": 60}, bf16)

    def region(builder: Builder, x: Value, w: Value) -> Value:
        product = builder.contract(builder.cast(x, dtype=f32), builder.cast(w, dtype=f32), spec="mk,nk->mn")
        return builder.cast(product, dtype=f64)

    (actual,) = run(fused("contraction", types_of([x, w]), region), [x, w]).results
    assert actual.dtype == np.float64
    check_product(actual.astype(np.float32), "mk,nk->mn", x.astype(np.float32), w.astype(np.float32))


@pytest.mark.parametrize("dtype", [i8, u8, i32], ids=str)
def test_integers_wrap_as_the_record_says(dtype: DType) -> None:
    a, b = random_operands("mk,kn->mn", {"m": 6, "n": 21, "k": 40}, dtype, seed=5)
    op = contraction("mk,kn->mn", a, b)
    np.testing.assert_array_equal(run(op, [a, b]).results[0], evaluate(op, [a, b])[0])
