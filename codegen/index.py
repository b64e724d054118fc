"""Index arithmetic: affine expressions over loop variables, simplified with what is known of their ranges.

`Index` has Python's integer operators, so an op record's `index_map` runs on it as it runs on ints. A comparison that
the ranges decide is a plain bool; any other is a `Condition`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Atom:
    """What an index is a linear combination of: a variable or, where `inner` is given, inner // divisor or
    inner % divisor. `low` and `high` bound it (inclusive); `depth` is that of the block that defines it."""

    text: str
    low: int
    high: int
    depth: int
    inner: Index | None = None
    divisor: int = 1
    remainder: bool = False


Terms = dict[str, tuple[Atom, int]]  # an atom's text -> the atom and its coefficient


class Index:
    """constant + the sum of coefficient * atom; `low` and `high` bound it (inclusive)."""

    __slots__ = ("_text", "constant", "high", "low", "terms")

    def __init__(self, terms: Terms, constant: int, low: int | None = None, high: int | None = None):
        self.terms = terms
        self.constant = constant
        least = greatest = constant
        for atom, k in terms.values():
            least += k * (atom.low if k > 0 else atom.high)
            greatest += k * (atom.high if k > 0 else atom.low)
        self.low = least if low is None else max(low, least)
        self.high = greatest if high is None else min(high, greatest)
        self._text: str | None = None

    # --- construction

    @staticmethod
    def of(value: Index | int) -> Index:
        return value if isinstance(value, Index) else Index({}, value)

    @staticmethod
    def variable(name: str, low: int, high: int, depth: int) -> Index:
        """A loop variable or a local one, low <= name <= high. One that can have one value only is that constant."""
        return Index({}, low) if low == high else Index({name: (Atom(name, low, high, depth), 1)}, 0)

    def within(self, low: int, high: int) -> Index:
        """The same index, known to satisfy low <= index <= high."""
        return self if low <= self.low and self.high <= high else Index(self.terms, self.constant, low, high)

    # --- inspection

    @property
    def depth(self) -> int:
        """The depth of the innermost block whose variables the index needs."""
        return max((atom.depth for atom, _ in self.terms.values()), default=0)

    @property
    def known(self) -> int | None:
        """Its value, if it is a constant."""
        return None if self.terms else self.constant

    def coefficient(self, name: str) -> int:
        """The factor of a variable (outside of any quotient or remainder)."""
        return self.terms[name][1] if name in self.terms else 0

    def linear_parts(self) -> list[Index]:
        """Itself and, recursively, what it divides."""
        inner = [part for a, _ in self.terms.values() if a.inner is not None for part in a.inner.linear_parts()]
        return [self, *inner]

    def same(self, other: Index) -> bool:
        """Whether the two are known to be equal."""
        return (self - other).known == 0

    @property
    def text(self) -> str:
        """As Python, e.g. `i * 128 + j - 1`. Equal indices have equal text."""
        if self._text is None:
            pieces: list[str] = []
            for atom, k in sorted(self.terms.values(), key=lambda term: (-abs(term[1]), term[0].text)):
                factor = atom.text if atom.inner is None else f"({atom.text})"
                scaled = f"{factor} * {abs(k)}" if abs(k) != 1 else atom.text if k == 1 else factor
                pieces.append(f"{'-' if k < 0 else '+'} {scaled}")
            if self.constant or not pieces:
                constant = f"{'-' if self.constant < 0 else '+'} {abs(self.constant)}"
                pieces.insert(0 if pieces and pieces[0][0] == "-" and self.constant > 0 else len(pieces), constant)
            joined = " ".join(pieces)
            self._text = joined[2:] if joined[0] == "+" else "-" + joined[2:]
        return self._text

    @property
    def is_atomic(self) -> bool:
        """Whether the text can stand as an operand without parentheses."""
        if not self.terms:
            return self.constant >= 0
        ((atom, k), *others) = self.terms.values()
        return not others and not self.constant and k == 1 and atom.inner is None

    def __repr__(self) -> str:
        return f"<Index {self.text} in [{self.low}, {self.high}]>"

    # --- arithmetic

    def __add__(self, other: Index | int) -> Index:
        other = Index.of(other)
        terms = dict(self.terms)
        for name, (atom, k) in other.terms.items():
            total = k + (terms[name][1] if name in terms else 0)
            if total:
                terms[name] = (atom, total)
            else:
                del terms[name]
        terms, extra = _recombine(terms)
        constant = self.constant + other.constant + extra
        return Index(terms, constant, self.low + other.low, self.high + other.high)

    def __mul__(self, factor: Index | int) -> Index:
        if isinstance(factor, Index):
            if factor.terms and self.terms:
                raise TypeError(f"an index is a linear expression: cannot multiply {self.text} by {factor.text}")
            return self * factor.constant if not factor.terms else factor * self.constant
        if factor == 0:
            return Index({}, 0)
        ends = (self.low * factor, self.high * factor)
        terms = {name: (atom, k * factor) for name, (atom, k) in self.terms.items()}
        return Index(terms, self.constant * factor, min(ends), max(ends))

    def __neg__(self) -> Index:
        return self * -1

    def __sub__(self, other: Index | int) -> Index:
        return self + Index.of(other) * -1

    def __radd__(self, other: int) -> Index:
        return self + other

    def __rmul__(self, other: int) -> Index:
        return self * other

    def __rsub__(self, other: int) -> Index:
        return Index.of(other) - self

    def __floordiv__(self, divisor: Index | int) -> Index:
        return self._divide(divisor)[0]

    def __mod__(self, divisor: Index | int) -> Index:
        return self._divide(divisor)[1]

    def _divide(self, by: Index | int) -> tuple[Index, Index]:
        """(self // by, self % by), rounded as in Python."""
        divisor = by if isinstance(by, int) else by.known
        if divisor is None or divisor < 1:
            raise ValueError(f"cannot divide the index {self.text} by {by}; the divisor must be a positive constant")
        low = self.low // divisor
        if low == self.high // divisor:
            return Index.of(low), self - low * divisor
        # Take out the multiples of the divisor: self = divisor * whole + rest.
        whole: Terms = {}
        rest: Terms = {}
        for name, (atom, k) in self.terms.items():
            multiple = k // divisor if k > 0 else -(-k // divisor)
            if multiple:
                whole[name] = (atom, multiple)
            if k - multiple * divisor:
                rest[name] = (atom, k - multiple * divisor)
        quotient = Index(whole, self.constant // divisor)
        remainder = Index(rest, self.constant % divisor)
        low = remainder.low // divisor
        if low == remainder.high // divisor:
            return quotient + low, remainder - low * divisor
        # A factor common to the rest and the divisor cancels.
        common = math.gcd(divisor, *(k for _, k in rest.values()))
        reduced = Index({name: (a, k // common) for name, (a, k) in rest.items()}, remainder.constant // common)
        return (
            quotient + _quotient(reduced, divisor // common),
            _remainder(reduced, divisor // common) * common + remainder.constant % common,
        )

    # --- comparison

    def __lt__(self, other: Index | int) -> bool | Condition:
        return _compare(self, "<", Index.of(other), Index.of(other) - self - 1)

    def __le__(self, other: Index | int) -> bool | Condition:
        return _compare(self, "<=", Index.of(other), Index.of(other) - self)

    def __gt__(self, other: Index | int) -> bool | Condition:
        return _compare(self, ">", Index.of(other), self - other - 1)

    def __ge__(self, other: Index | int) -> bool | Condition:
        return _compare(self, ">=", Index.of(other), self - other)

    def __eq__(self, other: object) -> bool | Condition:  # type: ignore[override]
        if not isinstance(other, (Index, int)):
            return NotImplemented
        difference = self - other
        if difference.low > 0 or difference.high < 0:
            return False
        if difference.known is not None:
            return difference.known == 0
        return Condition((f"{self.text} == {Index.of(other).text}",), (difference,))

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, eq=False)
class Condition:
    """A conjunction of comparisons that is decided while the kernel runs; `indices` are what it compares."""

    comparisons: tuple[str, ...]
    indices: tuple[Index, ...]

    def __and__(self, other: bool | Condition) -> bool | Condition:
        if isinstance(other, bool):
            return self if other else False
        both = tuple(dict.fromkeys((*self.comparisons, *other.comparisons)))
        return Condition(both, (*self.indices, *other.indices))

    __rand__ = __and__

    def __bool__(self) -> bool:
        raise TypeError("the condition is known only while the kernel runs; combine conditions with &")

    @property
    def text(self) -> str:
        return " and ".join(self.comparisons)


def ravel(index: Sequence[Index], shape: Sequence[int]) -> Index:
    """The row-major linear index of a multi-dimensional one."""
    linear = Index.of(0)
    for i, size in zip(index, shape, strict=True):
        linear = linear * size + i
    return linear


def unravel(linear: Index, shape: Sequence[int]) -> tuple[Index, ...]:
    """The multi-dimensional index of a row-major linear one, 0 <= linear < the product of the shape."""
    index: list[Index] = []
    for axis in range(len(shape) - 1, 0, -1):
        index.append(linear % shape[axis])
        linear = linear // shape[axis]
    return (linear, *reversed(index)) if shape else ()


def _quotient(x: Index, divisor: int) -> Index:
    if divisor == 1:
        return x
    outer = _only_atom(x)
    if outer is not None and outer.inner is not None and not outer.remainder:
        return _quotient(outer.inner, outer.divisor * divisor)
    return _divided(x, "//", divisor, x.low // divisor, x.high // divisor)


def _remainder(x: Index, divisor: int) -> Index:
    if divisor == 1:
        return Index.of(0)
    outer = _only_atom(x)
    if outer is not None and outer.inner is not None and outer.remainder and outer.divisor % divisor == 0:
        return _remainder(outer.inner, divisor)
    return _divided(x, "%", divisor, 0, divisor - 1)


def _divided(x: Index, operator: str, divisor: int, low: int, high: int) -> Index:
    text = f"{x.text if x.is_atomic else f'({x.text})'} {operator} {divisor}"
    return Index({text: (Atom(text, low, high, x.depth, x, divisor, operator == "%"), 1)}, 0)


def _only_atom(x: Index) -> Atom | None:
    if len(x.terms) != 1 or x.constant:
        return None
    ((atom, k),) = x.terms.values()
    return atom if k == 1 else None


def _recombine(terms: Terms) -> tuple[Terms, int]:
    """Replace (x // c) * (c * k) + (x % c) * k by x * k; returns terms and a constant to add."""
    for name, (atom, k) in terms.items():
        if not atom.remainder or atom.inner is None:
            continue
        (partner,) = _quotient(atom.inner, atom.divisor).terms
        if partner in terms and terms[partner][1] == k * atom.divisor:
            rest = Index({n: t for n, t in terms.items() if n not in (name, partner)}, 0)
            merged = rest + atom.inner * k
            return merged.terms, merged.constant
    return terms, 0


def _compare(left: Index, sign: str, right: Index, margin: Index) -> bool | Condition:
    """left <sign> right, which holds where margin >= 0."""
    if margin.low >= 0:
        return True
    return False if margin.high < 0 else Condition((f"{left.text} {sign} {right.text}",), (margin,))
