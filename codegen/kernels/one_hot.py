"""Sums along an axis of which one term at most is not zero: that term alone need be computed.

Such is what cross-entropy takes from the log-probabilities: where(class == target, logp, 0), summed over the classes.
"""

from __future__ import annotations

from graphc.ir.attributes import DenseArray
from graphc.ir.graph import Op, Value
from graphc.ir.ops.arithmetic import highest


def place_of_term(op: Op) -> Value | None:
    """For a sum over one axis whose operand is zero but where a coordinate along that axis equals a certain value: that
    value, which is the same all along the axis. None for any other op."""
    if op.name != "sum":
        return None
    axes: tuple[int, ...] = op.attributes["axes"]  # type: ignore[assignment]
    if len(axes) != 1:
        return None
    value = op.operands[0]
    while value.op is not None and value.op.name == "neg":
        value = value.op.operands[0]
    if value.op is None:
        return None
    if value.op.name == "where" and _is_zero(value.op.operands[2]):
        return _required_place(value.op.operands[0], axes[0])
    if value.op.name == "cast" and value.op.operands[0].type.dtype.is_bool:
        return _required_place(value.op.operands[0], axes[0])
    return None


def _required_place(condition: Value, axis: int) -> Value | None:
    """What the coordinate along `axis` equals wherever the condition holds."""
    pending = [condition]
    while pending:
        op = pending.pop().op
        if op is None:
            continue
        if op.name == "bitwise_and":
            pending += op.operands
        elif op.name == "eq":
            for here, place in (op.operands, reversed(op.operands)):
                if _is_coordinate(here, axis) and _is_constant_along(place, axis):
                    return place
    return None


def _is_coordinate(value: Value, axis: int) -> bool:
    """Whether each element is its coordinate along the axis, exactly: floats round, and narrow integers wrap."""
    if value.op is None or value.op.name != "iota" or value.op.attributes["axis"] != axis:
        return False
    return value.type.dtype.is_integer and value.type.shape[axis] - 1 <= highest(value.type.dtype)


def _is_constant_along(value: Value, axis: int) -> bool:
    op = value.op
    if op is None or op.name != "broadcast":
        return False
    dims: tuple[int, ...] = op.attributes["dims"]  # type: ignore[assignment]
    return axis not in dims or op.operands[0].type.shape[dims.index(axis)] == 1


def _is_zero(value: Value) -> bool:
    if value.op is None or value.op.name != "constant":
        return False
    number = value.op.attributes["value"]
    return not isinstance(number, DenseArray) and number == 0
