"""Rewrites of ops over constants that hold one number."""

from __future__ import annotations

from graphc.ir.attributes import DenseArray
from graphc.ir.builder import Builder
from graphc.ir.graph import Op, Value
from graphc.ir.opdef import lookup
from graphc.passes.algebra.table import names_of, rule, source
from graphc.passes.constants import emit_constant, is_uniform, splat_of
from graphc.passes.fold import fold_splats


@rule("constant")
def constant_of_one_number(b: Builder, op: Op) -> Value | None:
    """constant array of equal elements -> splat"""
    array = op.attributes["value"]
    if not isinstance(array, DenseArray) or not is_uniform(array.array):
        return None
    return emit_constant(b, array.array, op.result.type)


@rule(*names_of(kind="layout"), *names_of(kind="pointwise"))
def op_of_splats(b: Builder, op: Op, *operands: Value) -> Value | None:
    """layout(splat), f(splat, ...) -> splat, unless that faults"""
    return fold_splats(b, lookup(op.name), op, operands)


@rule(*names_of(kind="pointwise"))
def pointwise_of_choice(b: Builder, op: Op, *operands: Value) -> Value | None:
    """f(where(c, splat, splat), splat) -> where(c, splat, splat), unless that faults"""
    varying = [i for i, v in enumerate(operands) if splat_of(v) is None]
    choice = source(operands[varying[0]], "where") if len(varying) == 1 else None
    if choice is None or choice.operands[0].type.shape != op.result.type.shape:
        return None
    chosen = []
    for branch in choice.operands[1:]:
        if splat_of(branch) is None:
            return None
        replaced = [branch if i == varying[0] else v for i, v in enumerate(operands)]
        chosen.append(fold_splats(b, lookup(op.name), op, replaced))
    return None if None in chosen else b.where(choice.operands[0], *chosen)
