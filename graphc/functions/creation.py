"""Functions that make tensors. `dtype` is any of graphc's types; `device` can only be "cpu"."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.context import context
from graphc.dispatch import apply
from graphc.dtypes import DEFAULT_FLOAT, DEFAULT_INT, as_dtype
from graphc.errors import AttributeValueError, DTypeError, ShapeError, TracingError, fail
from graphc.functions import pointwise
from graphc.functions.dims import sizes_of
from graphc.ir.types import DType, TensorType, bool_, i64
from graphc.promotion import Number, cast, embed, number_of, splat
from graphc.runtime.memory import aligned_empty
from graphc.tensors.base import TensorBase, wrap
from graphc.tensors.storage import aligned_copy

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor

Array = np.ndarray[Any, Any]


def require_device(device: object) -> None:
    """Raises ValueError for anything but the CPU."""
    if device is not None and str(device).split(":")[0] != "cpu":
        fail(AttributeValueError, f"device {device!r} is not available; this version computes on 'cpu' only")


def _finished(x: Tensor, requires_grad: bool, device: object) -> Tensor:
    require_device(device)
    return x.requires_grad_() if requires_grad else x


# --- filled


def full(
    size: int | Sequence[int],
    fill_value: Number,
    *,
    dtype: DType | None = None,
    requires_grad: bool = False,
    device: object = None,
) -> Tensor:
    """One number at every place; its own type where `dtype` is not given."""
    shape = (size,) if isinstance(size, int) else tuple(size)
    found = _dtype_of(fill_value) if dtype is None else as_dtype(dtype)
    return _finished(_filled(fill_value, found, shape), requires_grad, device)


def _dtype_of(value: Number) -> DType:
    return bool_ if isinstance(value, bool) else DEFAULT_INT if isinstance(value, int) else DEFAULT_FLOAT


def _filled(value: Number, dtype: DType, shape: tuple[int, ...]) -> Tensor:
    if any(n < 0 for n in shape):
        fail(ShapeError, f"a tensor cannot have the shape {shape}")
    if context.trace is not None:
        return splat(value, dtype, shape)
    type = TensorType(dtype, shape)
    array = aligned_empty(type)
    array.fill(number_of(value, dtype))
    return wrap(array, type)


def zeros(*size: Any, dtype: DType | None = None, requires_grad: bool = False, device: object = None) -> Tensor:
    """Zeros, float32 by default."""
    return _finished(_filled(0, as_dtype(dtype or DEFAULT_FLOAT), sizes_of("zeros", size)), requires_grad, device)


def ones(*size: Any, dtype: DType | None = None, requires_grad: bool = False, device: object = None) -> Tensor:
    """Ones, float32 by default."""
    return _finished(_filled(1, as_dtype(dtype or DEFAULT_FLOAT), sizes_of("ones", size)), requires_grad, device)


def empty(*size: Any, dtype: DType | None = None, requires_grad: bool = False, device: object = None) -> Tensor:
    """Elements of no particular value; in a trace, zeros."""
    if context.trace is not None:
        return zeros(*size, dtype=dtype, requires_grad=requires_grad, device=device)
    type = TensorType(as_dtype(dtype or DEFAULT_FLOAT), sizes_of("empty", size))
    return _finished(wrap(aligned_empty(type), type), requires_grad, device)


def full_like(input: Tensor, fill_value: Number, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """One number at every place, in the shape (and type) of `input`."""
    return full(input._type.shape, fill_value, dtype=dtype or input._type.dtype, requires_grad=requires_grad)


def zeros_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros in the shape (and type) of `input`."""
    return full_like(input, 0, dtype=dtype, requires_grad=requires_grad)


