"""The errors graphc raises, and the user's line that they name."""

from __future__ import annotations

import sys
from types import FrameType
from typing import NoReturn

from graphc.ir.errors import (
    AttributeValueError,
    DifferentiationError,
    DTypeError,
    GraphcError,
    OutOfRangeError,
    ShapeError,
    VerifyError,
)
from graphc.ir.location import Location


class TracingError(GraphcError, RuntimeError):
    """Something that cannot be done to a tensor while a function is traced, or with one after the trace."""


class AutogradError(GraphcError, RuntimeError):
    """A backward pass that cannot be taken: freed graphs, changed values, leaves written in place."""


class StateError(GraphcError, RuntimeError):
    """State that no longer fits what was compiled for it."""


def user_location() -> Location | None:
    """The innermost line of the call stack that is not graphc's own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module != "graphc" and not module.startswith("graphc."):
            return Location(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return None


def located(error: GraphcError) -> GraphcError:
    """The same error at the user's line, unless it already has a place."""
    if error.location is not None:
        return error
    return type(error)(error.message, user_location())


def fail(kind: type[GraphcError], message: str) -> NoReturn:
    """Raise an error at the user's line."""
    raise kind(message, user_location())


__all__ = [
    "AttributeValueError",
    "AutogradError",
    "DTypeError",
    "DifferentiationError",
    "GraphcError",
    "OutOfRangeError",
    "ShapeError",
    "StateError",
    "TracingError",
    "VerifyError",
    "fail",
    "located",
    "user_location",
]
