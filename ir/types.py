"""Element types and tensor types: what a value is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

MAX_RANK = 32
MAX_BYTES = 2**63 - 1  # strides and offsets are i64


@dataclass(frozen=True)
class DType:
    """An element type. `kind` is one of "float", "int", "uint", "bool"."""

    name: str
    kind: str
    itemsize: int

    @property
    def numpy(self) -> np.dtype[Any]:
        return _NUMPY[self.name]

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        return self.kind in ("int", "uint")

    @property
    def is_bool(self) -> bool:
        return self.kind == "bool"

    @property
    def accumulator(self) -> DType:
        """The type a sum of many elements is carried in: half precisions widen to f32."""
        return f32 if self in (bf16, f16) else self

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"graphc.{self.name}"


f32 = DType("f32", "float", 4)
f64 = DType("f64", "float", 8)
bf16 = DType("bf16", "float", 2)
f16 = DType("f16", "float", 2)
i8 = DType("i8", "int", 1)
i16 = DType("i16", "int", 2)
i32 = DType("i32", "int", 4)
i64 = DType("i64", "int", 8)
u8 = DType("u8", "uint", 1)
bool_ = DType("bool", "bool", 1)

DTYPES: dict[str, DType] = {d.name: d for d in (f32, f64, bf16, f16, i8, i16, i32, i64, u8, bool_)}
_NUMPY: dict[str, np.dtype[Any]] = {
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f16": np.dtype(np.float16),
    "i8": np.dtype(np.int8),
    "i16": np.dtype(np.int16),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "u8": np.dtype(np.uint8),
    "bool": np.dtype(np.bool_),
}
_FROM_NUMPY = {dtype: DTYPES[name] for name, dtype in _NUMPY.items()}


def from_numpy_dtype(dtype: np.dtype[Any]) -> DType:
    """The element type for a NumPy dtype. Raises TypeError, naming the supported ones, for any other."""
    found = _FROM_NUMPY.get(np.dtype(dtype))
    if found is None:
        raise TypeError(f"dtype {dtype} is not supported; use one of {', '.join(DTYPES)}")
    return found


@dataclass(frozen=True)
class TensorType:
    """A dense row-major tensor of static shape. Prints as `f32[64,784]`; a scalar is `f32[]`."""

    dtype: DType
    shape: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def is_representable(self) -> bool:
        """Whether rank, strides and offsets fit: an empty axis does not shrink the strides of the others."""
        if self.rank > MAX_RANK or any(n < 0 for n in self.shape):
            return False
        return math.prod(n for n in self.shape if n) * self.dtype.itemsize <= MAX_BYTES

    def with_shape(self, shape: tuple[int, ...]) -> TensorType:
        return TensorType(self.dtype, tuple(shape))

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(dtype, self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


def type_of(array: np.ndarray[Any, Any]) -> TensorType:
    """The tensor type of a NumPy array."""
    return TensorType(from_numpy_dtype(array.dtype), array.shape)
