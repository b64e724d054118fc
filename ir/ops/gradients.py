"""What the `vjp`s of the records share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from graphc.ir.graph import Op, Value
from graphc.ir.opdef import Vjp
from graphc.ir.types import TensorType, bf16, f16, f32

if TYPE_CHECKING:
    from graphc.ir.builder import Builder

# rule(builder, cotangent, *operands, result) -> the cotangent of each operand, or of the only one
Rule = Callable[..., "Value | tuple[Value | None, ...] | None"]


def vjp_of(rule: Rule) -> Vjp:
    """The vjp of an op with one result. A rule for bf16 or f16 runs in f32 and is rounded once, as the op itself is."""

    def vjp(b: Builder, op: Op, cotangents: Sequence[Value | None]) -> list[Value | None]:
        (cotangent,) = cotangents
        assert cotangent is not None
        found = rule(b, *(_widened(b, v) for v in (cotangent, *op.operands, op.result)))
        per_operand = found if isinstance(found, tuple) else (found,)
        return [
            g if g is None or g.type.dtype == x.type.dtype else b.cast(g, dtype=x.type.dtype)
            for g, x in zip(per_operand, op.operands, strict=True)
        ]

    return vjp


def _widened(b: Builder, value: Value) -> Value:
    return b.cast(value, dtype=f32) if value.type.dtype in (bf16, f16) else value


def linear_vjp(rule: Callable[[Builder, Op, Value], Sequence[Value | None]]) -> Vjp:
    """The vjp of an op with one result, rule(builder, op, cotangent), in the op's own type: it rounds nothing twice."""

    def vjp(b: Builder, op: Op, cotangents: Sequence[Value | None]) -> Sequence[Value | None]:
        (cotangent,) = cotangents
        assert cotangent is not None
        return rule(b, op, cotangent)

    return vjp


def zero_vjp(b: Builder, op: Op, cotangents: Sequence[Value | None]) -> list[Value | None]:
    """The vjp of an op whose derivative is zero wherever it exists."""
    return [None] * len(op.operands)


def zeros(b: Builder, type: TensorType) -> Value:
    """Zeros of a float type."""
    return b.constant(0.0, type)
