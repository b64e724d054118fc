"""The table of rewrite rules, keyed by op name.

A rule is a small function `(builder, op, *operands) -> Value | None`: `op` is the old op (its attributes and result
type), `operands` are the new values, already rewritten. It returns what stands for the op's only result, or None where
it does not apply. Its docstring is the rewrite, in one line. Rules hold for every input, NaN, infinities and the sign
of zero included; where rounding may change, the docstring says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from graphc.ir.builder import Builder
from graphc.ir.graph import Op, Value
from graphc.ir.opdef import registered


class Rule(Protocol):
    """One rewrite; see the module's docstring."""

    __name__: str
    __doc__: str | None

    def __call__(self, builder: Builder, op: Op, /, *operands: Value) -> Value | None: ...


RULES: dict[str, list[Rule]] = {}


def rule(*names: str) -> Callable[[Any], Any]:
    """Enter a function into the table, for ops of these names. Rules of one op are tried in order of entry."""

    def enter(function: Any) -> Any:
        for name in names:
            RULES.setdefault(name, []).append(function)
        return function

    return enter


def names_of(kind: str | None = None, trait: str | None = None) -> list[str]:
    """The ops of a kind, or with a trait."""
    return [
        r.name
        for r in registered().values()
        if (kind is None or r.kind == kind) and (trait is None or trait in r.traits)
    ]


def source(value: Value, name: str) -> Op | None:
    """The op that `value` is a result of, if that has this name."""
    return value.op if value.op is not None and value.op.name == name else None


def ints(op: Op, key: str) -> tuple[int, ...]:
    """An attribute that is a tuple of integers."""
    value = op.attributes[key]
    assert isinstance(value, tuple)
    return value  # type: ignore[return-value]


def reshaped(builder: Builder, x: Value, shape: Sequence[int]) -> Value:
    """`x` in `shape`."""
    return x if x.type.shape == tuple(shape) else builder.reshape(x, shape=tuple(shape))


def transposed(builder: Builder, x: Value, perm: Sequence[int]) -> Value:
    """`x` with result dim i = dim perm[i]."""
    return x if tuple(perm) == tuple(range(len(perm))) else builder.transpose(x, perm=tuple(perm))