def ones_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Ones in the shape (and type) of `input`."""
    return full_like(input, 1, dtype=dtype, requires_grad=requires_grad)


def empty_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    """Elements of no particular value, in the shape (and type) of `input`."""
    return empty(input._type.shape, dtype=dtype or input._type.dtype, requires_grad=requires_grad)


# --- sequences


def arange(
    start: Number,
    end: Number | None = None,
    step: Number = 1,
    *,
    dtype: DType | None = None,
    requires_grad: bool = False,
    device: object = None,
) -> Tensor:
    """start, start + step, ... up to, and without, `end`; int64 for integers, float32 for floats."""
    first, last = (0, start) if end is None else (start, end)
    if step == 0 or (last - first) * step < 0:
        fail(AttributeValueError, f"arange: a step of {step} does not lead from {first} to {last}")
    inferred = DEFAULT_FLOAT if any(isinstance(v, float) for v in (first, last, step)) else DEFAULT_INT
    found = as_dtype(dtype or inferred)
    count = max(math.ceil((last - first) / step), 0)
    return _finished(_progression(first, step, count, found), requires_grad, device)


def linspace(
    start: float,
    end: float,
    steps: int,
    *,
    dtype: DType | None = None,
    requires_grad: bool = False,
    device: object = None,
) -> Tensor:
    """`steps` numbers at equal distances from `start` to `end`, both included."""
    found = as_dtype(dtype or DEFAULT_FLOAT)
    array = np.linspace(start, end, steps)
    return _finished(_embedded(array, found), requires_grad, device)


def _progression(start: Number, step: Number, count: int, dtype: DType) -> Tensor:
    if context.trace is None or dtype.is_bool:
        coordinates: Array = np.arange(count, dtype=np.float64 if dtype.is_float else np.int64)
        array = start + step * coordinates
        return _embedded(array, dtype)
    wide = dtype.accumulator
    places = apply("iota", [], dtype=wide, shape=(count,), axis=0)
    scaled = places if step == 1 else pointwise.mul(places, step)
    return cast(scaled if start == 0 else pointwise.add(scaled, start), dtype)


def eye(
    n: int, m: int | None = None, *, dtype: DType | None = None, requires_grad: bool = False, device: object = None
) -> Tensor:
    """Ones on the diagonal of an n x m matrix, zeros elsewhere."""
    shape = (n, n if m is None else m)
    rows, columns = (apply("iota", [], dtype=i64, shape=shape, axis=axis) for axis in (0, 1))
    found = cast(apply("eq", [rows, columns]), as_dtype(dtype or DEFAULT_FLOAT))
    return _finished(found, requires_grad, device)


# --- from data


def tensor(data: Any, *, dtype: DType | None = None, requires_grad: bool = False, device: object = None) -> Tensor:
    """A tensor with a copy of `data`: numbers, nested lists of numbers, arrays. Python floats become float32, integers
    int64; arrays keep their type. In a trace the elements become constants of the program."""
    if isinstance(data, TensorBase):
        found = data.detach().clone() if dtype is None else cast(data.detach().clone(), as_dtype(dtype))
        return _finished(found, requires_grad, device)
    array, inferred = _array_of(data)
    return _finished(_embedded(array, inferred if dtype is None else as_dtype(dtype)), requires_grad, device)


def as_tensor(data: Any, *, dtype: DType | None = None, device: object = None) -> Tensor:
    """`data` as a tensor, without copying where it is a tensor or an array of the right type already."""
    require_device(device)
    if isinstance(data, TensorBase):
        return data if dtype is None else cast(data, as_dtype(dtype))  # type: ignore[arg-type, return-value]
    if isinstance(data, np.ndarray) and context.trace is None:
        found = from_numpy(data)
        return found if dtype is None else cast(found, as_dtype(dtype))
    return tensor(data, dtype=dtype)


def from_numpy(array: Array) -> Tensor:
    """A tensor that shares the memory of a NumPy array: a change of one shows in the other. Raises TypeError for
    element types that graphc lacks, TracingError in a trace."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy takes a NumPy array, got {type(array).__name__}; use graphc.tensor")
    if context.trace is not None:
        fail(
            TracingError,
            "from_numpy cannot be traced: the program cannot share memory with the array; call it outside, or pass "
            "the array as an argument",
        )
    return wrap(array, TensorType(as_dtype(array.dtype), array.shape), borrowed=True)


def from_dlpack(source: Any) -> Tensor:
    """A tensor that shares the memory of another framework's CPU tensor (anything with `__dlpack__`)."""
    return from_numpy(np.from_dlpack(source))


def _array_of(data: Any) -> tuple[Array, DType]:
    if isinstance(data, np.ndarray | np.generic):
        array = np.asarray(data)
        return array, as_dtype(array.dtype)
    if isinstance(data, (bool, int, float)):
        dtype = _dtype_of(data)
        return np.asarray(number_of(data, dtype), dtype=np.float64 if dtype.is_float else dtype.numpy), dtype
    if not isinstance(data, Sequence) and hasattr(data, "__array__"):
        array = np.asarray(data)
        return array, as_dtype(array.dtype)
    leaf = _first_leaf(data)
    if isinstance(leaf, TensorBase):
        if leaf.is_traced or context.trace is not None:
            fail(TracingError, "graphc.tensor of a list of traced tensors; use graphc.stack")
        data = _plain(data)
    try:
        array = np.asarray(data)
    except ValueError:
        array = np.empty((), object)
    if array.dtype == object:
        fail(ShapeError, "tensor: the nested lists are not numbers of one shape")
    if array.size == 0 and leaf is None:
        return array.astype(np.float32), DEFAULT_FLOAT
    if isinstance(leaf, (np.generic, np.ndarray, TensorBase)):
        return array, as_dtype(array.dtype)
    kinds = {"b": bool_, "i": DEFAULT_INT, "u": DEFAULT_INT, "f": DEFAULT_FLOAT}
    if array.dtype.kind not in kinds:
        fail(DTypeError, f"tensor: {array.dtype} is not supported; use numbers")
    return array, kinds[array.dtype.kind]


def _first_leaf(data: Any) -> Any:
    while isinstance(data, (list, tuple)):
        if not data:
            return None
        data = data[0]
    return data


def _plain(data: Any) -> Any:
    if isinstance(data, (list, tuple)):
        return [_plain(x) for x in data]
    return data._read("copy") if isinstance(data, TensorBase) else data


def _embedded(array: Array, dtype: DType) -> Tensor:
    if array.dtype != dtype.numpy:
        with np.errstate(all="ignore"):
            array = array.astype(dtype.numpy)
    if context.trace is not None:
        return embed(np.ascontiguousarray(array).reshape(array.shape))
    type = TensorType(dtype, array.shape)
    return wrap(aligned_copy(array, type), type)
