"""The kernel language: strict types, memory, reductions, constants; and its two definitions name the same things."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numba.core.errors import TypingError

from graphc.codegen.language import FAULTING, LANGUAGE
from graphc.codegen.llvm_values import LIBM_SYMBOLS
from graphc.ir.scalar import PRIMITIVES
from graphc.ir.target import GENERIC_AARCH64, GENERIC_X86_64_V3
from graphc.ir.types import DTYPES, DType, bf16, f16, f32, f64, i8, i32, i64, u8
from tests.codegen_primitives.language_loops import (
    BOOL,
    REGISTER_DTYPES,
    Array,
    Loop,
    kernel_of,
    pointwise,
    storage,
    undefined_symbols,
)

BOTH = pytest.mark.parametrize("native", [True, False], ids=["native", "python"])


def run(loop: Loop, native: bool, *arrays: Array, n: int | None = None) -> int:
    return (loop.run if native else loop.run_python)(*arrays, n=n)


def test_every_primitive_and_every_cast_has_a_name() -> None:
    names = set(PRIMITIVES) - {"cast"} | {f"cast_{d}" for d in DTYPES}
    assert names <= set(LANGUAGE)
    assert names >= FAULTING


# --- strict typing


@pytest.mark.parametrize(
    ("expression", "operands"),
    [
        ("add(x, y)", (i32, i64)),
        ("add(x, y)", (f32, f64)),
        ("add(x, 1)", (i32,)),
        ("add(x, 1.0)", (f32,)),
        ("add(x, y)", (BOOL, BOOL)),
        ("exp(x)", (i32,)),
        ("bit_and(x, y)", (f32, f32)),
        ("select(x, y, y)", (u8, f32)),
        ("select(x, y, z)", (BOOL, f32, f64)),
        ("philox(x, y)", (i32, i32)),
        ("mod(x, y)", (i32, i32)),
        ("mod(x, y, 0)", (i32, i32)),
        ("check_range(x, 0, 10, fault)", (i32,)),
        ("round_bf16(x)", (f64,)),
        ("accumulate_add(x, y)", (f32, f64)),
        ("neg(x=x)", (f32,)),
    ],
)
def test_operands_are_never_widened(expression: str, operands: tuple[DType, ...]) -> None:
    with pytest.raises(TypingError):
        pointwise(expression, operands, f32).compiled()


@pytest.mark.parametrize("dtype", REGISTER_DTYPES, ids=str)
def test_an_element_keeps_its_type(dtype: DType) -> None:
    """p[i] of i8 is i8: adding it to an i64 must fail."""
    name = "bit_and" if dtype.is_bool else "add"
    body = ["for i in range(lo, hi):", f"    y = {name}(x, x)", "    z = x"]
    body.insert(1, "    x = load_bool(p0, i)" if dtype.is_bool else "    x = p0[i]")
    body.append("    store_bool(p0, i, y)" if dtype.is_bool else "    p0[i] = y")
    kernel_of(body, (dtype,)).compiled()
    other = i64 if dtype != i64 else i32
    widened = [body[0], body[1], f"    y = eq(x, cast_{other}(x))", *body[3:]]
    with pytest.raises(TypingError):
        kernel_of(widened, (dtype,)).compiled()


def test_python_literals_are_i64_and_bool() -> None:
    loop = pointwise("select(True, add(x, 3), 0)", (i64,), i64)
    for native in (True, False):
        result = np.empty(2, np.int64)
        run(loop, native, np.array([1, -5]), result)
        assert result.tolist() == [4, -2]


@BOTH
def test_constants_have_the_type_they_are_made_with(native: bool) -> None:
    lines = ["tenth = f32(0.1)", "seven = i8(7)"]
    loop = pointwise("add(mul(x, tenth), cast_f32(add(y, seven)))", (f32, i8), f32)
    source = "\n".join(lines) + "\n" + loop.kernel.source
    loop = Loop(type(loop.kernel)(source, loop.kernel.params, loop.kernel.units))
    result = np.empty(1, np.float32)
    run(loop, native, np.array([2], np.float32), np.array([124], np.int8), result)
    assert result[0] == np.float32(2) * np.float32(0.1) - np.float32(125)


# --- memory


@BOTH
def test_bools_are_bytes_and_any_nonzero_byte_is_true(native: bool) -> None:
    given, result = np.array([0, 1, 2, 255], np.uint8), np.full(4, 9, np.uint8)
    run(pointwise("bit_not(x)", (BOOL,), BOOL), native, given, result)
    assert result.tolist() == [1, 0, 0, 0]


@BOTH
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_offset_and_scratch_count_elements_and_bytes(dtype: DType, native: bool) -> None:
    """Copies through scratch memory, four bytes into it or more, with pointers moved by two elements."""
    shift = max(dtype.itemsize, 4)
    special = dtype.is_bool or dtype in (bf16, f16)
    element = f"load_{dtype}(%s, i)" if special else "%s[i]"
    write = f"store_{dtype}(%s, i, %s)" if special else "%s[i] = %s"
    loop = kernel_of(
        [
            f"s = scratch_{dtype}(scratch, {shift})",
            "a = offset(p0, 2)",
            "b = offset(p1, 2)",
            "for i in range(lo, hi - 2):",
            "    " + write % ("s", element % "a"),
            "for i in range(lo, hi - 2):",
            "    " + write % ("b", element % "s"),
        ],
        (dtype, dtype),
        scratch_bytes=64,
    )
    given = np.array([1, 0, 1, 1, 0, 1]).astype(storage(dtype))
    result = np.zeros_like(given)
    run(loop, native, given, result)
    assert result.tolist() == [0, 0, 1, 1, 0, 1]


@BOTH
def test_raise_fault_sets_the_fault_word(native: bool) -> None:
    loop = kernel_of(["for i in range(lo, hi):", "    if p0[i] > 5:", "        raise_fault(fault)"], (i64,))
    assert run(loop, native, np.array([1, 2, 3])) == 0
    assert run(loop, native, np.array([1, 9, 3])) == 1


@BOTH
def test_a_fault_in_one_element_leaves_the_word_set(native: bool) -> None:
    """Later elements that are in range must not clear it."""
    x, limit, result = np.arange(64), np.full(64, 64), np.empty(64, np.int64)
    x[3] = 64
    assert run(pointwise("check_range(x, 0, y, fault)", (i64, i64), i64), native, x, limit, result) == 1
    assert result[3] == 0
    assert np.delete(result, 3).tolist() == np.delete(x, 3).tolist()


# --- reductions


def reduction(name: str, dtype: DType, start: str) -> Loop:
    """`start` is a constant, or the first element."""
    constants = [] if start == "p0[0]" else [f"start = {start}"]
    first = "start" if constants else start
    body = [f"acc = {first}", "for i in range(lo, hi):", f"    acc = {name}(acc, p0[i])", "p1[0] = acc"]
    return kernel_of(body, (dtype, dtype), constants=constants)


CASES = [
    ("accumulate_add", "x - x", np.sum),
    ("accumulate_mul", "x - x + 1", np.prod),
    ("accumulate_min", "x", np.min),
    ("accumulate_max", "x", np.max),
]


@BOTH
@pytest.mark.parametrize("n", [1, 15, 16, 63, 64, 65, 200])
@pytest.mark.parametrize(("name", "_start", "function"), CASES)
def test_accumulating_floats(name: str, _start: str, function: object, n: int, native: bool) -> None:
    x = np.random.default_rng(n).uniform(0.9, 1.1, n).astype(np.float32)
    result = np.empty(1, np.float32)
    start = {"accumulate_add": "f32(0.0)", "accumulate_mul": "f32(1.0)"}.get(name, "p0[0]")
    run(reduction(name, f32, start), native, x, result, n=n)
    np.testing.assert_allclose(result[0], function(x.astype(np.float64)), rtol=1e-4)  # type: ignore[operator]


@pytest.mark.parametrize("where", [0, 1, 17, 63, 64, 199])
@pytest.mark.parametrize("name", ["accumulate_min", "accumulate_max"])
def test_a_minimum_or_maximum_with_a_nan_is_nan(name: str, where: int) -> None:
    x = np.random.default_rng(0).normal(size=200).astype(np.float32)
    result = np.empty(1, np.float32)
    x[where] = np.nan
    reduction(name, f32, "p0[0]").run(x, result, n=200)
    assert np.isnan(result[0])


def test_integer_sums_wrap() -> None:
    x, result = np.full(300, 100, np.int8), np.empty(1, np.int8)
    reduction("accumulate_add", i8, "i8(0)").run(x, result, n=300)
    assert result[0] == np.int8((300 * 100 + 128) % 256 - 128)


@pytest.mark.parametrize(
    ("name", "start"), [("add", "f32(0.0)"), ("mul", "f32(1.0)"), ("min", "p0[0]"), ("max", "p0[0]")]
)
def test_reductions_are_vector_code(name: str, start: str) -> None:
    text = reduction(f"accumulate_{name}", f32, start).compiled(GENERIC_X86_64_V3).llvm_text
    assert "<8 x float>" in text


def test_only_the_accumulating_add_is_reassociated() -> None:
    """(x + 1e8) - 1e8 must stay: nothing but the sum itself may be reordered."""
    loop = kernel_of(
        [
            "acc = zero",
            "for i in range(lo, hi):",
            "    acc = accumulate_add(acc, (p0[i] + big) - big)",
            "p1[0] = acc",
        ],
        (f32, f32),
        constants=["big = f32(1e8)", "zero = f32(0.0)"],
    )
    x, result = np.full(64, 1.0, np.float32), np.empty(1, np.float32)
    loop.run(x, result, n=64)
    assert result[0] == 0
    flags = set(re.findall(r"reassoc[a-z ]*", loop.compiled().llvm_text))
    assert {f.strip() for f in flags} <= {"reassoc contract", "reassoc contract float", "reassoc"}


# --- what object code needs


@pytest.mark.parametrize("target", [GENERIC_X86_64_V3, GENERIC_AARCH64], ids=lambda t: t.name)
@pytest.mark.parametrize("dtype", [d for d in REGISTER_DTYPES if not d.is_bool], ids=str)
def test_object_code_needs_nothing_but_libm(dtype: DType, target: object) -> None:
    """One kernel that uses every primitive of the type and every cast from it."""
    family = "f" if dtype.is_float else "i"
    lines = ["for i in range(lo, hi):", "    x = p0[i]", "    y = p1[i]", "    s = p2[i]"]
    for p in PRIMITIVES.values():
        if family not in p.domain or p.name in ("cast", "philox"):
            continue
        arguments = ["lt(x, y)", "x", "y"] if p.result == "select" else list("xyx"[: p.arity])
        call = f"{p.name}({', '.join([*arguments, *(['fault'] if p.name in FAULTING else [])])})"
        lines.append(f"    s = add(s, cast_{dtype}({call}))")
    lines += [f"    s = add(s, cast_{dtype}(cast_{other}(x)))" for other in DTYPES]
    loop = kernel_of([*lines, "    p2[i] = s"], (dtype,) * 3)
    assert set(undefined_symbols(loop.compiled(target).object_code)) <= LIBM_SYMBOLS  # type: ignore[arg-type]
