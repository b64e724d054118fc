"""Rewrites of comparisons, logic and selection."""

from __future__ import annotations

from graphc.ir.builder import Builder
from graphc.ir.graph import Op, Value
from graphc.passes.algebra.table import rule, source
from graphc.passes.constants import is_constant, is_number, splat_of

MIRRORED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}
COMPLEMENT = {"eq": "ne", "ne": "eq"}  # of floats too: NaN == x is false, NaN != x is true
INTEGER_COMPLEMENT = {**COMPLEMENT, "lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}


# --- comparisons ------------------------------------------------------------------------------------------------------


@rule(*MIRRORED)
def compare_constant_on_the_right(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """c < x -> x > c, and the like"""
    return b.emit(MIRRORED[op.name], [y, x]).result if is_constant(x) and not is_constant(y) else None


@rule("lt", "gt", "ne", "le", "ge", "eq")
def compare_with_itself(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """x < x, x > x -> false;  unless floats: x != x -> false, x <= x, x >= x, x == x -> true"""
    if x is not y or (x.type.dtype.is_float and op.name not in ("lt", "gt")):
        return None
    return b.constant(op.name in ("le", "ge", "eq"), op.result.type)


@rule("eq", "ne")
def compare_with_bool(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """x == true, x != false -> x;  x == false, x != true -> not x"""
    wanted = splat_of(y)
    if not x.type.dtype.is_bool or wanted is None:
        return None
    return x if bool(wanted) == (op.name == "eq") else b.bitwise_not(x)


# --- logic ------------------------------------------------------------------------------------------------------------


@rule("bitwise_not")
def not_comparison(b: Builder, op: Op, x: Value) -> Value | None:
    """not (x == y) -> x != y, and back;  unless floats: not (x < y) -> x >= y, and the like"""
    if x.op is None:
        return None
    is_float = bool(x.op.operands) and x.op.operands[0].type.dtype.is_float
    other = (COMPLEMENT if is_float else INTEGER_COMPLEMENT).get(x.op.name)
    return b.emit(other, x.op.operands).result if other else None


@rule("bitwise_and", "bitwise_or")
def absorbing_element(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """x & 0 -> 0;  x | all ones -> all ones"""
    ones: int = True if x.type.dtype.is_bool else 255 if x.type.dtype.kind == "uint" else -1
    return y if is_number(y, 0 if op.name == "bitwise_and" else ones) else None


@rule("bitwise_xor")
def xor_itself(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """x ^ x -> 0"""
    return b.full_like(x, 0) if x is y else None


@rule("bitwise_xor")
def xor_true(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """bools: x ^ true -> not x"""
    return b.bitwise_not(x) if x.type.dtype.is_bool and is_number(y, True) else None


# --- where ------------------------------------------------------------------------------------------------------------


@rule("where")
def where_known(b: Builder, op: Op, condition: Value, x: Value, y: Value) -> Value | None:
    """where(true, x, y) -> x;  where(false, x, y) -> y"""
    known = splat_of(condition)
    return None if known is None else x if known else y


@rule("where")
def where_same(b: Builder, op: Op, condition: Value, x: Value, y: Value) -> Value | None:
    """where(c, x, x) -> x"""
    return x if x is y else None


@rule("where")
def where_not(b: Builder, op: Op, condition: Value, x: Value, y: Value) -> Value | None:
    """where(not c, x, y) -> where(c, y, x)"""
    inverted = source(condition, "bitwise_not")
    return b.where(inverted.operands[0], y, x) if inverted else None


@rule("where")
def where_bool(b: Builder, op: Op, condition: Value, x: Value, y: Value) -> Value | None:
    """where(c, true, false) -> c;  where(c, false, true) -> not c"""
    chosen = splat_of(x), splat_of(y)
    if not x.type.dtype.is_bool or None in chosen or chosen[0] == chosen[1]:
        return None
    return condition if chosen[0] else b.bitwise_not(condition)


@rule("where")
def where_nested(b: Builder, op: Op, condition: Value, x: Value, y: Value) -> Value | None:
    """where(c, where(c, x, _), y) -> where(c, x, y);  where(c, x, where(c, _, y)) -> where(c, x, y)"""
    left, right = source(x, "where"), source(y, "where")
    if left and left.operands[0] is condition:
        return b.where(condition, left.operands[1], y)
    if right and right.operands[0] is condition:
        return b.where(condition, x, right.operands[2])
    return None
