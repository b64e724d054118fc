"""How much arithmetic one op does, counted from its record's scalar expression."""

from __future__ import annotations

from dataclasses import dataclass

from graphc.ir.graph import Op
from graphc.ir.opdef import lookup
from graphc.ir.ops.contraction import parse_spec
from graphc.ir.scalar import Primitive, ScalarBuilder
from graphc.ir.types import DType, i64

_TRANSCENDENTAL = frozenset(("exp", "expm1", "log", "log1p", "tanh", "erf", "sin", "cos", "pow"))
# What one primitive takes, in units of an addition: rough figures of vectorised code.
_WEIGHTS = {"div": 4, "sqrt": 4, "floor_div": 6, "mod": 6, "philox": 60, **dict.fromkeys(_TRANSCENDENTAL, 20)}


@dataclass(frozen=True)
class Work:
    """Scalar primitives evaluated: `flops` counts all but casts, of which `transcendental` are exp, log and the like.
    `weight` is their cost in units of an addition."""

    flops: int = 0
    transcendental: int = 0
    weight: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.transcendental + other.transcendental, self.weight + other.weight)

    def __mul__(self, times: int) -> Work:
        return Work(self.flops * times, self.transcendental * times, self.weight * times)


@dataclass(frozen=True)
class _Element:
    dtype: DType


class _Counter(ScalarBuilder[_Element]):
    """Builds nothing and counts."""

    def __init__(self) -> None:
        self.work = Work()

    def emit(self, primitive: Primitive, args: tuple[_Element, ...], dtype: DType) -> _Element:
        name = primitive.name
        self.work += Work(int(name != "cast"), int(name in _TRANSCENDENTAL), _WEIGHTS.get(name, 1))
        return _Element(dtype)

    def const(self, value: float | int | bool, dtype: DType) -> _Element:
        return _Element(dtype)


def work_per_element(op: Op) -> Work:
    """What one element of the result of a pointwise or generate op takes; of a reduce op, one element of its operand;
    nothing for ops that only move elements, and for constants and coordinates, which a kernel has at hand."""
    record = lookup(op.name)
    if record.kind == "reduce":
        return Work(1, 0, 1)
    if record.scalar is None or (record.kind == "generate" and not op.operands):
        return Work()
    counter = _Counter()
    operands = [_Element(v.type.dtype.accumulator) for v in op.operands]
    if record.kind == "generate":
        record.scalar(counter, op, _Element(i64), *operands)
    else:
        record.scalar(counter, op, *operands)
    return counter.work


def work_of(op: Op) -> Work:
    """What the whole op takes."""
    record = lookup(op.name)
    if record.kind == "contract":
        return _contraction_work(op)
    if record.kind == "reduce":
        return work_per_element(op) * op.operands[0].type.size
    if record.kind == "scatter":
        updates = op.operands[2].type.size
        return Work(updates, 0, updates)
    return work_per_element(op) * op.results[0].type.size


def _contraction_work(op: Op) -> Work:
    letters = parse_spec(str(op.attributes["spec"]))
    shared = dict(zip(letters.a, op.operands[0].type.shape, strict=True))
    flops = 2 * op.result.type.size
    for letter in letters.k:
        flops *= shared[letter]
    return Work(flops, 0, flops)
