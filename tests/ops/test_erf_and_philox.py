"""The two numerical kernels that NumPy does not have."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphc.ir.ops.erf import erf
from graphc.ir.ops.philox import philox, philox4x32
from graphc.ir.types import DType, bf16, f16, f32, f64
from tests.ops.sampled import Array, evaluate

# --- erf


def test_erf_is_accurate_to_double_precision() -> None:
    x = np.concatenate([np.linspace(-7, 7, 20001), 10.0 ** np.arange(-300.0, 3.0, 10.0), [0.84375, 1.25, 1 / 0.35, 6]])
    expected = np.array([math.erf(v) for v in x])
    np.testing.assert_allclose(erf(x), expected, rtol=4.5e-16, atol=0)


def test_erf_is_odd_and_keeps_shape_and_type() -> None:
    x = np.linspace(0, 7, 60, dtype=np.float32).reshape(3, 4, 5)
    assert erf(x).dtype == np.float32
    assert erf(x).shape == (3, 4, 5)
    np.testing.assert_array_equal(erf(-x), -erf(x))
    assert erf(np.array(0.5)).shape == ()
    assert erf(np.zeros((0, 2))).shape == (0, 2)


# --- Philox: known answers published with the Random123 library (kat_vectors)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]) -> None:
    words = philox4x32([np.array([c], np.uint64) for c in counter], key)
    assert tuple(int(w[0]) for w in words) == expected


def test_philox_splits_key_and_counter_into_words() -> None:
    word0, word1 = philox(-2, np.array([2**32 + 7, -1]))
    for position, (low, high) in enumerate([(7, 1), (0xFFFFFFFF, 0xFFFFFFFF)]):
        counter = [np.array([c], np.uint64) for c in (low, high, 0, 0)]
        expected = philox4x32(counter, (0xFFFFFFFE, 0xFFFFFFFF))
        assert (int(word0[position]), int(word1[position])) == (int(expected[0][0]), int(expected[1][0]))


# --- the ops


def draw(name: str, dtype: DType, shape: tuple[int, ...], key: int = 1, offset: int = 0) -> Array:
    return evaluate(name, [np.array(key), np.array(offset)], dtype=dtype, shape=shape)


@pytest.mark.parametrize("name", ["random_uniform", "random_normal"])
def test_elements_depend_on_their_place_alone(name: str) -> None:
    whole = draw(name, f32, (40,), offset=5)
    np.testing.assert_array_equal(draw(name, f32, (4, 10), offset=5).ravel(), whole)
    np.testing.assert_array_equal(draw(name, f32, (30,), offset=15), whole[10:])
    assert not np.array_equal(draw(name, f32, (40,), key=2, offset=5), whole)


@pytest.mark.parametrize("dtype", [f32, f64, bf16, f16])
def test_uniform_numbers_fill_the_unit_interval_and_stay_below_one(dtype: DType) -> None:
    x = draw("random_uniform", dtype, (20000,)).astype(np.float64)
    assert x.min() >= 0
    assert x.max() < 1
    assert abs(x.mean() - (0.5 if dtype not in (bf16,) else 0.498)) < 0.01
    assert abs(x.var() - 1 / 12) < 0.003


def test_uniform_numbers_are_the_top_bits_of_the_words() -> None:
    word0, word1 = philox(1, np.arange(100))
    np.testing.assert_array_equal(draw("random_uniform", f32, (100,)), (word0 >> np.uint64(8)) / 2.0**24)
    np.testing.assert_array_equal(draw("random_uniform", bf16, (100,)).astype(float), (word0 >> np.uint64(24)) / 2.0**8)
    words = (word1.astype(object) << 32) | word0.astype(object)
    np.testing.assert_array_equal(draw("random_uniform", f64, (100,)), [int(w >> 11) / 2.0**53 for w in words])


@pytest.mark.parametrize("dtype", [f32, f64, bf16, f16])
def test_normal_numbers_have_the_moments_of_the_normal_distribution(dtype: DType) -> None:
    x = draw("random_normal", dtype, (20000,)).astype(np.float64)
    assert np.isfinite(x).all()
    moments = [float(np.mean(x**k)) for k in (1, 2, 3, 4)]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.1)
    np.testing.assert_allclose(np.mean(np.abs(x) < 1), math.erf(1 / math.sqrt(2)), atol=0.01)


def test_the_offset_wraps() -> None:
    assert draw("random_uniform", f32, (4,), offset=2**63 - 2).shape == (4,)
