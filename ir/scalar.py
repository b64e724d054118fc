"""The closed set of scalar primitives that ops are lowered to.

An op record's `scalar` expression is written against `ScalarBuilder`; every target implements each primitive once.
Arithmetic is strictly homogeneous: operands of one primitive share one element type.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from graphc.ir.types import DType, bool_, i64


class Typed(Protocol):
    """What a scalar expression must expose: its element type."""

    @property
    def dtype(self) -> DType: ...


E = TypeVar("E", bound=Typed)


@dataclass(frozen=True)
class Primitive:
    """`result` says the element type: "same" as the first operand, "bool", "select" (the second), "i64" or "attr"
    (given at the call). `domain` is the kinds of element type it takes: f(loat), i(nteger), b(ool)."""

    name: str
    arity: int
    domain: str
    result: str = "same"


PRIMITIVES: dict[str, Primitive] = {
    p.name: p
    for p in (
        Primitive("add", 2, "fi"),  # integers wrap
        Primitive("sub", 2, "fi"),
        Primitive("mul", 2, "fi"),
        Primitive("fma", 3, "f"),  # one rounding
        Primitive("div", 2, "f"),
        Primitive("floor_div", 2, "fi"),  # rounds towards -inf; an integer zero divisor faults
        Primitive("mod", 2, "fi"),  # sign of the divisor, as Python's %; an integer zero divisor faults
        Primitive("pow", 2, "fi"),  # integers: exponent >= 0, wraps; a negative integer exponent faults
        Primitive("minimum", 2, "fib"),  # NaN if either is NaN
        Primitive("maximum", 2, "fib"),
        Primitive("neg", 1, "fi"),
        Primitive("abs", 1, "fi"),
        Primitive("floor", 1, "f"),
        Primitive("ceil", 1, "f"),
        Primitive("round", 1, "f"),  # half to even
        Primitive("sqrt", 1, "f"),
        Primitive("exp", 1, "f"),
        Primitive("expm1", 1, "f"),
        Primitive("log", 1, "f"),
        Primitive("log1p", 1, "f"),
        Primitive("tanh", 1, "f"),
        Primitive("erf", 1, "f"),
        Primitive("sin", 1, "f"),
        Primitive("cos", 1, "f"),
        Primitive("bit_and", 2, "ib"),
        Primitive("bit_or", 2, "ib"),
        Primitive("bit_xor", 2, "ib"),
        Primitive("bit_not", 1, "ib"),
        Primitive("lshr", 2, "i"),  # logical shift right
        Primitive("eq", 2, "fib", "bool"),  # comparisons with NaN are false, ne is true
        Primitive("ne", 2, "fib", "bool"),
        Primitive("lt", 2, "fib", "bool"),
        Primitive("le", 2, "fib", "bool"),
        Primitive("gt", 2, "fib", "bool"),
        Primitive("ge", 2, "fib", "bool"),
        Primitive("select", 3, "fib", "select"),  # select(condition: bool, if_true, if_false)
        Primitive("cast", 1, "fib", "attr"),  # float -> integer truncates, saturates, NaN -> 0; to bool: x != 0
        Primitive("philox", 2, "i", "i64"),  # (key: i64, counter: i64) -> words 0 (low) and 1 (high) of Philox 4x32-10
        Primitive("check_range", 3, "i"),  # check_range(x, low, high) -> x; faults unless low <= x < high
    )
}


class ScalarBuilder(ABC, Generic[E]):
    """Builds scalar expressions; a subclass supplies `emit` and `const`."""

    @abstractmethod
    def emit(self, primitive: Primitive, args: tuple[E, ...], dtype: DType) -> E:
        """The expression `primitive(*args)`, of element type `dtype`."""

    @abstractmethod
    def const(self, value: float | int | bool, dtype: DType) -> E:
        """A constant of element type `dtype`."""

    def call(self, name: str, *args: E, dtype: DType | None = None) -> E:
        """Apply a primitive by name. `dtype` is given for "cast" only."""
        primitive = PRIMITIVES[name]
        if len(args) != primitive.arity:
            raise TypeError(f"scalar primitive {name} takes {primitive.arity} operands, got {len(args)}")
        if primitive.result == "attr":
            if dtype is None:
                raise TypeError(f"scalar primitive {name} needs a dtype")
            result = dtype
        elif primitive.result == "bool":
            result = bool_
        elif primitive.result == "i64":
            result = i64
        else:
            result = args[1 if primitive.result == "select" else 0].dtype
        return self.emit(primitive, args, result)

    def cast(self, x: E, dtype: DType) -> E:
        """`x` in element type `dtype`; `x` itself where it has that type already."""
        return x if x.dtype == dtype else self.call("cast", x, dtype=dtype)

    def like(self, value: float | int | bool, x: E) -> E:
        """A constant of the element type of `x`."""
        return self.const(value, x.dtype)
