"""Parameters: tensors that modules train."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.context import no_grad
from graphc.errors import StateError, TracingError, fail
from graphc.functions.creation import as_tensor
from graphc.tensors.base import TensorBase
from graphc.tensors.storage import Storage, aligned_copy
from graphc.tensors.tensor import Tensor


class Parameter(Tensor):
    """A leaf tensor that a module registers when it is assigned to one of its attributes. It shares the memory of
    `data` where programs can work in it, and copies it otherwise.

    Raises TracingError inside a compiled function: parameters are made before it is called.
    """

    __slots__ = ()

    def __init__(self, data: Any = (), requires_grad: bool = True):
        given = as_tensor(data)
        if given._array is None:
            fail(TracingError, "a Parameter is made in a compiled function; make modules before the function is called")
        self._set_up(given._type, given._storage, given._array)
        if given._storage.bindable and not given._steps:
            self._view_of(given, None, given._steps)
        elif not given._storage.borrowed:
            copied = aligned_copy(given._array, given._type)
            self._set_up(given._type, Storage(copied), copied)
        if requires_grad:
            self.requires_grad_()

    def __deepcopy__(self, memo: dict[Any, Any]) -> Parameter:
        copied = Parameter(np.array(self._read("copy")), self._requires_grad)
        memo[id(self)] = copied
        return copied


def clear_grad(x: TensorBase, set_to_none: bool) -> None:
    """Forget `.grad`, or set it to zero where there is one."""
    try:
        found = None if set_to_none else x.grad
    except StateError:  # a compiled function did not keep it: nothing is left to set to zero
        found = None
    if found is None:
        x.grad = None
        return
    with no_grad():
        found.zero_()
