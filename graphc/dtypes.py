"""The element types under the names PyTorch gives them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NoReturn

import numpy as np

from graphc.errors import DTypeError, fail
from graphc.ir.types import (
    DTYPES,
    DType,
    TensorType,
    bf16,
    bool_,
    f16,
    f32,
    f64,
    from_numpy_dtype,
    i8,
    i16,
    i32,
    i64,
    u8,
)

float16 = half = f16
bfloat16 = bf16
float32 = f32
float64 = double = f64
int8 = i8
int16 = short = i16
int32 = i32
int64 = long = i64
uint8 = u8

NAMES: dict[DType, str] = {
    f16: "float16",
    bf16: "bfloat16",
    f32: "float32",
    f64: "float64",
    i8: "int8",
    i16: "int16",
    i32: "int32",
    i64: "int64",
    u8: "uint8",
    bool_: "bool",
}

DEFAULT_FLOAT = f32  # what a Python float, or an integer that meets a float operation, becomes
DEFAULT_INT = i64

_PYTHON = {bool: bool_, int: i64, float: f32}


def as_dtype(dtype: object) -> DType:
    """A DType from a DType, a Python type, a name, or a NumPy dtype. Raises DTypeError, naming the supported ones."""
    if isinstance(dtype, DType):
        return dtype
    if isinstance(dtype, type) and dtype in _PYTHON:
        return _PYTHON[dtype]
    if isinstance(dtype, str):
        for known, name in NAMES.items():
            if dtype in (name, known.name):
                return known
        _fail_unsupported(repr(dtype))
    try:
        return from_numpy_dtype(dtype)  # type: ignore[arg-type]
    except TypeError:
        _fail_unsupported(str(dtype))


def type_of_array(array: np.ndarray[Any, Any]) -> TensorType:
    """The type of a tensor that shows a NumPy array. Raises DTypeError, naming the supported element types."""
    return _tensor_type(array.dtype, array.shape)


@lru_cache
def _tensor_type(dtype: np.dtype[Any], shape: tuple[int, ...]) -> TensorType:
    return TensorType(as_dtype(dtype), shape)


def _fail_unsupported(dtype: str) -> NoReturn:
    fail(DTypeError, f"dtype {dtype} is not supported; use one of {', '.join(NAMES.values())}")


__all__ = [
    "DEFAULT_FLOAT",
    "DEFAULT_INT",
    "DTYPES",
    "NAMES",
    "DType",
    "as_dtype",
    "bfloat16",
    "double",
    "float16",
    "float32",
    "float64",
    "half",
    "int8",
    "int16",
    "int32",
    "int64",
    "long",
    "short",
    "uint8",
]
