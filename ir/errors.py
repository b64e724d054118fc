"""Errors that name the place they come from."""

from __future__ import annotations

from graphc.ir.location import Location

_EXCERPT = 100  # characters of a source line that an error shows


class GraphcError(Exception):
    """Base of every error graphc raises on its own account. `location` is the user's line, where known."""

    def __init__(self, message: str, location: Location | None = None):
        self.message = message
        self.location = location
        super().__init__(f"{location}: {message}" if location else message)


class ShapeError(GraphcError, ValueError):
    """Operand shapes that an op does not accept."""


class DTypeError(GraphcError, TypeError):
    """Operand element types that an op does not accept."""


class AttributeValueError(GraphcError, ValueError):
    """An op attribute that is missing, unknown, or out of range."""


class FaultError(GraphcError):
    """A value met while running that an op does not accept."""


class OutOfRangeError(FaultError, IndexError):
    """An index outside the extent it indexes."""


class DivisionByZeroError(FaultError, ZeroDivisionError):
    """An integer divided by zero."""


class NegativeExponentError(FaultError, ValueError):
    """An integer raised to a negative integer power."""


class ParseError(GraphcError, ValueError):
    """Text that is not a graph. Prints as `file:line:column: message`, then the source line with a caret under the
    column (`column` counts from 1)."""

    def __init__(self, message: str, location: Location | None = None, column: int = 0, source: str = ""):
        super().__init__(message, location)
        self.column = column
        self.source = source
        if location is not None:
            self.args = (f"{location}:{column}: {message}\n{_excerpt(source, column)}",)


class VerifyError(GraphcError):
    """A graph that breaks an invariant of its stage."""


class DifferentiationError(GraphcError, RuntimeError):
    """A gradient that does not exist or cannot be taken."""


def _excerpt(source: str, column: int) -> str:
    """The part of a source line around `column`, with a caret below it."""
    start = max(0, column - 1 - _EXCERPT // 2) if len(source) > _EXCERPT else 0
    shown = "".join(c if c.isprintable() else " " for c in source[start : start + _EXCERPT])
    return f"    {shown}\n    {' ' * (column - 1 - start)}^"
