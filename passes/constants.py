"""Reading and making constants: what folding and the algebraic rules share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.ir.attributes import DenseArray
from graphc.ir.builder import Builder
from graphc.ir.graph import Value
from graphc.ir.opdef import lookup
from graphc.ir.ops.rounding import splat
from graphc.ir.types import DType, TensorType

Number = bool | int | float


def is_constant(value: Value) -> bool:
    return value.op is not None and value.op.name == "constant"


def splat_of(value: Value) -> Number | None:
    """The number that every element of a splat constant has, as its dtype holds it; None for any other value."""
    if value.op is None or value.op.name != "constant":
        return None
    number = value.op.attributes["value"]
    if isinstance(number, DenseArray):
        return None
    return as_element(number, value.type.dtype)  # type: ignore[arg-type]


def as_element(number: Number, dtype: DType) -> Number:
    """`number` rounded (wrapped) to an element of `dtype`, as a Python number."""
    if dtype.is_float:
        return float(splat(number, dtype, ()))
    if dtype.is_bool:
        return bool(number)
    bits = 8 * dtype.itemsize
    wrapped = int(number) % (1 << bits)
    return wrapped - (1 << bits) if dtype.kind == "int" and wrapped >> (bits - 1) else wrapped


def array_of(value: Value, shape: tuple[int, ...] | None = None) -> np.ndarray[Any, Any]:
    """The elements of a constant; a splat in `shape` (None: its own)."""
    assert value.op is not None
    payload = value.op.attributes["value"]
    if isinstance(payload, DenseArray):
        return payload.array
    number = splat_of(value)
    return np.full(value.type.shape if shape is None else shape, number, value.type.dtype.numpy)


def emit_constant(builder: Builder, array: np.ndarray[Any, Any], type: TensorType) -> Value:
    """A constant with the elements of `array`: a splat where they are all the same, bit for bit."""
    if is_uniform(array):
        return builder.constant(array.flat[0].item(), type)
    return builder.constant(np.ascontiguousarray(array).reshape(type.shape), type)


def is_uniform(array: np.ndarray[Any, Any]) -> bool:
    """Whether there are elements, and all are the same bit for bit."""
    bits = np.ascontiguousarray(array).reshape(-1).view(f"u{array.itemsize}")
    return bits.size > 0 and bool(bits[0] == bits[-1]) and bool(np.all(bits == bits[0]))


def is_number(value: Value, number: float) -> bool:
    """Whether every element of `value` is known to be `number`; +0.0 and -0.0 differ."""
    found = splat_of(value)
    if found is None or found != number:
        return False
    return not value.type.dtype.is_float or math.copysign(1.0, found) == math.copysign(1.0, number)


def is_identity(name: str, value: Value) -> bool:
    """Whether `value` is the constant that the op `name` maps to its first operand: x + -0.0, x * 1, ..."""
    identity = lookup(name).identity
    return identity is not None and is_number(value, identity(value.type.dtype))


def is_power_of_two(number: Number) -> bool:
    """Whether |number| is a finite power of two."""
    value = float(number)
    return math.isfinite(value) and abs(math.frexp(value)[0]) == 0.5


def same_number(a: object, b: object, dtype: DType) -> bool:
    """Whether two numbers are one element of `dtype`; NaN is itself, +0.0 and -0.0 differ."""
    first, second = (np.asarray(as_element(n, dtype), dtype.numpy) for n in (a, b))  # type: ignore[arg-type]
    return first.tobytes() == second.tobytes()
