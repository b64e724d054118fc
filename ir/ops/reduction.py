"""Ops that combine the elements along some axes into one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from graphc.ir.attributes import Attributes
from graphc.ir.errors import AttributeValueError, ShapeError
from graphc.ir.graph import Op, Value
from graphc.ir.opdef import Array, AttrSpec, Eval, Infer, OpDef, Reduction, Vjp, register
from graphc.ir.ops.arithmetic import highest, lowest
from graphc.ir.ops.checks import require_axes, require_dtype, tensor
from graphc.ir.ops.gradients import linear_vjp, vjp_of
from graphc.ir.ops.product import exclusive_products
from graphc.ir.ops.rounding import narrow, widen
from graphc.ir.ops.samples import Sample, example, over_types
from graphc.ir.scalar import ScalarBuilder
from graphc.ir.types import DType, TensorType, i64

if TYPE_CHECKING:
    from graphc.ir.builder import Builder

Scalars = ScalarBuilder[Any]
_ATTRS = {"axes": AttrSpec("ints"), "keepdims": AttrSpec(bool, False)}


def _axes(attrs: Attributes) -> tuple[int, ...]:
    return cast("tuple[int, ...]", attrs["axes"])


def _reduced(name: str, x: TensorType, attrs: Attributes) -> TensorType:
    axes = _axes(attrs)
    require_axes(name, axes, x)
    if attrs["keepdims"]:
        return tensor(name, x.dtype, tuple(1 if d in axes else n for d, n in enumerate(x.shape)))
    return tensor(name, x.dtype, tuple(n for d, n in enumerate(x.shape) if d not in axes))


def _infer(name: str, family: str, allow_empty: bool) -> Infer:
    def infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
        require_dtype(name, types[0], family)
        result = _reduced(name, types[0], attrs)
        if not allow_empty:
            _require_elements(name, types[0], attrs)
        return [result]

    return infer


def _require_elements(name: str, x: TensorType, attrs: Attributes) -> None:
    empty = [axis for axis in _axes(attrs) if x.shape[axis] == 0]
    if empty:
        raise ShapeError(f"{name}: axis {empty[0]} of {x} is empty, and {name} of nothing is undefined; reduce others")


_AXES: tuple[tuple[int, ...], ...] = ((1,), (0,), (0, 1), (2,), (0, 2), (0, 1, 2), ())
_SHAPES: tuple[tuple[int, ...], ...] = ((3, 5), (2, 7, 4), (2, 0, 3), (1, 1, 9), (70,), (), (9, 33))


def _samples(dtype: DType, all_axes: Sequence[tuple[int, ...]], allow_empty: bool) -> list[Sample]:
    found: list[Sample] = []
    for shape in _SHAPES:
        for axes in all_axes:
            if all(axis < len(shape) and (allow_empty or shape[axis]) for axis in axes):
                found.append(([example(dtype, shape)], {"axes": axes, "keepdims": len(found) % 2 == 1}))
    if dtype.is_float:
        row = example(dtype, (4, 6))
        row[1, 2], row[2, 1:3], row[3] = np.nan, np.inf, 0.0
        found.append(([row], {"axes": (1,), "keepdims": False}))
    return found


# --- combining reductions


def _eval(function: Callable[..., Any]) -> Eval:
    def evaluate(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
        (x,) = arrays
        with np.errstate(all="ignore"):
            result = function(widen(x), axis=_axes(attrs), keepdims=bool(attrs["keepdims"]))
            return [narrow(result, x.dtype)]

    return evaluate


def _spread(b: Builder, value: Value, op: Op) -> Value:
    """A value of the shape of the op's result, repeated along the reduced axes."""
    x, axes = op.operands[0].type, _axes(op.attributes)
    dims = range(x.rank) if op.attributes["keepdims"] else [d for d in range(x.rank) if d not in axes]
    return b.broadcast(value, shape=x.shape, dims=tuple(dims))


def _reduction(
    name: str,
    family: str,
    doc: str,
    function: Callable[..., Any],
    primitive: str,
    identity: Any,
    vjp: Vjp | None = None,
    allow_empty: bool = True,
) -> OpDef:
    return OpDef(
        name=name,
        kind="reduce",
        doc=doc,
        attrs=_ATTRS,
        infer=_infer(name, family, allow_empty),
        eval=_eval(function),
        vjp=vjp,
        reduction=Reduction(identity, lambda s, acc, x: s.call(primitive, acc, x)),
        n_operands=1,
        samples=over_types(family, lambda dtype: _samples(dtype, _AXES, allow_empty)),
    )


