"""Random numbers from an explicit key and offset: element i of the result depends on the key and offset + i alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from graphc.ir.attributes import Attributes
from graphc.ir.errors import DTypeError
from graphc.ir.graph import Op
from graphc.ir.opdef import Array, AttrSpec, Infer, OpDef, register
from graphc.ir.ops.checks import require_dtype, tensor
from graphc.ir.ops.gradients import zero_vjp
from graphc.ir.ops.philox import philox
from graphc.ir.ops.rounding import narrow
from graphc.ir.ops.samples import Sample, over_types
from graphc.ir.scalar import ScalarBuilder
from graphc.ir.types import DType, TensorType, bf16, f16, f32, f64, i32, i64

Scalars = ScalarBuilder[Any]

# Bits of a uniform number: as many as the type holds below 1, so that rounding can never reach 1.
_BITS = {f32: 24, f64: 53, bf16: 8, f16: 11}


def _infer(name: str) -> Infer:
    def infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
        for role, found in zip(("key", "offset"), types, strict=True):
            if found != TensorType(i64, ()):
                raise DTypeError(f"{name}: the {role} is {found}; it must be i64[]")
        result = tensor(name, cast(DType, attrs["dtype"]), attrs["shape"])  # type: ignore[arg-type]
        require_dtype(name, result, "float")
        return [result]

    return infer


def _words(arrays: Sequence[Array], attrs: Attributes) -> tuple[Array, Array]:
    key, offset = arrays
    shape = cast("tuple[int, ...]", attrs["shape"])
    with np.errstate(all="ignore"):
        counters = np.arange(math.prod(shape), dtype=np.int64).reshape(shape) + offset
    return philox(int(key), np.asarray(counters))


def _samples(dtype: DType) -> list[Sample]:
    places: list[tuple[int, int, tuple[int, ...]]] = [(12345, 0, (100,)), (-1, 2**32 - 7, (3, 5)), (2**40 + 3, 9, ())]
    places += [(0, 2**63 - 2, (4,)), (7, 1, (2, 0))]
    return [
        ([np.array(key, np.int64), np.array(offset, np.int64)], {"dtype": dtype, "shape": shape})
        for key, offset, shape in places
    ]


def _record(
    name: str, doc: str, make: Callable[[Array, Array, DType], Array], scalar: Callable[[Scalars, DType, Any], Any]
) -> OpDef:
    def evaluate(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
        dtype = cast(DType, attrs["dtype"])
        word0, word1 = _words(arrays, attrs)
        return [narrow(make(word0, word1, dtype), dtype.numpy)]

    def expression(s: Scalars, op: Op, index: Any, key: Any, offset: Any) -> Any:
        words = s.call("philox", key, s.call("add", offset, index))
        return scalar(s, op.results[0].type.dtype, words)

    return OpDef(
        name=name,
        kind="generate",
        doc=doc,
        attrs={"dtype": AttrSpec(DType), "shape": AttrSpec("ints")},
        infer=_infer(name),
        eval=evaluate,
        vjp=zero_vjp,
        scalar=expression,
        n_operands=2,
        samples=over_types("float", _samples),
    )


def _bits(s: Scalars, words: Any, first: int, count: int) -> Any:
    """Bits first .. first + count - 1 of the i64 `words`, as a number: i32 where it fits, for a cheaper conversion."""
    shifted = s.call("lshr", words, s.const(first, i64)) if first else words
    if first + count < 64:
        shifted = s.call("bit_and", shifted, s.const(2**count - 1, i64))
    return s.cast(shifted, i32) if count < 32 else shifted


def _scaled(s: Scalars, integer: Any, bits: int, dtype: DType) -> Any:
    return s.call("mul", s.cast(integer, dtype), s.const(2.0**-bits, dtype))


# --- uniform


def _uniform(word0: Array, word1: Array, dtype: DType) -> Array:
    bits = _BITS[dtype]
    integer = ((word1 << np.uint64(32)) | word0) >> np.uint64(11) if dtype == f64 else word0 >> np.uint64(32 - bits)
    wide = dtype.accumulator.numpy.type
    return np.asarray(integer.astype(wide) * wide(2.0**-bits))


def _uniform_scalar(s: Scalars, dtype: DType, words: Any) -> Any:
    bits = _BITS[dtype]
    integer = _bits(s, words, 11, 53) if dtype == f64 else _bits(s, words, 32 - bits, bits)
    return _scaled(s, integer, bits, dtype.accumulator)


register(
    _record(
        "random_uniform",
        "Uniform in [0, 1): multiples of 2^-24 (f32), 2^-53 (f64), 2^-11 (f16), 2^-8 (bf16).",
        _uniform,
        _uniform_scalar,
    )
)

# --- normal


def _normal(word0: Array, word1: Array, dtype: DType) -> Array:
    bits = 32 if dtype == f64 else 24
    wide = dtype.accumulator.numpy.type
    shift, scale = np.uint64(32 - bits), wide(2.0**-bits)
    u1 = ((word0 >> shift) + np.uint64(1)).astype(wide) * scale
    u2 = (word1 >> shift).astype(wide) * scale
    return np.asarray(np.sqrt(wide(-2) * np.log(u1)) * np.cos(wide(2 * math.pi) * u2))


def _normal_scalar(s: Scalars, dtype: DType, words: Any) -> Any:
    wide, bits = dtype.accumulator, 32 if dtype == f64 else 24
    word0 = _bits(s, words, 32 - bits, bits)
    u1 = _scaled(s, s.call("add", word0, s.like(1, word0)), bits, wide)
    u2 = _scaled(s, _bits(s, words, 64 - bits, bits), bits, wide)
    radius = s.call("sqrt", s.call("mul", s.const(-2.0, wide), s.call("log", u1)))
    return s.call("mul", radius, s.call("cos", s.call("mul", s.const(2 * math.pi, wide), u2)))


register(
    _record(
        "random_normal",
        "Standard normal, by Box and Muller's transform: sqrt(-2 log u1) * cos(2 pi u2), 0 < u1 <= 1, 0 <= u2 < 1.",
        _normal,
        _normal_scalar,
    )
)
