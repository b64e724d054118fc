"""Ops about the program itself: the gradient of a part of it, and the fused kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from graphc.ir.attributes import Attributes
from graphc.ir.errors import AttributeValueError, DTypeError, GraphcError, ShapeError
from graphc.ir.opdef import Array, AttrSpec, OpDef, register
from graphc.ir.types import TensorType

FUSED_KINDS = ("loop", "reduction", "contraction", "scatter")


def _gradient_infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    n = cast(int, attrs["targets"])
    if n < 1 or len(types) < 2 * n + 1:
        raise AttributeValueError(
            f"gradient: {len(types)} operands with targets = {n}; it takes targets, as many cotangents, "
            "and at least one value to differentiate by"
        )
    targets, cotangents, wrt = types[:n], types[n : 2 * n], types[2 * n :]
    for found in (*targets, *wrt):
        if not found.dtype.is_float:
            raise DTypeError(f"gradient: {found} is not a float tensor; only floats have gradients: cast it first")
    for target, cotangent in zip(targets, cotangents, strict=True):
        if target != cotangent:
            raise ShapeError(f"gradient: the cotangent {cotangent} must have the type of its target {target}")
    return list(wrt)


def _gradient_eval(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
    raise GraphcError("gradient: it has no value by itself; run the autodiff pass first")


register(
    OpDef(
        name="gradient",
        kind="meta",
        doc="gradient(targets, cotangents, wrt): the gradient by each wrt value; zeros where no target depends on it.",
        attrs={"targets": AttrSpec(int, 1)},
        infer=_gradient_infer,
        eval=_gradient_eval,
        n_operands=None,
    )
)


def _fused_infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    raise AttributeValueError("fused: its result types are those of its region; make the Op directly and append it")


def _fused_eval(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
    raise GraphcError("fused: its value is that of its region; interpret the region")


register(
    OpDef(
        name="fused",
        kind="fused",
        doc="A kernel: a region of ordinary ops, isolated from above, whose arguments are the operands.",
        attrs={"kind": AttrSpec(str, choices=FUSED_KINDS)},
        infer=_fused_infer,
        eval=_fused_eval,
        n_operands=None,
    )
)
