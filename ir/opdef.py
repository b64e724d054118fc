"""The op record and the registry: one op, one place.

Everything the project knows of an op stands in its record in `ir/ops/`. Emitters dispatch on `kind`, never on a name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.ir.attributes import Attributes, DenseArray
from graphc.ir.errors import AttributeValueError, FaultError
from graphc.ir.types import DType, TensorType

if TYPE_CHECKING:
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Op, Value
    from graphc.ir.scalar import ScalarBuilder

Array = np.ndarray[Any, Any]
Infer = Callable[[Sequence[TensorType], Attributes], Sequence[TensorType]]
Eval = Callable[[Sequence[Array], Attributes], Sequence[Array]]
Vjp = Callable[["Builder", "Op", "Sequence[Value | None]"], "Sequence[Value | None]"]

KINDS = (
    "pointwise",  # scalar(s, op, *xs): one output element from the operands' elements at the same index
    "generate",  # scalar(s, op, linear_index, *xs): from the element's own row-major index and 0-d operands
    "layout",  # index_map: an output element is one operand element (or a fill value) at a computed index
    "reduce",  # reduction: combines along `axes`
    "contract",  # sum of products
    "gather",  # reads `data` at indices held in another operand
    "scatter",  # accumulates into a copy of `base` at indices held in another operand
    "fused",  # a kernel: a region of ordinary ops
    "meta",  # rewritten away before code is generated
)


@dataclass(frozen=True)
class AttrSpec:
    """One attribute: `type` is a Python type (bool, int, float, str, DType, DenseArray), "ints" (a tuple of int),
    "scalar" (a number of any kind) or "any"; integers must fit i64. `default` is absent for required attributes;
    `choices`, where given, lists the only values allowed."""

    type: Any
    default: Any = ...
    choices: tuple[Any, ...] = ()

    @property
    def required(self) -> bool:
        return self.default is ...

    def accepts(self, value: object) -> bool:
        if self.choices and value not in self.choices:
            return False
        if isinstance(value, int) and not _fits_i64(value):
            return False
        if self.type == "any":
            return True
        if self.type == "ints":
            return isinstance(value, tuple) and all(type(v) is int and _fits_i64(v) for v in value)
        if self.type == "scalar":
            return type(value) in (bool, int, float)
        if self.type in (DType, DenseArray):
            return isinstance(value, self.type)
        return type(value) is self.type


def _fits_i64(value: int) -> bool:
    return -(2**63) <= value < 2**63


@dataclass(frozen=True)
class Access:
    """One source of an element: `operand` at `index`, used when `when` holds (None: always). The index is valid only
    where `when` holds. In a gather or scatter, the coordinate that is read from `indices` is None."""

    operand: int
    index: tuple[Any, ...]
    when: Any = None


@dataclass(frozen=True)
class Reduction:
    """How a reduce op combines. `combine(s, acc, x)`; `identity(dtype)` is the value of an empty reduction.
    For arg-reductions `better(s, x, best)` says when x replaces best, and `combine` is None. Ties keep the first."""

    identity: Callable[[DType], float | int | bool] | None = None
    combine: Callable[[ScalarBuilder[Any], Any, Any], Any] | None = None
    better: Callable[[ScalarBuilder[Any], Any, Any], Any] | None = None


@dataclass(frozen=True)
class OpDef:
    """One op's record.

    infer(types, attrs) -> result types; the only shape/dtype rule. Raises ShapeError, DTypeError, AttributeValueError.
    eval(arrays, attrs) -> NumPy arrays of exactly the inferred types; the oracle. A result may be a view of an operand,
        so nobody writes to one. Raises FaultError where a value is out of the op's range.
    vjp(builder, op, cotangents) -> one cotangent per operand, or None where it is zero. A cotangent is None where it
        is known to be zero; an op with one result never sees None. None in place of `vjp`: not differentiable.
    scalar(s, op, *operands) -> expression (kinds pointwise, generate). An element of type bf16 or f16 is carried as
        f32: operands come converted, the expression is made in `dtype.accumulator`, and who calls `scalar` rounds its
        value once to the type of the op's result. So a cast to bf16 is a cast to f32 here.
    index_map(op, index) -> accesses. Index arithmetic uses Python operators only (+ - * // % < <= > >= == &, with a
        plain int on either side), so it runs on ints as well as on a code generator's expressions.
        layout: tried in order; an element that no access covers has the value attrs["value"].
        gather: `index` is that of a result element; two accesses, of `indices`, then of `data`.
        scatter: `index` is that of an element of `updates`; two accesses, of `indices`, then of `base`.
    reduction: for kind reduce.
    traits: commutative; associative (up to rounding, for floats); idempotent (f(x, x) = x); has_side_effect.
    fault: what eval raises at a value that the op does not accept (arithmetic: of integers only).
    identity(dtype) -> the e for which f(x, e) is x, bit for bit (so -0.0 for a float `add`).
    samples: () -> list of (operand arrays, attributes) that tests draw from.
    """

    name: str
    kind: str
    doc: str
    infer: Infer
    eval: Eval
    attrs: Mapping[str, AttrSpec] = field(default_factory=dict)
    vjp: Vjp | None = None
    scalar: Callable[..., Any] | None = None
    index_map: Callable[[Op, tuple[Any, ...]], Sequence[Access]] | None = None
    reduction: Reduction | None = None
    traits: frozenset[str] = frozenset()
    fault: type[FaultError] | None = None
    identity: Callable[[DType], float | int | bool] | None = None
    n_operands: int | None = None  # None: variadic
    samples: Callable[[], list[tuple[list[Array], dict[str, Any]]]] = list

    def complete(self, attributes: Mapping[str, object]) -> Attributes:
        """`attributes` checked against the schema, with defaults filled in, in schema order."""
        unknown = [k for k in attributes if k not in self.attrs]
        if unknown:
            raise AttributeValueError(
                f"{self.name} has no attribute {unknown[0]!r}; it takes: {', '.join(self.attrs) or 'none'}"
            )
        found: dict[str, Any] = {}
        for key, spec in self.attrs.items():
            value = attributes.get(key, spec.default)
            if value is ...:
                raise AttributeValueError(f"{self.name} needs the attribute {key!r}")
            if not spec.accepts(value):
                raise AttributeValueError(f"{self.name}: attribute {key!r} cannot be {value!r}")
            found[key] = value
        return found


_REGISTRY: dict[str, OpDef] = {}


def register(record: OpDef) -> OpDef:
    """Add a record to the registry; a name is registered once."""
    if record.name in _REGISTRY:
        raise ValueError(f"op {record.name} is registered twice")
    if record.kind not in KINDS:
        raise ValueError(f"op {record.name} has unknown kind {record.kind!r}")
    _REGISTRY[record.name] = record
    return record


def lookup(name: str) -> OpDef:
    """The record of an op. Raises KeyError for a name that is not registered."""
    return _REGISTRY[name]


def registered() -> dict[str, OpDef]:
    """Every record, by name."""
    return dict(_REGISTRY)
