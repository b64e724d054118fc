"""Appends ops to a block, inferring result types and checking attributes as it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.ir.attributes import DenseArray
from graphc.ir.errors import GraphcError
from graphc.ir.graph import Block, Op, Value
from graphc.ir.location import Location
from graphc.ir.opdef import lookup
from graphc.ir.types import DType, TensorType


class Builder:
    """Emits into `block`. `builder.add(x, y)` emits the op `add`; any registered op works that way and returns its
    result (a tuple where it has several). Ops take `builder.location` as their location."""

    def __init__(self, block: Block, location: Location | None = None):
        self.block = block
        self.location = location

    def emit(
        self,
        name: str,
        operands: Sequence[Value],
        attributes: dict[str, Any] | None = None,
        regions: Sequence[Block] = (),
    ) -> Op:
        """Append one op. Raises ShapeError, DTypeError or AttributeValueError, carrying the location."""
        record = lookup(name)
        try:
            complete = record.complete(attributes or {})
            if record.n_operands is not None and len(operands) != record.n_operands:
                raise GraphcError(f"{name} takes {record.n_operands} operands, got {len(operands)}")
            types = record.infer([v.type for v in operands], complete)
        except GraphcError as error:
            raise type(error)(error.message, error.location or self.location) from None
        return self.append(Op(name, operands, types, complete, regions, self.location))

    def append(self, op: Op) -> Op:
        """Append an op that is already made."""
        self.block.ops.append(op)
        return op

    def constant(self, value: float | int | bool | np.ndarray[Any, Any], type: TensorType) -> Value:
        """A constant: a number, splat over `type`, or an array of exactly that type."""
        payload: Any = DenseArray(value) if isinstance(value, np.ndarray) else _as_kind(value, type.dtype)
        return self.emit("constant", [], {"value": payload, "dtype": type.dtype, "shape": type.shape}).result

    def full_like(self, x: Value, value: float | int | bool) -> Value:
        """A splat constant of the type of `x`."""
        return self.constant(value, x.type)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        try:
            record = lookup(name)
        except KeyError:
            raise AttributeError(f"no op named {name!r}") from None

        def emit(*operands: Value, **attributes: Any) -> Any:
            op = self.emit(record.name, operands, attributes)
            return op.results[0] if len(op.results) == 1 else op.results

        return emit


def _as_kind(value: float | int | bool, dtype: DType) -> float | int | bool:
    if dtype.is_float:
        return float(value)
    return bool(value) if dtype.is_bool else int(value)
