"""How much work one element of an op is, roughly, in additions."""

from __future__ import annotations

from dataclasses import dataclass

from graphc.ir.graph import Op
from graphc.ir.opdef import lookup
from graphc.ir.scalar import Primitive, ScalarBuilder
from graphc.ir.types import DType, i64

_TRANSCENDENTAL = 10
_WEIGHTS = {
    **dict.fromkeys(("exp", "expm1", "log", "log1p", "tanh", "erf", "sin", "cos"), _TRANSCENDENTAL),
    "pow": 2 * _TRANSCENDENTAL,
    "philox": 4 * _TRANSCENDENTAL,
    "div": 4,
    "sqrt": 4,
    "floor_div": 10,
    "mod": 10,
}
_GATHER = 4


@dataclass(frozen=True)
class _Operand:
    dtype: DType


class _Counter(ScalarBuilder[_Operand]):
    def __init__(self) -> None:
        self.total = 0

    def emit(self, primitive: Primitive, args: tuple[_Operand, ...], dtype: DType) -> _Operand:
        self.total += _WEIGHTS.get(primitive.name, 1)
        return _Operand(dtype)

    def const(self, value: float | int | bool, dtype: DType) -> _Operand:
        return _Operand(dtype)


def element_cost(op: Op) -> int:
    """The work of one element of a pointwise, generate, layout or gather op, its operands' elements given."""
    record = lookup(op.name)
    if record.scalar is None:
        return _GATHER if record.kind == "gather" else 0
    counter = _Counter()
    operands = [_Operand(v.type.dtype.accumulator) for v in op.operands]
    if record.kind == "generate":
        operands.insert(0, _Operand(i64))
    record.scalar(counter, op, *operands)
    return counter.total
