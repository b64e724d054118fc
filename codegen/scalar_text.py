"""Scalar expressions as kernel source: the `ScalarBuilder` that op records are run on to get text.

A record first builds a graph of terms; `ScalarText.write` then turns it into one Python expression, with a statement of
its own for every part used more than once. Integer arithmetic on loop indices stays `Index` arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from graphc.codegen.index import Index
from graphc.codegen.primitives import FAULTING
from graphc.codegen.source import Source
from graphc.ir.scalar import Primitive, ScalarBuilder
from graphc.ir.types import DType, bf16, f16, i64

_OPERATORS = {"add": "+", "sub": "-", "mul": "*"}
_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_LONG = 88  # characters above which an expression is split
_INDEX_LIMIT = 2**62  # index arithmetic is exact; beyond this it might wrap in an i64
HALVES = (bf16, f16)


@dataclass(frozen=True)
class Expression:
    """The value of one element as text. bf16 and f16 are carried as f32 holding a half value. `depth` is that of the
    innermost block it depends on; `index` is its value where that is index arithmetic; an `atomic` text can be an
    operand without parentheses."""

    text: str
    dtype: DType
    depth: int
    index: Index | None = None
    atomic: bool = True

    @property
    def operand(self) -> str:
        return self.text if self.atomic else f"({self.text})"

    @staticmethod
    def of_index(index: Index) -> Expression:
        return Expression(index.text, i64, index.depth, index, index.is_atomic)


class Term:
    """A node of an expression under construction: a primitive and its operands, or a leaf."""

    __slots__ = ("args", "dtype", "leaf", "primitive", "value")

    def __init__(
        self,
        dtype: DType,
        leaf: Expression | None = None,
        value: float | int | bool | None = None,
        primitive: Primitive | None = None,
        args: tuple[Term, ...] = (),
    ):
        self.dtype = dtype
        self.leaf = leaf
        self.value = value
        self.primitive = primitive
        self.args = args

    @property
    def index(self) -> Index | None:
        if self.dtype != i64:
            return None
        return Index.of(int(self.value)) if self.value is not None else self.leaf.index if self.leaf else None


class ScalarText(ScalarBuilder[Term]):
    """Writes into `source`. `observe` is told of every index whose value becomes text."""

    def __init__(self, source: Source, observe: Callable[[Index], None]):
        self._source = source
        self._observe = observe

    # --- building terms

    def emit(self, primitive: Primitive, args: tuple[Term, ...], dtype: DType) -> Term:
        folded = _fold(primitive.name, [a.index for a in args])
        if isinstance(folded, bool):
            return Term(dtype, value=folded)
        if folded is not None and folded.low > -_INDEX_LIMIT and folded.high < _INDEX_LIMIT:
            return Term(dtype, leaf=Expression.of_index(folded))
        return Term(dtype, primitive=primitive, args=args)

    def const(self, value: float | int | bool, dtype: DType) -> Term:
        return Term(dtype, value=value)

    def leaf(self, expression: Expression) -> Term:
        """An operand; a half-precision one counts as the f32 that carries it."""
        return Term(expression.dtype.accumulator, leaf=expression)

    # --- writing text

    def write(self, term: Term, dtype: DType, hint: str, comment: str = "") -> Expression:
        """A statement that computes `term`, rounded to `dtype` if that is a half precision; its variable. Constants and
        plain operands need no statement."""
        expression = self.expression(term, dtype, hint)
        named = term.primitive is None and "(" not in expression.text
        return expression if named else self.assign(expression, dtype, hint, comment)

    def expression(self, term: Term, dtype: DType, hint: str) -> Expression:
        """`term` as an expression, rounded to `dtype` if that is a half precision; statements are written only for the
        parts that need a name."""
        uses: dict[int, int] = {}
        _count_uses(term, uses)
        expression = self._text(term, uses, {}, hint)
        if dtype in HALVES:
            expression = self._rounded(term, expression, dtype)
        return replace(expression, dtype=dtype)

    def assign(self, expression: Expression, dtype: DType, hint: str, comment: str = "") -> Expression:
        """Give an expression a name."""
        if expression.index is not None:
            return expression
        depth = max(expression.depth, self._source.guard_depth)
        name = self._source.fresh(hint)
        self._source.line(f"{name} = {expression.text}", comment, depth)
        return Expression(name, dtype, depth)

    def constant(self, value: float | int | bool, dtype: DType) -> Expression:
        """A literal: a named constant of the kernel, except for i64 and bool, which Python's own literals are."""
        if dtype.is_bool:
            return Expression(str(bool(value)), dtype, 0)
        if dtype == i64:
            return Expression.of_index(Index.of(int(value)))
        return Expression(self._source.constant(*_definition(value, dtype)), dtype, 0)

    def _rounded(self, term: Term, expression: Expression, dtype: DType) -> Expression:
        if term.leaf is not None and term.leaf.dtype == dtype:
            return expression
        if term.value is not None:
            return self.constant(float(np.float32(term.value).astype(dtype.numpy)), dtype.accumulator)
        return Expression(f"round_{dtype}({expression.text})", dtype, expression.depth)

    def _text(self, term: Term, uses: dict[int, int], written: dict[int, Expression], hint: str) -> Expression:
        if id(term) in written:
            return written[id(term)]
        if term.leaf is not None:
            if term.leaf.index is not None:
                self._observe(term.leaf.index)
            return term.leaf
        if term.primitive is None:
            assert term.value is not None
            return self.constant(term.value, term.dtype)
        args = [self._text(a, uses, written, hint) for a in term.args]
        while sum(len(a.text) for a in args) > _LONG:
            longest = max(range(len(args)), key=lambda i: len(args[i].text))
            if len(args[longest].text) < 24:
                break
            args[longest] = self.assign(args[longest], term.args[longest].dtype, hint)
        expression = self._applied(term, args)
        if uses[id(term)] > 1:
            expression = self.assign(expression, term.dtype, hint)
            written[id(term)] = expression
        return expression

    def _applied(self, term: Term, args: list[Expression]) -> Expression:
        assert term.primitive is not None
        name, depth = term.primitive.name, max((a.depth for a in args), default=0)
        operand = term.args[0].dtype
        if name in _OPERATORS and operand.is_float:
            return _binary(args, _OPERATORS[name], term.dtype, depth)
        if name in _COMPARISONS and (operand.is_float or operand == i64):
            return _binary(args, _COMPARISONS[name], term.dtype, depth)
        if name == "neg" and operand.is_float:
            return Expression(f"-{args[0].operand}", term.dtype, depth, atomic=False)
        function = f"cast_{term.dtype}" if name == "cast" else name
        listed = [a.text for a in args] + ["fault"] * (name in FAULTING)
        return Expression(f"{function}({', '.join(listed)})", term.dtype, depth)


