"""Tensors to Python, NumPy and other frameworks. All raise TracingError for a tensor that is traced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import AutogradError, DTypeError, ShapeError, fail
from graphc.ir.types import bf16

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor

Array = np.ndarray[Any, Any]

_BRANCH = (
    "choose with graphc.where(condition, a, b), which computes both, or decide on a Python value or a shape, which is "
    "known"
)


def item(self: Tensor) -> bool | int | float:
    """The only element as a Python number. Raises ShapeError where there are more."""
    array = self._read("take item() of")
    if array.size != 1:
        fail(ShapeError, f"item: a tensor of shape {self._type.shape} has {array.size} elements, not one")
    return _python(array.reshape(())).item()


def tolist(self: Tensor) -> Any:
    """The elements as nested lists of Python numbers."""
    return _python(self._read("take tolist() of")).tolist()


def _python(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype == bf16.numpy else array


def numpy(self: Tensor, *, force: bool = False) -> Array:
    """A NumPy array of the same memory. Raises AutogradError for a tensor that requires gradients (unless force)."""
    array = self._read("take numpy() of")
    if self._requires_grad and not force:
        fail(AutogradError, "numpy() of a tensor that requires gradients; use detach().numpy()")
    return array


def array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> Array:
    """NumPy's protocol: what np.asarray(tensor) calls."""
    found = self._read("make a NumPy array of")
    if self._requires_grad:
        fail(AutogradError, "a NumPy array of a tensor that requires gradients; use detach()")
    return np.array(found, dtype=dtype, copy=copy)


def dlpack(self: Tensor, **kwargs: Any) -> Any:
    """The protocol by which other frameworks take the memory of a tensor."""
    found = self._read("export")
    if self._requires_grad:
        fail(AutogradError, "a tensor that requires gradients cannot be exported by DLPack; use detach()")
    try:
        return found.__dlpack__(**kwargs)
    except (BufferError, TypeError) as error:
        fail(DTypeError, f"a tensor of type {self._type} cannot be exported by DLPack: {error}")


def dlpack_device(self: Tensor) -> tuple[int, int]:
    """DLPack's name of the CPU."""
    return (1, 0)


def truth(self: Tensor) -> bool:
    """bool(tensor), of a tensor of one element."""
    found = self._read("branch on", _BRANCH)
    if found.size != 1:
        fail(ShapeError, f"bool() of a tensor of shape {self._type.shape} is ambiguous; use any() or all()")
    return bool(found.reshape(()))


def as_float(self: Tensor) -> float:
    """float(tensor), of a tensor of one element."""
    return float(_single("float", self))


def as_int(self: Tensor) -> int:
    """int(tensor), of a tensor of one element."""
    return int(_single("int", self))


def as_index(self: Tensor) -> int:
    """The tensor as an index: an integer tensor of one element."""
    found = _single("index", self)
    if found.dtype.kind not in "iu":
        fail(DTypeError, f"only integer tensors of one element can be an index, got {self._type}")
    return int(found)


def _single(name: str, self: Tensor) -> Array:
    found = self._read(f"take {name}() of")
    if found.size != 1:
        fail(ShapeError, f"{name}() of a tensor of shape {self._type.shape}: it has {found.size} elements, not one")
    return found.reshape(())


def formatted(self: Tensor, spec: str) -> str:
    """format(tensor, spec); a tensor without dimensions formats as its element."""
    found = self._read("format")
    return format(item(self), spec) if found.ndim == 0 else format(str(self), spec)


def text(self: Tensor) -> str:
    """str(tensor)."""
    self._read("format")
    return repr(self)


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape and elements, as a Python bool."""
    a, b = input._read("compare"), other._read("compare")
    return a.shape == b.shape and bool(np.array_equal(a, b))


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether |input - other| <= atol + rtol * |other| everywhere, as a Python bool."""
    a, b = (_python(x._read("compare")) for x in (input, other))
    return bool(np.allclose(a, b, rtol, atol, equal_nan))
