"""Every primitive on every element type: compiled, as Python, and on vectors it gives the same values; and those are
NumPy's or Python's."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest

from graphc.codegen.language import LANGUAGE
from graphc.codegen.primitives import EMIT, FAULTING
from graphc.codegen.vector_math import MAX_ULP
from graphc.ir.scalar import PRIMITIVES, Primitive
from graphc.ir.types import DTYPES, DType, f32, i8, i16, i32, i64
from tests.codegen_primitives.edge_values import Array, combinations, edges, identical
from tests.codegen_primitives.language_loops import BOOL, FLOATS, INTEGERS, REGISTER_DTYPES, Loop, pointwise
from tests.codegen_primitives.ulps import ulps
from tests.codegen_primitives.vector_function import run_on_vectors

FAMILIES = {"f": FLOATS, "i": INTEGERS, "b": (BOOL,)}
CASES = [
    (primitive, dtype)
    for primitive in PRIMITIVES.values()
    if primitive.name not in ("cast", "philox")
    for family in primitive.domain
    for dtype in FAMILIES[family]
]
IDS = [f"{p.name}-{d}" for p, d in CASES]


def operand_dtypes(primitive: Primitive, dtype: DType) -> tuple[DType, ...]:
    return (BOOL, dtype, dtype) if primitive.result == "select" else (dtype,) * primitive.arity


def result_dtype(primitive: Primitive, dtype: DType) -> DType:
    return BOOL if primitive.result == "bool" else dtype


def loop(primitive: Primitive, dtype: DType) -> Loop:
    arguments = ", ".join([*"xyz"[: primitive.arity], *(["fault"] if primitive.name in FAULTING else [])])
    operands = operand_dtypes(primitive, dtype)
    return pointwise(f"{primitive.name}({arguments})", operands, result_dtype(primitive, dtype))


def operands_of(primitive: Primitive, dtype: DType) -> tuple[Array, ...]:
    if primitive.name == "fma":
        rng = np.random.default_rng(0)
        x, y, z = (rng.choice(edges(dtype), 3000) for _ in range(3))
        random = [rng.normal(size=3000) * 10.0 ** rng.integers(-20, 20, 3000) for _ in range(3)]
        return tuple(np.concatenate([e, r.astype(dtype.numpy)]) for e, r in zip((x, y, z), random, strict=True))
    return combinations(*operand_dtypes(primitive, dtype))


def run(primitive: Primitive, dtype: DType, operands: tuple[Array, ...]) -> tuple[Array, int]:
    result = np.empty(len(operands[0]), result_dtype(primitive, dtype).numpy)
    return result, loop(primitive, dtype).run(*operands, result)


def agree(name: str, got: Array, expected: Array) -> Array:
    """Identical, or as close as the f32 function and the f64 one of libm are promised to be."""
    if name in MAX_ULP and got.dtype == np.float32:
        return np.asarray(ulps(got, expected.astype(np.float64)) <= MAX_ULP[name] + 0.5)
    if name in MAX_ULP and got.dtype == np.float64:
        with np.errstate(all="ignore"):
            return np.asarray(identical(got, expected) | (np.abs(got - expected) <= 4 * np.spacing(np.abs(expected))))
    return identical(got, expected)


@pytest.mark.parametrize(("primitive", "dtype"), CASES, ids=IDS)
def test_the_compiled_and_the_plain_definition_agree(primitive: Primitive, dtype: DType) -> None:
    operands = operands_of(primitive, dtype)
    compiled, fault = run(primitive, dtype, operands)
    plain_fault = np.zeros(1, np.int32)
    extra = [plain_fault] if primitive.name in FAULTING else []
    plain = LANGUAGE[primitive.name](*operands, *extra)
    assert plain.dtype == compiled.dtype
    same = agree(primitive.name, compiled, plain)
    where = np.flatnonzero(~same)[:3]
    assert same.all(), [([x[i] for x in operands], compiled[i], plain[i]) for i in where]
    assert fault == int(plain_fault[0])


@pytest.mark.parametrize(("primitive", "dtype"), CASES, ids=IDS)
def test_the_plain_definition_works_on_scalars(primitive: Primitive, dtype: DType) -> None:
    operands = operands_of(primitive, dtype)
    step = max(1, len(operands[0]) // 20)
    extra = [np.zeros(1, np.int32)] if primitive.name in FAULTING else []
    whole = LANGUAGE[primitive.name](*(x[::step] for x in operands), *extra)
    singly = [
        LANGUAGE[primitive.name](*scalars, *extra) for scalars in zip(*(x[::step] for x in operands), strict=True)
    ]
    assert {np.asarray(s).shape for s in singly} == {()}
    assert np.asarray(singly).dtype == whole.dtype
    assert agree(primitive.name, np.array(singly), whole).all()


@pytest.mark.parametrize(("primitive", "dtype"), CASES, ids=IDS)
def test_vectors_give_what_scalars_give(primitive: Primitive, dtype: DType) -> None:
    operands = operands_of(primitive, dtype)
    keep = len(operands[0]) // 8 * 8
    operands = tuple(x[:keep] for x in operands)
    scalar, fault = run(primitive, dtype, operands)
    vector, vector_fault = run_on_vectors(
        EMIT[primitive.name], dtype, operands, scalar.dtype, 8, primitive.name in FAULTING
    )
    assert identical(vector, scalar).all()
    assert vector_fault == fault


# --- against Python's own integers

SIGNED = (i8, i16, i32, i64)


def wrapped(value: int, dtype: DType) -> int:
    bits = 8 * dtype.itemsize
    value &= (1 << bits) - 1
    return value - (1 << bits) if dtype.kind == "int" and value >> (bits - 1) else value


INTEGER_MEANING: dict[str, Any] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floor_div": lambda x, y: x // y if y else 0,
    "mod": lambda x, y: x % y if y else 0,
    "pow": lambda x, y: pow(x, y, 1 << 64) if y >= 0 else 0,
    "minimum": min,
    "maximum": max,
    "neg": operator.neg,
    "abs": abs,
    "bit_and": operator.and_,
    "bit_or": operator.or_,
    "bit_xor": operator.xor,
    "bit_not": operator.invert,
}


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("name", INTEGER_MEANING)
def test_integers_are_python_integers_that_wrap(name: str, dtype: DType) -> None:
    primitive = PRIMITIVES[name]
    operands = operands_of(primitive, dtype)
    result, _ = run(primitive, dtype, operands)
    expected = [wrapped(INTEGER_MEANING[name](*map(int, xs)), dtype) for xs in zip(*operands, strict=True)]
    assert result.tolist() == expected


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_lshr_shifts_in_zeros_and_a_long_shift_gives_zero(dtype: DType) -> None:
    x, n = combinations(dtype, dtype)
    result, _ = run(PRIMITIVES["lshr"], dtype, (x, n))
    bits = 8 * dtype.itemsize
    mask = (1 << bits) - 1
    expected = [
        wrapped((int(a) & mask) >> k if (k := int(b) & mask) < bits else 0, dtype) for a, b in zip(x, n, strict=True)
    ]
    assert result.tolist() == expected


@pytest.mark.parametrize(
    ("name", "bad", "dtype"),
    [(name, 0, d) for name in ("floor_div", "mod") for d in INTEGERS] + [("pow", -1, d) for d in SIGNED],
    ids=str,
)
def test_a_bad_integer_operand_faults_and_only_that(name: str, bad: int, dtype: DType) -> None:
    x = edges(dtype)
    good = np.full_like(x, 3)
    assert run(PRIMITIVES[name], dtype, (x, good))[1] == 0
    good[len(good) // 2] = bad
    result, fault = run(PRIMITIVES[name], dtype, (x, good))
    assert fault == 1
    assert result[len(good) // 2] == 0


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_check_range_lets_values_in_the_range_pass(dtype: DType) -> None:
    low, high = dtype.numpy.type(3), dtype.numpy.type(100)
    x = np.array([3, 4, 50, 99], dtype.numpy)
    limits = np.full_like(x, low), np.full_like(x, high)
    result, fault = run(PRIMITIVES["check_range"], dtype, (x, *limits))
    assert (result.tolist(), fault) == (x.tolist(), 0)
    for outside in {2, 100, int(np.iinfo(dtype.numpy).max), int(np.iinfo(dtype.numpy).min)}:
        y = np.array([3, outside, 50, 99], dtype.numpy)
        result, fault = run(PRIMITIVES["check_range"], dtype, (y, *limits))
        assert (result.tolist(), fault) == ([3, 3, 50, 99], 1)


# --- against IEEE 754 and NumPy


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_minimum_and_maximum_propagate_nan(dtype: DType) -> None:
    x, y = combinations(dtype, dtype)
    for name, function in (("minimum", np.minimum), ("maximum", np.maximum)):
        result, _ = run(PRIMITIVES[name], dtype, (x, y))
        assert identical(result, function(x, y)).all()
        assert np.isnan(result[np.isnan(x) | np.isnan(y)]).all()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", ["floor_div", "mod"])
def test_float_division_has_the_signs_of_numpy(name: str, dtype: DType) -> None:
    x, y = combinations(dtype, dtype)
    result, fault = run(PRIMITIVES[name], dtype, (x, y))
    with np.errstate(all="ignore"):
        expected = (np.floor_divide if name == "floor_div" else np.remainder)(x, y)
    assert identical(result, expected).all()
    number = ~np.isnan(expected)
    assert (np.signbit(result) == np.signbit(expected))[number].all()
    assert fault == 0


def test_fma_rounds_once() -> None:
    x = np.array([1 + 2.0**-23, 1 + 2.0**-12], np.float32)
    z = -(x * x)
    result, _ = run(PRIMITIVES["fma"], f32, (x, x, z))
    assert result.tolist() == [float(a) * float(a) + float(c) for a, c in zip(x, z, strict=True)]
    assert (result != 0).all()


# --- casts


def cast_expectation(x: Array, target: DType) -> Array:
    """Python's rules, one value at a time."""
    if target.is_bool or target.is_float or x.dtype.kind == "b":
        with np.errstate(all="ignore"):
            carried = x.astype(np.float32) if target.is_float and target.itemsize == 2 else x
            return carried.astype(target.numpy)
    values = x.tolist()
    if x.dtype.kind in "iu":
        return np.array([wrapped(v, target) for v in values], target.numpy)
    low, high = int(np.iinfo(target.numpy).min), int(np.iinfo(target.numpy).max)
    clamped = [0 if v != v else high if v >= high else low if v <= low else int(v) for v in values]
    return np.array(clamped, target.numpy)


@pytest.mark.parametrize("target", DTYPES.values(), ids=str)
@pytest.mark.parametrize("source", REGISTER_DTYPES, ids=str)
def test_casts(source: DType, target: DType) -> None:
    x = edges(source)
    if source.is_float:
        with np.errstate(all="ignore"):
            x = np.concatenate([x, *(np.nextafter(x, source.numpy.type(end)) for end in (np.inf, -np.inf))])
    expected = cast_expectation(x, target)
    for native in (True, False):
        result = np.empty(len(x), target.numpy)
        cast = pointwise(f"cast_{target}(x)", (source,), target)
        (cast.run if native else cast.run_python)(x, result)
        assert identical(result.astype(np.float64), expected.astype(np.float64)).all(), native
        if not target.is_float:
            assert result.tolist() == expected.tolist()


def test_every_primitive_has_a_builder() -> None:
    assert set(EMIT) == set(PRIMITIVES) - {"cast"}
    assert set(FAULTING) < set(EMIT)
