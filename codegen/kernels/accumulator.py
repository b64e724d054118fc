"""What a reduce op carries from element to element, be it in variables or in memory, and how an element changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.codegen.expression import Elements
from graphc.codegen.index import Index
from graphc.codegen.scalar_text import Expression, ScalarText, Term
from graphc.ir.graph import Op
from graphc.ir.opdef import Reduction, lookup
from graphc.ir.ops.arithmetic import highest, lowest
from graphc.ir.scalar import Primitive
from graphc.ir.types import DType, bool_, f32, f64, i32, i64

# The combining primitives that may be reordered, so that a loop over them becomes vector code.
_REORDERED = {
    "add": "accumulate_add",
    "mul": "accumulate_mul",
    "minimum": "accumulate_min",
    "maximum": "accumulate_max",
}


class _NameOnly:
    """A scalar builder that keeps the name of the primitive and nothing else."""

    def call(self, name: str, *args: object) -> str:
        return name


@dataclass(frozen=True)
class Cell:
    """One carried value: a name for it, its type and what it starts as."""

    hint: str
    dtype: DType
    initial: float | int | bool


@dataclass(frozen=True)
class Accumulator:
    """How one reduce op accumulates: in one cell that combines elements, or in two (the best element so far and where
    it stands) for an op that finds a position."""

    op: Op

    @property
    def rule(self) -> Reduction:
        rule = lookup(self.op.name).reduction
        assert rule is not None
        return rule

    @property
    def dtype(self) -> DType:
        """The type of the elements as they are carried."""
        return self.op.operands[0].type.dtype.accumulator

    @property
    def cells(self) -> tuple[Cell, ...]:
        name, dtype = self.op.name, self.dtype
        if self.rule.combine is None:
            start = 0.0 if dtype.is_float else 0
            return (Cell(f"{name}_best", dtype, start), Cell(f"{name}_at", i64, 0))
        assert self.rule.identity is not None
        return (Cell(name, dtype, self.rule.identity(dtype)),)

    @property
    def is_rounded_sum(self) -> bool:
        """Whether rounding errors add up over the elements, so that a long sum is better taken in blocks."""
        if self.rule.combine is None or not self.dtype.is_float:
            return False
        return self.rule.combine(_NameOnly(), None, None) == "add"  # type: ignore[arg-type]

    @property
    def total_dtype(self) -> DType:
        """The type in which the blocks of a long sum are added up."""
        return f64 if self.dtype == f32 else self.dtype

    def advance(self, elements: Elements, state: Sequence[Expression], x: Expression, position: Index) -> list[str]:
        """The cells' next values as text, once element `x`, at a linear position among those reduced, is in."""
        scalars = elements.scalars
        if self.rule.better is None:
            term = self._combined(scalars, scalars.leaf(state[0]), scalars.leaf(x))
            return [scalars.expression(term, self.dtype, self.op.name).text]
        best, at = state
        here = Expression.of_index(position)
        elements.used.append(position)
        better = self._replaces(scalars, scalars.leaf(x), scalars.leaf(best), scalars.leaf(here))
        takes = scalars.assign(scalars.expression(better, bool_, self.op.name), bool_, f"{self.op.name}_better")
        return [f"select({takes.text}, {x.text}, {best.text})", f"select({takes.text}, {here.text}, {at.text})"]

    def _combined(self, s: ScalarText, acc: Term, x: Term) -> Term:
        assert self.rule.combine is not None
        term: Term = self.rule.combine(s, acc, x)
        if term.primitive is not None and term.primitive.name in _REORDERED:
            return Term(term.dtype, primitive=Primitive(_REORDERED[term.primitive.name], 2, "fib"), args=term.args)
        return term

    def _replaces(self, s: ScalarText, x: Term, best: Term, at: Term) -> Term:
        """The first element always replaces what the cell started as."""
        assert self.rule.better is not None
        rule: Term = self.rule.better(s, x, best)
        return s.call("bit_or", s.call("eq", at, s.const(0, i64)), rule)


# For an op that finds a position: what combines elements to the one it looks for, and what that starts as.
_EXTREMA = {"argmax": ("accumulate_max", lowest), "argmin": ("accumulate_min", highest)}


@dataclass(frozen=True)
class Extremum(Accumulator):
    """An op that finds a position, done by two loops that become vector code: the first finds the best element, the
    second the least position of its equals. NaN is the best element of all."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        return (Cell(f"{self.op.name}_best", self.dtype, _EXTREMA[self.op.name][1](self.dtype)),)

    @property
    def position_dtype(self) -> DType:
        """What the second loop counts in: the narrower, the more lanes."""
        return i32 if self.op.operands[0].type.size < 2**31 else i64

    def advance(self, elements: Elements, state: Sequence[Expression], x: Expression, position: Index) -> list[str]:
        return [f"{_EXTREMA[self.op.name][0]}({state[0].text}, {x.text})"]

    def least_position(self, elements: Elements, best: Expression, x: Expression, position: Index, least: str) -> str:
        """The next value of the variable `least`, once element `x` at a position is in."""
        s, dtype = elements.scalars, self.position_dtype
        equal: Term = s.call("eq", s.leaf(x), s.leaf(best))
        if self.dtype.is_float:
            equal = s.call("bit_or", equal, s.call("ne", s.leaf(x), s.leaf(x)))
        found = s.assign(s.expression(equal, bool_, self.op.name), bool_, f"{self.op.name}_equal")
        elements.used.append(position)
        here, none = f"cast_{dtype}({position.text})", elements.constant(highest(dtype), dtype).text
        return f"accumulate_min({least}, select({found.text}, {here}, {none}))"
