"""f32 functions: errors within the stated bounds over the whole range, special values, vector code without calls."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import numpy as np
import pytest

from graphc.codegen.host import host_target
from graphc.codegen.vector_math import MAX_ULP
from graphc.ir.ops.erf import erf
from graphc.ir.target import GENERIC_AARCH64, GENERIC_X86_64_V2, GENERIC_X86_64_V3, GENERIC_X86_64_V4, Target
from graphc.ir.types import f32, f64
from tests.codegen_primitives.language_loops import Array, Loop, pointwise, runs_here, undefined_symbols
from tests.codegen_primitives.ulps import ulps

UNARY: dict[str, Any] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "erf": erf,
    "sin": np.sin,
    "cos": np.cos,
}
STRIDE = 997  # prime, so that the low bits take every pattern


TARGETS = [host_target(), *(t for t in (GENERIC_X86_64_V2, GENERIC_X86_64_V3) if runs_here(t))]


def loop(name: str) -> Loop:
    return pointwise(f"{name}(x, y, fault)", (f32, f32), f32) if name == "pow" else pointwise(f"{name}(x)", (f32,), f32)


def apply(name: str, *operands: Array, target: Target | None = None) -> Array:
    arrays = [np.ascontiguousarray(x, np.float32) for x in operands]
    result = np.empty_like(arrays[0])
    assert loop(name).run(*arrays, result, target=target) == 0
    return result


def exactly(name: str, *operands: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray((np.power if name == "pow" else UNARY[name])(*(x.astype(np.float64) for x in operands)))


def assert_close(name: str, *operands: Array, target: Target | None = None) -> None:
    error = ulps(apply(name, *operands, target=target), exactly(name, *operands))
    worst = int(np.argmax(error))
    assert error[worst] <= MAX_ULP[name], f"{name}({[x[worst] for x in operands]}) is {error[worst]} ulp off"


def floats(stride: int, start: int = 0) -> Array:
    return np.arange(start, 2**32, stride, dtype=np.uint64).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("name", UNARY)
def test_the_error_stays_within_its_bound_over_all_floats(name: str, target: Target) -> None:
    assert_close(name, floats(STRIDE), target=target)


# Stretches of arguments where each function is at its worst or changes from one formula to another.
CRITICAL = {
    "exp": [(-104.5, -103.0), (-87.8, -86.9), (-0.36, 0.36), (88.3, 89.2)],
    "expm1": [(-18.5, -16.0), (-1.1, -0.3), (-1e-7, 1e-7), (0.3, 1.1), (88.3, 89.2)],
    "log": [(0.65, 0.75), (0.98, 1.02), (1.35, 1.45), (0.0, 1e-37)],
    "log1p": [(-1.0, -0.99), (-0.35, -0.25), (-1e-7, 1e-7), (0.4, 0.46)],
    "tanh": [(-0.7, -0.55), (0.55, 0.7), (8.5, 10.5), (-1e-7, 1e-7)],
    "erf": [(0.95, 1.3), (-1.3, -0.95), (3.8, 4.0)],
    "sin": [(0.7, 1.1), (3.1415, 3.1417), (6.2831, 6.2833), (-1e5, 1e5), (1e37, 3.4e38)],
    "cos": [(0.7, 1.1), (1.5707, 1.5709), (4.7123, 4.7125), (-1e5, 1e5), (1e37, 3.4e38)],
}


@pytest.mark.parametrize("name", UNARY)
def test_the_error_stays_within_its_bound_where_formulas_change(name: str) -> None:
    for low, high in CRITICAL[name]:
        assert_close(name, np.linspace(low, high, 300_001, dtype=np.float64).astype(np.float32))


def test_sin_and_cos_are_accurate_next_to_multiples_of_a_right_angle() -> None:
    turns = np.unique(np.concatenate([np.arange(1, 20_000), 3 ** np.arange(1, 34)])).astype(np.float64)
    nearest = (turns * (math.pi / 2)).astype(np.float32)
    # the f32 nearest to a multiple of pi/2 of all (Kahan and McDonald)
    hardest = np.array([16367173.0 * 2.0**72], np.float32)
    for x in (nearest, np.nextafter(nearest, np.float32(0)), -nearest, hardest):
        assert_close("sin", x)
        assert_close("cos", x)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_pow_stays_within_its_bound(target: Target) -> None:
    rng = np.random.default_rng(0)
    n = 200_000
    any_bits = rng.integers(0, 2**32, (2, n), np.uint64).astype(np.uint32).view(np.float32)
    pairs = [
        (any_bits[0], any_bits[1]),
        (rng.uniform(0, 10, n), rng.uniform(-40, 40, n)),
        (np.exp(rng.uniform(-1e-3, 1e-3, n)), rng.uniform(-9e4, 9e4, n)),
        (np.exp(rng.uniform(-87, 87, n)), rng.uniform(-1.2, 1.2, n)),
        (-rng.uniform(0, 30, n), rng.integers(-30, 30, n)),
        (floats(40_009), np.full_like(floats(40_009), 0.5)),
    ]
    for x, y in pairs:
        assert_close("pow", np.asarray(x, np.float32), np.asarray(y, np.float32), target=target)


INF, NAN = math.inf, math.nan
SMALLEST = 2.0**-149
SPECIAL = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (NAN, NAN), (89.0, INF), (-104.0, 0.0), (3e38, INF)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1.0), (NAN, NAN), (SMALLEST, SMALLEST), (-3e38, -1.0)],
    "log": [(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (-1.0, NAN), (-SMALLEST, NAN), (NAN, NAN)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (-1.5, NAN), (INF, INF), (-INF, NAN), (NAN, NAN)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (NAN, NAN), (-SMALLEST, -SMALLEST), (20.0, 1.0)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (NAN, NAN), (4.0, 1.0), (-9.0, -1.0)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN), (-SMALLEST, -SMALLEST)],
    "cos": [(0.0, 1.0), (-0.0, 1.0), (INF, NAN), (-INF, NAN), (NAN, NAN), (SMALLEST, 1.0)],
}


def same(got: Array, expected: Array) -> Array:
    """Equal, with the sign of zero, or both NaN."""
    return (np.isnan(got) & np.isnan(expected)) | ((got == expected) & (np.signbit(got) == np.signbit(expected)))


@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
@pytest.mark.parametrize("name", UNARY)
def test_special_values(name: str, dtype: Any) -> None:
    if dtype == f64:
        table = [(x, y) for x, y in SPECIAL[name] if abs(x) in (0.0, 1.0, INF) or math.isnan(x)]
    else:
        table = SPECIAL[name]
    x, expected = (np.array(column, dtype.numpy) for column in zip(*table, strict=True))
    result = np.empty_like(x)
    pointwise(f"{name}(x)", (dtype,), dtype).run(x, result)
    assert same(result, expected).all(), (x, result)


@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
def test_pow_of_special_values_is_that_of_c99(dtype: Any) -> None:
    values = [0.0, 1.0, 2.0, 3.0, 0.5, 1.5, 2.5, SMALLEST, 2.0**24 - 2, 2.0**24 - 1, 2.0**24, 1e30, INF]
    x, y = np.array(list(itertools.product([*values, *(-v for v in values), NAN], repeat=2)), dtype.numpy).T.copy()
    result = np.empty_like(x)
    pointwise("pow(x, y, fault)", (dtype, dtype), dtype).run(x, y, result)
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(np.float64), y.astype(np.float64))
        # where the result is exact it must be met exactly, and elsewhere the bound of the other test holds
        special = (exact == 0) | ~np.isfinite(exact) | (np.abs(exact) == 1)
        expected = exact.astype(dtype.numpy)
    assert same(result, expected)[special].all()
    assert np.count_nonzero(special) > 300


@pytest.mark.parametrize("name", MAX_ULP)
@pytest.mark.parametrize("target", [GENERIC_X86_64_V4, GENERIC_X86_64_V3, GENERIC_AARCH64], ids=lambda t: t.name)
def test_a_loop_over_an_f32_function_is_vector_code_without_calls(name: str, target: Target) -> None:
    compiled = loop(name).compiled(target)
    lanes = [int(n) for n in re.findall(r"<(\d+) x float>", compiled.llvm_text)]
    assert max(lanes, default=1) >= target.vector_bytes // 4
    assert not re.findall(r"call [^@]*@(?!llvm\.)\w+", compiled.llvm_text)
    assert not undefined_symbols(compiled.object_code)
