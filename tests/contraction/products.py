"""Makes contraction kernels from a spec and compares them with exact sums of products."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphc.ir.builder import Builder
from graphc.ir.graph import Op, Value
from graphc.ir.ops.contraction import parse_spec
from graphc.ir.types import DType, from_numpy_dtype
from tests.codegen.harness import evaluate, fused, run, types_of

Array = np.ndarray[Any, Any]

# Half the distance between 1 and the next number: the relative error of one rounding.
ROUNDING = {"f32": 2.0**-24, "f64": 2.0**-53, "bf16": 2.0**-8, "f16": 2.0**-11}
TINY = {"f32": 2.0**-149, "f64": 2.0**-1074, "bf16": 2.0**-133, "f16": 2.0**-25}


def random_array(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> Array:
    """Numbers of both signs; integers over the whole range of the type, so that products wrap."""
    if dtype.is_float:
        return rng.standard_normal(shape).astype(dtype.numpy)
    limits = np.iinfo(dtype.numpy)
    return rng.integers(limits.min, limits.max, shape, dtype.numpy, endpoint=True)


def random_operands(spec: str, sizes: Mapping[str, int], dtype: DType, seed: int = 0) -> tuple[Array, Array]:
    """A random array for each operand of a spec."""
    rng, at = np.random.default_rng(seed), parse_spec(spec)
    a, b = (random_array(rng, tuple(sizes[x] for x in letters), dtype) for letters in (at.a, at.b))
    return a, b


def contraction(spec: str, a: Array, b: Array, follow: Callable[[Builder, Value], Any] | None = None) -> Op:
    """The fused op of a contraction; `follow` makes its results from that of the contract op."""

    def region(builder: Builder, x: Value, y: Value) -> Any:
        product = builder.contract(x, y, spec=spec)
        return product if follow is None else follow(builder, product)

    return fused("contraction", types_of([a, b]), region)


def negated(builder: Builder, product: Value) -> Value:
    """An epilogue that rounds nothing: it makes the kernel sum in scratch memory instead of in the result."""
    return builder.neg(product)


def check_product(actual: Array, spec: str, a: Array, b: Array) -> None:
    """Fails unless `actual` is the contraction of a and b: exactly for integers, else within the error bound of a sum
    of k products in any order, (k + 1) roundings of the sum of magnitudes (Higham, "Accuracy and Stability of Numerical
    Algorithms", 2002, section 3.1), and one rounding to the result's type."""
    dtype, at = from_numpy_dtype(actual.dtype), parse_spec(spec)
    if not dtype.is_float:
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(actual, np.einsum(spec, a, b, dtype=a.dtype))
        return
    steps = int(np.prod([a.shape[at.a.index(x)] for x in at.k], dtype=np.int64))
    wide = np.longdouble if dtype.itemsize == 8 else np.float64
    wide_a, wide_b = a.astype(wide), b.astype(wide)
    exact = np.einsum(spec, wide_a, wide_b)
    magnitude = np.einsum(spec, abs(wide_a), abs(wide_b))
    bound = (steps + 1) * ROUNDING[dtype.accumulator.name] * magnitude + TINY[dtype.name]
    if dtype != dtype.accumulator:
        bound = bound + ROUNDING[dtype.name] * (abs(exact) + bound)
    error = abs(actual.astype(wide) - exact)
    worst = error - bound
    assert bool((error <= bound).all()), f"{spec}: {actual.dtype}{actual.shape} is off its bound by {worst.max()}"


def check_spec(spec: str, sizes: Mapping[str, int], dtype: DType, seed: int = 0, python: bool = False) -> None:
    """Checks the kernel that sums in the result and the one that sums in scratch memory."""
    a, b = random_operands(spec, sizes, dtype, seed)
    (plain,) = run(contraction(spec, a, b), [a, b], python=python).results
    check_product(plain, spec, a, b)
    (opposite,) = run(contraction(spec, a, b, negated), [a, b], python=python).results
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(opposite, -plain)


def check_against_records(op: Op, arrays: list[Array], tolerance: float, slots: tuple[int, ...] | None = None) -> None:
    """Fails unless the kernel's results are those of the ops' records, within `tolerance` of the largest magnitude."""
    with np.errstate(all="ignore"):
        expected = evaluate(op, arrays)
    outcome = run(op, arrays, slots)
    assert outcome.fault == 0
    for actual, wanted in zip(outcome.results, expected, strict=True):
        assert (actual.dtype, actual.shape) == (wanted.dtype, wanted.shape)
        wide = wanted.astype(np.float64)
        scale = float(np.max(np.abs(wide), initial=1e-30, where=np.isfinite(wide)))
        np.testing.assert_allclose(actual.astype(np.float64), wide, rtol=0, atol=tolerance * scale)
