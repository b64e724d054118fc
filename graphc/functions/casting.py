"""Conversions of element type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphc.dispatch import clone
from graphc.dtypes import as_dtype
from graphc.functions.creation import require_device
from graphc.ir import types
from graphc.ir.types import DType
from graphc.promotion import cast
from graphc.tensors.base import TensorBase

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor


def to(input: Tensor, *args: Any, dtype: DType | None = None, device: object = None, copy: bool = False) -> Tensor:
    """to(dtype), to("cpu"), to(other), or by keyword: the tensor itself where nothing changes and copy is False."""
    for given in args:
        if isinstance(given, TensorBase):
            dtype = given._type.dtype
        elif isinstance(given, DType):
            dtype = given
        else:
            device = given
    require_device(device)
    found = input if dtype is None else cast(input, as_dtype(dtype))
    return clone(found) if copy and found is input else found


def type_as(input: Tensor, other: Tensor) -> Tensor:
    """In the element type of `other`."""
    return cast(input, other._type.dtype)


def cpu(input: Tensor) -> Tensor:
    """The tensor itself."""
    return input


def contiguous(input: Tensor) -> Tensor:
    """The tensor itself where its elements lie in row-major order in memory, else a copy of which that is true."""
    return input if input.is_contiguous() else clone(input)


def cuda(input: Tensor, device: object = "cuda") -> Tensor:
    """Raises: this version computes on the CPU."""
    require_device(device if device is not None else "cuda")
    return input


def float32(input: Tensor) -> Tensor:
    """In float32."""
    return cast(input, types.f32)


def float64(input: Tensor) -> Tensor:
    """In float64."""
    return cast(input, types.f64)


def float16(input: Tensor) -> Tensor:
    """In float16."""
    return cast(input, types.f16)


def bfloat16(input: Tensor) -> Tensor:
    """In bfloat16."""
    return cast(input, types.bf16)


def int64(input: Tensor) -> Tensor:
    """In int64: floats are truncated."""
    return cast(input, types.i64)


def int32(input: Tensor) -> Tensor:
    """In int32: floats are truncated."""
    return cast(input, types.i32)


def int16(input: Tensor) -> Tensor:
    """In int16: floats are truncated."""
    return cast(input, types.i16)


def int8(input: Tensor) -> Tensor:
    """In int8: floats are truncated."""
    return cast(input, types.i8)


def uint8(input: Tensor) -> Tensor:
    """In uint8: floats are truncated."""
    return cast(input, types.u8)


def boolean(input: Tensor) -> Tensor:
    """Whether each element is nonzero."""
    return cast(input, types.bool_)
