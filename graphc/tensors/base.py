"""What every tensor is: a type, memory or a traced value, and its place on the tape."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from graphc.context import context
from graphc.dtypes import type_of_array
from graphc.epoch import epoch, grad_epoch
from graphc.errors import AutogradError, DTypeError, TracingError, fail
from graphc.ir.types import DType, TensorType
from graphc.tape import Node
from graphc.tensors.storage import Storage
from graphc.tensors.views import Step, is_dense

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor

Array = np.ndarray[Any, Any]
Self = TypeVar("Self", bound="TensorBase")


class Size(tuple[int, ...]):
    """A shape."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements of a tensor of this shape."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"graphc.Size({list(self)})"


class TensorBase:
    """State and identity of a tensor; `Tensor` adds the operations.

    `_array` is the NumPy view of the storage that the tensor shows, or None for a traced tensor, whose storage holds
    an IR value. `_steps` lead from the storage to the view; `_base` is the tensor that a view was taken of, and
    `_seen` the storage's version at that time. `_node` and `_index` say which recorded op made the tensor.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_array",
        "_base",
        "_grad",
        "_index",
        "_node",
        "_requires_grad",
        "_seen",
        "_steps",
        "_storage",
        "_type",
    )

    result_class: ClassVar[type[Tensor]]

    _array: Array | None
    _base: TensorBase | None
    _grad: Any
    _index: int
    _node: Node | None
    _requires_grad: bool
    _seen: int
    _steps: tuple[Step, ...]
    _storage: Any
    _type: TensorType

    def _set_up(self, type: TensorType, storage: Any, array: Array | None) -> None:
        self._type = type
        self._storage = storage
        self._array = array
        self._steps = ()
        self._base = None
        self._node = None
        self._index = 0
        self._requires_grad = False
        self._seen = 0
        self._grad = None

    def _view_of(self, source: TensorBase, base: TensorBase | None, steps: tuple[Step, ...]) -> None:
        """Become a view of what `source` shows; `base` is None for a detached one."""
        self._storage = source._storage
        self._steps = steps
        self._base = base
        self._seen = source._storage.version
        source._storage.shared = True

    # --- what it is

    @property
    def shape(self) -> Size:
        """The size of each dimension."""
        return Size(self._type.shape)

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self._type.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self._type.shape)

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self._type.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension. Raises IndexError for a dimension that does not exist."""
        return self.shape if dim is None else self._type.shape[dim]

    def numel(self) -> int:
        """The number of elements."""
        return self._type.size

    nelement = numel

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self._type.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._type.nbytes

    @property
    def device(self) -> str:
        """Where the elements are; "cpu"."""
        return "cpu"

    def is_floating_point(self) -> bool:
        """Whether the element type is a float type."""
        return self._type.dtype.is_float

    def is_contiguous(self) -> bool:
        """Whether the elements lie in memory in row-major order without gaps."""
        if self._array is None:
            return is_dense(self._storage.value.type, self._steps)
        return bool(self._array.flags.c_contiguous)

    @property
    def is_traced(self) -> bool:
        """Whether the tensor stands for a value of a function that is being traced."""
        return self._array is None

    # --- its place on the tape

    @property
    def requires_grad(self) -> bool:
        """Whether operations on the tensor are recorded for a backward pass."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, mode: bool) -> None:
        self.requires_grad_(mode)

    def requires_grad_(self: Self, mode: bool = True) -> Self:
        """Set `requires_grad` of a leaf. Raises DTypeError for a tensor that is not of a float type, and AutogradError
        for one that was computed from tensors that require gradients."""
        if mode and not self._type.dtype.is_float:
            fail(DTypeError, f"only tensors of a float type can require gradients, got {self._type}; cast it first")
        if not mode and self._node is not None:
            fail(AutogradError, "requires_grad can be cleared on leaf tensors only; use detach()")
        if bool(mode) != self._requires_grad:
            if context.trace is not None and self._array is not None:
                context.trace.note_requires_grad(self)
            self._requires_grad = bool(mode)
            self._storage.trained |= self._requires_grad
            self._note_change()
            if mode and context.trace is not None:
                context.trace.note_leaf(self)
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was made by the user rather than computed from tensors that require gradients."""
        return self._node is None

    @property
    def grad_fn(self) -> Node | None:
        """The recorded op that made the tensor."""
        return self._node

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward passes have accumulated into this leaf. Raises StateError after a compiled
        function that computed it without keeping it."""
        if context.trace is not None:
            return context.trace.get_grad(self)
        found = self._grad
        if found is None or isinstance(found, TensorBase):
            return found  # type: ignore[return-value]
        return found.read()

    @grad.setter
    def grad(self, grad: Tensor | None) -> None:
        if grad is not None and grad._type != self._type:
            fail(DTypeError, f"the gradient of a tensor of type {self._type} must be of that type, got {grad._type}")
        if context.trace is not None:
            context.trace.set_grad(self, grad)
            return
        self._grad = grad
        if getattr(self._storage, "binding", None) is not None:
            grad_epoch.bump()

    def _note_change(self) -> None:
        """Tell compiled functions that hold this tensor as state that more than its elements has changed."""
        if getattr(self._storage, "binding", None) is not None:
            epoch.bump()

    def detach(self) -> Tensor:
        """A tensor that shows the same elements and is not on the tape."""
        found = object.__new__(self.result_class)
        found._set_up(self._type, self._storage, self._array)
        found._view_of(self, None, self._steps)
        return found

    def detach_(self: Self) -> Self:
        """Take the tensor off the tape."""
        self._node = None
        self._base = None
        return self.requires_grad_(False)

    @property
    def data(self) -> Tensor:
        """The elements, off the tape; assigning replaces them."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        if context.trace is not None:
            context.trace.write(self.detach(), value.detach())
            return
        array = value._read("assign to .data from")
        own = self._read("assign to .data of")
        if array.shape == own.shape and array.dtype == own.dtype:
            np.copyto(own, array)
        else:
            self._note_change()
            self._type, self._storage, self._array = value._type, Storage(array), array
            self._steps, self._base = (), None
            self._storage.trained = self._requires_grad
        self._storage.note_write()

    # --- its elements

    def _read(self, what: str, remedy: str = "return the tensor from the compiled function and read it there") -> Array:
        """The elements, to be looked at by Python. Raises TracingError where they are not known: in a trace."""
        if self._array is None or context.trace is not None:
            if context.trace is None:
                self._storage.fail_leaked()
            fail(
                TracingError,
                f"cannot {what} a tensor of type {self._type} while a function is traced: its elements are not known "
                f"yet; {remedy}",
            )
        return self._array

    __hash__ = object.__hash__


def elements(x: TensorBase) -> Array:
    """The elements of an eager tensor, for an op. Raises TracingError for one that a trace has left behind."""
    if x._array is None:
        x._storage.fail_leaked()
        raise AssertionError
    return x._array


def wrap(array: Array, type: TensorType | None = None, borrowed: bool = False) -> Tensor:
    """A tensor that shows `array`, without copying."""
    found = object.__new__(TensorBase.result_class)
    found._set_up(type_of_array(array) if type is None else type, Storage(array, borrowed), array)
    return found
