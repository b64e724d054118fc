"""The form of a rule's test, and short names for the types and constants that they use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.ir import Builder, DType, TensorType, Value, bool_, f32, i32
from tests.passes.rewriting import Body


@dataclass(frozen=True)
class Case:
    """`rule` turns `before` into `after` (functions of a builder and arguments of `types`). `exact`: bit for bit."""

    rule: str
    types: Sequence[TensorType]
    before: Body
    after: Body
    exact: bool = True


def F(*shape: int, dtype: DType = f32) -> TensorType:
    """A float type."""
    return TensorType(dtype, shape)


def I(*shape: int, dtype: DType = i32) -> TensorType:  # noqa: E743
    """An integer type."""
    return TensorType(dtype, shape)


def B(*shape: int) -> TensorType:
    """A bool type."""
    return TensorType(bool_, shape)


def c(b: Builder, x: Value, value: float) -> Value:
    """A splat of the type of `x`."""
    return b.full_like(x, value)


def splat(b: Builder, shape: tuple[int, ...], value: float, dtype: DType = f32) -> Value:
    """A splat."""
    return b.constant(value, TensorType(dtype, shape))


X, XX = [F(12)], [F(144), F(144)]  # room for every (pair of) special value(s)
X34 = [F(3, 4)]
N, NN = [I(6)], [I(6), I(6)]
P = [B(6)]