def _in_accumulator(rule: Callable[[Builder, Op, Value, Value, Value], Value]) -> Vjp:
    """vjp_of, for a rule(builder, op, cotangent, operand, result) that needs the op's attributes."""

    def vjp(b: Builder, op: Op, cotangents: Sequence[Value | None]) -> Sequence[Value | None]:
        return vjp_of(lambda b, ct, x, y: rule(b, op, ct, x, y))(b, op, cotangents)

    return vjp


def _sum(x: Array, **where: Any) -> Any:
    return np.sum(x, dtype=x.dtype, **where)


def _prod(x: Array, **where: Any) -> Any:
    return np.prod(x, dtype=x.dtype, **where)


register(
    _reduction(
        "sum",
        "number",
        "The sum over some axes; integers wrap in their own type, bf16 and f16 accumulate in f32.",
        _sum,
        "add",
        lambda d: 0.0 if d.is_float else 0,
        linear_vjp(lambda b, op, ct: [_spread(b, ct, op)]),
    )
)


def _prod_vjp(b: Builder, op: Op, ct: Value, x: Value, y: Value) -> Value:
    return b.mul(_spread(b, ct, op), exclusive_products(b, x, _axes(op.attributes)))


register(
    _reduction(
        "prod",
        "number",
        "The product over some axes; integers wrap in their own type, bf16 and f16 accumulate in f32.",
        _prod,
        "mul",
        lambda d: 1.0 if d.is_float else 1,
        _in_accumulator(_prod_vjp),
    )
)


def _extremum_vjp(b: Builder, op: Op, ct: Value, x: Value, y: Value) -> Value:
    # The elements that are the extremum share the cotangent; those are the NaNs where there is one.
    chosen = b.bitwise_or(b.eq(x, _spread(b, y, op)), b.ne(x, x))
    count = b.emit("sum", [b.cast(chosen, dtype=x.type.dtype)], op.attributes).result
    zero = b.full_like(x, 0)
    return b.where(chosen, _spread(b, b.div(ct, count), op), zero)


register(
    _reduction(
        "max",
        "number",
        "The largest element over some axes, none of them empty; NaN if any is NaN; of 0.0 and -0.0, either.",
        np.max,
        "maximum",
        lowest,
        _in_accumulator(_extremum_vjp),
        allow_empty=False,
    )
)

register(
    _reduction(
        "min",
        "number",
        "The smallest element over some axes, none of them empty; NaN if any is NaN; of 0.0 and -0.0, either.",
        np.min,
        "minimum",
        highest,
        _in_accumulator(_extremum_vjp),
        allow_empty=False,
    )
)

register(_reduction("any", "bool", "Whether any element over some axes holds.", np.any, "bit_or", lambda d: False))
register(_reduction("all", "bool", "Whether every element over some axes holds.", np.all, "bit_and", lambda d: True))

# --- positions


def _arg_infer(name: str) -> Infer:
    def infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
        if len(_axes(attrs)) != 1:
            raise AttributeValueError(
                f"{name}: axes {_axes(attrs)} must hold exactly one axis; reshape to join several"
            )
        require_dtype(name, types[0], "number")
        result = _reduced(name, types[0], attrs)
        _require_elements(name, types[0], attrs)
        return [tensor(name, i64, result.shape)]

    return infer


def _arg_eval(function: Callable[..., Any]) -> Eval:
    def evaluate(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
        found = function(widen(arrays[0]), axis=_axes(attrs)[0], keepdims=bool(attrs["keepdims"]))
        return [narrow(found, np.dtype(np.int64))]

    return evaluate


def _better(comparison: str) -> Callable[[Scalars, Any, Any], Any]:
    def better(s: Scalars, x: Any, best: Any) -> Any:
        beats = s.call(comparison, x, best)
        if not x.dtype.is_float:
            return beats
        first_nan = s.call("bit_and", s.call("ne", x, x), s.call("eq", best, best))
        return s.call("bit_or", beats, first_nan)

    return better


def _arg_reduction(name: str, doc: str, function: Callable[..., Any], comparison: str) -> OpDef:
    return OpDef(
        name=name,
        kind="reduce",
        doc=doc,
        attrs=_ATTRS,
        infer=_arg_infer(name),
        eval=_arg_eval(function),
        reduction=Reduction(better=_better(comparison)),
        n_operands=1,
        samples=over_types("number", lambda dtype: _samples(dtype, [axes for axes in _AXES if len(axes) == 1], False)),
    )


register(
    _arg_reduction(
        "argmax", "Where along one axis, not empty, the first largest element or first NaN stands.", np.argmax, "gt"
    )
)

register(
    _arg_reduction(
        "argmin", "Where along one axis, not empty, the first smallest element or first NaN stands.", np.argmin, "lt"
    )
)
