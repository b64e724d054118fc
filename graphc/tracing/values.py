"""Traced tensors: they stand for values of the graph that is being made."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from graphc.errors import TracingError, fail
from graphc.ir.graph import Value
from graphc.ir.location import Location
from graphc.tape import Node
from graphc.tensors.base import TensorBase
from graphc.tensors.storage import Storage
from graphc.tensors.views import Step

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor
    from graphc.tracing.trace import Trace

# The place on the tape of every traced tensor that requires gradients and is not a leaf: the graph knows the rest.
TRACED = Node("traced", {}, (), ())


class TracedStorage:
    """What a storage holds while a function is traced: a value in place of memory. Writes replace the value.

    origin: the memory that it stands for, for state.
    views: values of views of the present value, by their steps.
    recorded: the value was computed from what requires gradients.
    """

    __slots__ = (
        "__weakref__",
        "_version",
        "first",
        "location",
        "origin",
        "recorded",
        "shared",
        "trace",
        "trained",
        "value",
        "views",
    )

    binding = None

    def __init__(self, trace: Trace, value: Value, location: Location | None, origin: Storage | None = None):
        self.trace = trace
        self.first = self.value = value
        self.location = location
        self.origin = origin
        self.views: dict[tuple[Step, ...], Value] = {}
        self.shared = False
        self.recorded = False
        self.trained = origin is not None and origin.trained
        self._version = 0

    @property
    def version(self) -> int:
        """Counts writes."""
        return self._version

    def set(self, value: Value) -> None:
        """Hold another value."""
        self.value = value
        self.views.clear()
        self._version += 1

    def renew(self, steps: tuple[Step, ...], value: Value) -> None:
        """Hold `value`, which has the same elements as what the view of those steps held, instead of that. Nothing was
        written."""
        if steps:
            self.views[steps] = value
        else:
            self.value = value
            self.views.clear()

    def fail_leaked(self) -> NoReturn:
        """Raise for a use outside the trace."""
        made = f" at {self.location}" if self.location else ""
        fail(
            TracingError,
            f"this tensor of type {self.value.type} was made{made} while {self.trace.name!r} was traced, and has no "
            "value outside; return it from the function, or write it to a tensor that exists before the call",
        )


def traced(storage: TracedStorage, value: Value) -> Tensor:
    """A tensor that stands for `value`, which `storage` holds."""
    found = object.__new__(TensorBase.result_class)
    found._set_up(value.type, storage, None)
    return found
