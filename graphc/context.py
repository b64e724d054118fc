"""What is in force on this thread: the trace under way, and whether gradients are recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from graphc.tensors.base import TensorBase
    from graphc.tensors.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class Recorder(Protocol):
    """What dispatch asks of a trace."""

    def apply(self, name: str, operands: Sequence[TensorBase], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]: ...

    def write(self, target: TensorBase, value: TensorBase) -> None: ...

    def clone(self, source: TensorBase) -> Tensor: ...

    def visit(self, module: Any) -> None: ...

    def scalar_input(self, getter: Callable[[], float], name: str) -> Tensor: ...

    def guard(self, getter: Callable[[], T], name: str) -> T: ...

    def outside(self, make: Callable[[], T]) -> T: ...

    def on_failure(self, undo: Callable[[], Any]) -> None: ...

    def note_attribute(self, module: Any, name: str) -> None: ...

    def note_requires_grad(self, x: TensorBase) -> None: ...

    def note_leaf(self, x: TensorBase) -> None: ...

    def backward(self, target: TensorBase, cotangent: TensorBase, create_graph: bool) -> None: ...

    def gradients(
        self,
        targets: Sequence[TensorBase],
        cotangents: Sequence[TensorBase],
        wrt: Sequence[TensorBase],
        create_graph: bool,
    ) -> list[Tensor | None]: ...

    def leaves(self, tensors: Sequence[TensorBase]) -> list[TensorBase]: ...

    def identity(self, x: TensorBase) -> Tensor: ...

    def get_grad(self, tensor: TensorBase) -> Tensor | None: ...

    def set_grad(self, tensor: TensorBase, grad: Tensor | None) -> None: ...


class _Context(threading.local):
    trace: Recorder | None = None
    grad_enabled: bool = True


context = _Context()


def is_grad_enabled() -> bool:
    """Whether ops on this thread record what a backward pass needs."""
    return context.grad_enabled


class set_grad_enabled:
    """Switch the recording of gradients on or off: at once, and as a context manager or decorator until the end of
    the block or call."""

    def __init__(self, mode: bool):
        self._mode = bool(mode)
        self._before = [context.grad_enabled]
        context.grad_enabled = self._mode

    def __enter__(self) -> None:
        context.grad_enabled = self._mode

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        context.grad_enabled = self._before[-1]

    def __call__(self, function: F) -> F:
        context.grad_enabled = self._before[-1]
        return _decorated(function, self._mode)


class _Mode:
    """A context manager and decorator; re-entrant."""

    _enabled: bool

    def __new__(cls, function: Any = None) -> Any:
        return super().__new__(cls) if function is None else _decorated(function, cls._enabled)

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(context.grad_enabled)
        context.grad_enabled = self._enabled

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        context.grad_enabled = self._before.pop()

    def __call__(self, function: F) -> F:
        return _decorated(function, self._enabled)


class no_grad(_Mode):
    """`with graphc.no_grad():` or `@graphc.no_grad()`: what is computed inside does not require gradients."""

    _enabled = False


class enable_grad(_Mode):
    """`with graphc.enable_grad():` or `@graphc.enable_grad()`: record gradients, also inside `no_grad`."""

    _enabled = True


def _decorated(function: F, enabled: bool) -> F:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        before = context.grad_enabled
        context.grad_enabled = enabled
        try:
            return function(*args, **kwargs)
        finally:
            context.grad_enabled = before

    return cast(F, call)
