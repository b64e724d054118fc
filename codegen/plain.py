"""The kernel language as plain Python over NumPy scalars and arrays: what each name means. `intrinsics` teaches Numba
to compile the same functions.

Pointers are one-dimensional arrays: uint8 for bool buffers and scratch, uint16 for bf16 and f16, int32 for fault.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np

from graphc.ir.ops.erf import erf
from graphc.ir.ops.philox import philox as philox_words
from graphc.ir.types import DTYPES, DType

Array = Any  # a NumPy array or scalar

_HALF = {"bf16": np.dtype(ml_dtypes.bfloat16), "f16": np.dtype(np.float16)}


def raise_fault(fault: Array) -> None:
    fault[0] = 1


# --- arithmetic


def _as(x: Array, result: Array) -> Array:
    """`result` in the type of `x`."""
    return np.asarray(result).astype(np.asarray(x).dtype)[()]


def _wide(function: Callable[..., Array]) -> Callable[..., Array]:
    """A float function computed in f64 and rounded to the type of its first operand."""
    return lambda *xs: _as(xs[0], function(*(np.asarray(x, np.float64) for x in xs)))


def _exact_fma(x: float, y: float, z: float) -> float:
    if not (math.isfinite(x) and math.isfinite(y)):
        return x * y + z
    if not math.isfinite(z):
        return z
    exact = Fraction(x) * Fraction(y) + Fraction(z)
    if exact == 0:
        return x * y + z
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def fma(x: Array, y: Array, z: Array) -> Array:
    return _as(x, _exact_fma_f64(x, y, z) if np.asarray(x).dtype == np.float64 else _fma_f32(x, y, z))


_exact_fma_f64 = np.vectorize(lambda x, y, z: _exact_fma(float(x), float(y), float(z)), otypes=[np.float64])


def _fma_f32(x: Array, y: Array, z: Array) -> Array:
    """The product is exact in f64; the sum is rounded to odd there, so that rounding it again to f32 is correct."""
    product, addend = np.asarray(x, np.float64) * np.asarray(y, np.float64), np.asarray(z, np.float64)
    total = np.atleast_1d(product + addend)
    part = total - product
    error = (product - (total - part)) + (addend - part)
    bits = total.view(np.int64)
    towards = np.where((error > 0) == (total > 0), 1, -1)
    inexact = np.isfinite(total) & (error != 0) & (bits & 1 == 0)
    return np.where(inexact, bits + towards, bits).view(np.float64).reshape(np.shape(product + addend))


def _integer_or_float(on_integers: Callable[..., Array], on_floats: Callable[..., Array]) -> Callable[..., Array]:
    """A faulting primitive: the fault pointer is for integers."""

    def function(x: Array, y: Array, fault: Array) -> Array:
        return on_floats(x, y) if np.asarray(x).dtype.kind == "f" else on_integers(x, y, fault)

    return function


def _checked(function: Callable[..., Array], bad: Callable[[Array], Array]) -> Callable[..., Array]:
    """`function` on integers, 0 and a fault where the second operand is bad."""

    def checked(x: Array, y: Array, fault: Array) -> Array:
        wrong = bad(y)
        if np.any(wrong):
            raise_fault(fault)
        return _as(x, np.where(wrong, 0, function(x, np.where(wrong, 1, y).astype(np.asarray(y).dtype))))

    return checked


def check_range(x: Array, low: Array, high: Array, fault: Array) -> Array:
    bad = (x < low) | (x >= high)
    if np.any(bad):
        raise_fault(fault)
    return _as(x, np.where(bad, low, x))


def _extremum(on_bools: Callable[..., Array], otherwise: Callable[..., Array]) -> Callable[..., Array]:
    return lambda x, y: (on_bools if np.asarray(x).dtype.kind == "b" else otherwise)(x, y)


def lshr(x: Array, n: Array) -> Array:
    dtype = np.asarray(x).dtype
    unsigned = np.dtype(f"u{dtype.itemsize}")
    return _as(x, np.right_shift(np.asarray(x).astype(unsigned), np.asarray(n).astype(unsigned)).view(dtype))


def select(condition: Array, if_true: Array, if_false: Array) -> Array:
    return _as(if_true, np.where(condition, if_true, if_false))


def philox(key: Array, counter: Array) -> Array:
    """Of one key and any number of counters."""
    low, high = philox_words(int(key), np.atleast_1d(np.asarray(counter, np.int64)))
    return (low | high << np.uint64(32)).view(np.int64).reshape(np.shape(counter))[()]


# --- conversions


def _cast(target: DType) -> Callable[[Array], Array]:
    def cast(x: Array) -> Array:
        x = np.asarray(x)
        if target.name in _HALF:
            return _round_half(target.name)(x.astype(np.float32))
        if x.dtype.kind == "f" and target.is_integer:
            return _saturate(x, target.numpy)[()]
        return x.astype(target.numpy)[()]

    return cast


def _saturate(x: Array, dtype: np.dtype[Any]) -> Array:
    limits = np.iinfo(dtype)
    # 2^(bits - 1) is exact in any float type, the largest integer is not
    above, below = x >= float(limits.max) + (dtype.itemsize < 8), x < float(limits.min)
    inside = np.where(above | below | np.isnan(x), 0, x).astype(dtype)
    return np.where(above, limits.max, np.where(below, limits.min, inside)).astype(dtype)


def _round_half(name: str) -> Callable[[Array], Array]:
    return lambda x: np.asarray(x).astype(_HALF[name]).astype(np.float32)[()]


# --- memory


def load_bool(p: Array, i: int) -> Array:
    return p[i] != 0


def store_bool(p: Array, i: int, x: Array) -> None:
    p[i] = x


def _load_half(name: str) -> Callable[[Array, int], Array]:
    return lambda p, i: p[i].view(_HALF[name]).astype(np.float32)


def _store_half(name: str) -> Callable[[Array, int, Array], None]:
    def store(p: Array, i: int, x: Array) -> None:
        p[i] = np.asarray(x).astype(_HALF[name]).view(np.uint16)

    return store


def offset(p: Array, n: int) -> Array:
    return p[n:]


def _scratch(dtype: DType) -> Callable[[Array, int], Array]:
    storage = np.dtype(np.uint8) if dtype.is_bool else np.dtype(np.uint16) if dtype.name in _HALF else dtype.numpy

    def view(scratch: Array, byte_offset: int) -> Array:
        rest = scratch[byte_offset:]
        return rest[: len(rest) // storage.itemsize * storage.itemsize].view(storage)

    return view


def _named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of its own for each name of the language. It gives none of NumPy's warnings on overflow and invalid
    operations, whose results IEEE 754 defines."""

    def call(*operands: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*operands)

    call.__name__ = call.__qualname__ = name
    return call


