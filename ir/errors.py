"""Errors that name the place they come from."""

from __future__ import annotations

from graphc.ir.location import Location


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


class OutOfRangeError(GraphcError, IndexError):
    """An index outside the extent it indexes."""


class VerifyError(GraphcError):
    """A graph that breaks an invariant of its stage."""


class DifferentiationError(GraphcError, RuntimeError):
    """A gradient that does not exist or cannot be taken."""
