"""bf16 and f16 against ml_dtypes and NumPy: every pattern, and f32 values of every kind."""

from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from graphc.ir.target import GENERIC_X86_64_V2
from graphc.ir.types import DType, bf16, f16, f32
from tests.codegen_primitives.language_loops import Array, kernel_of, pointwise, runs_here, undefined_symbols

HALVES = {bf16: np.dtype(ml_dtypes.bfloat16), f16: np.dtype(np.float16)}
ALL_PATTERNS = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)


def singles(half: DType) -> Array:
    """Random f32 patterns, and each half value, the midpoint to the next one, and the f32 neighbours of both."""
    rng = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        exact = ALL_PATTERNS.view(HALVES[half]).astype(np.float32)
        nearby = np.concatenate([exact, (exact[:-1] + exact[1:]) / 2])
        random = rng.integers(0, 2**32, 200_000, np.uint64).astype(np.uint32).view(np.float32)
        up, down = (np.nextafter(nearby, np.float32(end)) for end in (np.inf, -np.inf))
        return np.concatenate([nearby, up, down, random])


def rounded(x: Array, half: DType) -> Array:
    with np.errstate(all="ignore"):
        return x.astype(HALVES[half])


def assert_same_patterns(got: Array, expected: Array) -> None:
    """Equal bit for bit, but that any NaN is as good as another."""
    nan = np.isnan(expected.astype(np.float32))
    assert (got.view(np.uint16) == expected.view(np.uint16))[~nan].all()
    assert np.isnan(got.astype(np.float32))[nan].all()
    assert nan.any()


@pytest.mark.parametrize("native", [True, False], ids=["native", "python"])
@pytest.mark.parametrize("half", HALVES, ids=str)
def test_load_of_every_pattern(half: DType, native: bool) -> None:
    patterns = ALL_PATTERNS if native else ALL_PATTERNS[::37]
    result = np.empty(len(patterns), np.float32)
    loop = pointwise("x", (half,), f32)
    (loop.run if native else loop.run_python)(patterns.copy(), result)
    expected = patterns.view(HALVES[half]).astype(np.float32)
    assert np.array_equal(result, expected, equal_nan=True)
    assert (np.signbit(result) == np.signbit(expected)).all()


@pytest.mark.parametrize("native", [True, False], ids=["native", "python"])
@pytest.mark.parametrize("half", HALVES, ids=str)
def test_store_rounds_to_nearest_even(half: DType, native: bool) -> None:
    x = singles(half) if native else singles(half)[::101]
    result = np.empty(len(x), HALVES[half])
    loop = pointwise("x", (f32,), half)
    (loop.run if native else loop.run_python)(x, result)
    assert_same_patterns(result, rounded(x, half))


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_round_is_a_store_and_a_load(half: DType) -> None:
    x = singles(half)
    result = np.empty_like(x)
    pointwise(f"round_{half}(x)", (f32,), f32).run(x, result)
    expected = rounded(x, half).astype(np.float32)
    assert np.array_equal(result, expected, equal_nan=True)
    assert (np.signbit(result) == np.signbit(expected))[~np.isnan(x)].all()


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_every_pattern_survives_a_load_and_a_store(half: DType) -> None:
    result = np.empty_like(ALL_PATTERNS)
    pointwise("x", (half,), half).run(ALL_PATTERNS.copy(), result)
    assert_same_patterns(result.view(HALVES[half]), ALL_PATTERNS.view(HALVES[half]))


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_a_loop_over_halves_is_vector_code(half: DType) -> None:
    loop = pointwise("x + y", (half, half), half)
    assert re.search(r"<\d+ x (float|half)>", loop.compiled().llvm_text)


def test_old_processors_need_no_runtime_library_for_f16() -> None:
    """x86-64-v2 has no conversion instructions: the program brings its own."""
    load, store = pointwise("x", (f16,), f32), pointwise("x", (f32,), f16)
    for loop in (load, store):
        assert undefined_symbols(loop.compiled(GENERIC_X86_64_V2).object_code) == []
    if not runs_here(GENERIC_X86_64_V2):
        pytest.skip("not an x86-64 processor")
    values = np.empty(len(ALL_PATTERNS), np.float32)
    load.run(ALL_PATTERNS.copy(), values, target=GENERIC_X86_64_V2)
    assert np.array_equal(values, ALL_PATTERNS.view(np.float16).astype(np.float32), equal_nan=True)
    x = singles(f16)
    result = np.empty(len(x), np.float16)
    store.run(x, result, target=GENERIC_X86_64_V2)
    assert_same_patterns(result, rounded(x, f16))


def test_an_element_is_addressed_by_its_own_size() -> None:
    data = np.array([1, 2, 3, 4], np.float32)
    for half, dtype in HALVES.items():
        buffer: Any = data.astype(dtype)
        reversal = kernel_of(
            [
                "for i in range(lo, hi):",
                f"    x = load_{half}(p0, 3 - i)",
                f"    store_{half}(p1, i, x)",
            ],
            (half, half),
        )
        for run in (reversal.run, reversal.run_python):
            result = np.zeros_like(buffer)
            run(buffer, result)
            assert result.astype(np.float32).tolist() == [4, 3, 2, 1]