def _binary(args: list[Expression], operator: str, dtype: DType, depth: int) -> Expression:
    return Expression(f"{args[0].operand} {operator} {args[1].operand}", dtype, depth, atomic=False)


def _count_uses(term: Term, uses: dict[int, int]) -> None:
    uses[id(term)] = uses.get(id(term), 0) + 1
    if uses[id(term)] == 1:
        for arg in term.args:
            _count_uses(arg, uses)


def _fold(name: str, args: list[Index | None]) -> Index | bool | None:
    """The primitive as index arithmetic or as a decided comparison; None where it is neither."""
    if not args or any(a is None for a in args):
        return None
    x = args[0]
    y = args[1] if len(args) > 1 else None
    if name == "neg":
        return -x  # type: ignore[operator]
    if x is None or y is None or len(args) > 2:
        return None
    if name == "add":
        return x + y
    if name == "sub":
        return x - y
    if name == "mul" and not (x.terms and y.terms):
        return x * y
    if name in ("floor_div", "mod") and (y.known or 0) > 0:
        return x // y if name == "floor_div" else x % y
    if name in _COMPARISONS and name != "ne":
        decided = getattr(x, f"__{name}__")(y)
        return decided if isinstance(decided, bool) else None
    return None


def _definition(value: float | int | bool, dtype: DType) -> tuple[str, str]:
    """A readable name for a constant, e.g. f32_minus_0_5, and its definition, e.g. f32(-0.5)."""
    carried = dtype.accumulator
    if carried.is_float:
        exact = carried.numpy.type(value)
        shown = str(exact)
        if np.isfinite(exact):
            literal = shown if carried.numpy.type(float(shown)) == exact else repr(float(exact))
        else:
            literal = f'"{shown}"'
    else:
        shown = literal = str(int(value))
    name = shown.removesuffix(".0").replace("e-", "em").replace("+", "").replace(".", "_").replace("-", "minus_")
    return f"{carried}_{name}", f"{carried}({literal})"