_PRIMITIVES: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "fma": fma,
    "div": np.divide,
    "floor_div": _integer_or_float(_checked(np.floor_divide, lambda y: y == 0), np.floor_divide),
    "mod": _integer_or_float(_checked(np.remainder, lambda y: y == 0), np.remainder),
    "pow": _integer_or_float(_checked(np.power, lambda y: y < 0), _wide(np.power)),
    "minimum": _extremum(np.logical_and, np.minimum),
    "maximum": _extremum(np.logical_or, np.maximum),
    "neg": np.negative,
    "abs": np.abs,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "sqrt": np.sqrt,
    "exp": _wide(np.exp),
    "expm1": _wide(np.expm1),
    "log": _wide(np.log),
    "log1p": _wide(np.log1p),
    "tanh": _wide(np.tanh),
    "erf": _wide(erf),
    "sin": _wide(np.sin),
    "cos": _wide(np.cos),
    "bit_and": np.bitwise_and,
    "bit_or": np.bitwise_or,
    "bit_xor": np.bitwise_xor,
    "bit_not": np.invert,
    "lshr": lshr,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "select": select,
    "philox": philox,
    "check_range": check_range,
    "accumulate_add": np.add,
    "accumulate_mul": np.multiply,
    "accumulate_min": _extremum(np.logical_and, np.minimum),
    "accumulate_max": _extremum(np.logical_or, np.maximum),
    **{f"cast_{name}": _cast(dtype) for name, dtype in DTYPES.items()},
    **{f"round_{name}": _round_half(name) for name in _HALF},
}

_MEMORY: dict[str, Callable[..., Any]] = {
    "load_bool": load_bool,
    "store_bool": store_bool,
    **{f"load_{name}": _load_half(name) for name in _HALF},
    **{f"store_{name}": _store_half(name) for name in _HALF},
    "offset": offset,
    **{f"scratch_{name}": _scratch(dtype) for name, dtype in DTYPES.items()},
    "raise_fault": raise_fault,
}

PLAIN = {name: _named(name, function) for name, function in {**_PRIMITIVES, **_MEMORY}.items()}
