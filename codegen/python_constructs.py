"""Teaches Numba what of Python itself a kernel may use: arithmetic and comparisons on indices and floats, `range`,
`not`, and indexing of pointers.

Integers of any width count as i64; nothing else is converted.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import types
from numba.core.errors import TypingError
from numba.core.typing.templates import signature

from graphc.codegen.integer_division import floor_quotient, floor_remainder
from graphc.codegen.kernel_functions import Lower, Rule, Types, plain, teach
from graphc.codegen.llvm_values import I64, Value


class Counter(NamedTuple):
    """An iterator over a range: where its next value is kept, where it ends, its step."""

    place: Value
    stop: Value
    step: Value


_RANGE = types.range_state64_type
_RANGE_ITERATOR = types.range_iter64_type


def _refuse(name: str, operands: Types) -> TypingError:
    return TypingError(
        f"{name} of {', '.join(map(str, operands))}: not in the kernel language; cast the operands first"
    )


def _integers(operands: Types) -> bool:
    return all(isinstance(t, types.Integer) for t in operands)


def _same(operands: Types, kind: type) -> bool:
    return isinstance(operands[0], kind) and all(t == operands[0] for t in operands)


def _arithmetic(name: str) -> Rule:
    def rule(operands: Types) -> Any:
        if _integers(operands):
            return signature(types.int64, *[types.int64] * len(operands))
        if not _same(operands, types.Float):
            raise _refuse(name, operands)
        return signature(operands[0], *operands)

    return rule


def _by_literal(name: str) -> Rule:
    """Division of an index, by a positive literal."""

    def rule(operands: Types) -> Any:
        divisor = operands[1]
        if not (_integers(operands) and isinstance(divisor, types.IntegerLiteral) and divisor.literal_value > 0):
            raise _refuse(name, operands)
        return signature(types.int64, types.int64, types.int64)

    return rule


def _comparison(name: str) -> Rule:
    def rule(operands: Types) -> Any:
        operands = tuple(map(types.unliteral, operands))
        if _integers(operands):
            return signature(types.boolean, types.int64, types.int64)
        if not (_same(operands, types.Float) or _same(operands, types.Boolean)):
            raise _refuse(name, operands)
        return signature(types.boolean, *operands)

    return rule


def _lower_arithmetic(on_integers: str, on_floats: str) -> Lower:
    def lower(b: ir.IRBuilder, operands: Types, args: tuple[Value, ...]) -> Value:
        if isinstance(operands[0], types.Float):
            return getattr(b, on_floats)(*args)
        return getattr(b, on_integers)(*args, flags=["nsw"])

    return lower


def _lower_comparison(sign: str) -> Lower:
    def lower(b: ir.IRBuilder, operands: Types, args: tuple[Value, ...]) -> Value:
        if isinstance(operands[0], types.Float):
            return b.fcmp_unordered(sign, *args) if sign == "!=" else b.fcmp_ordered(sign, *args)
        compare = b.icmp_unsigned if isinstance(operands[0], types.Boolean) else b.icmp_signed
        return compare(sign, *args)

    return lower


def _lower_negation(b: ir.IRBuilder, operands: Types, args: tuple[Value, ...]) -> Value:
    return b.fneg(*args) if isinstance(operands[0], types.Float) else b.sub(I64(0), *args, flags=["nsw"])


def _boolean(name: str) -> Rule:
    def result(operands: Types) -> Any:
        if operands != (types.boolean,):
            raise _refuse(name, operands)
        return types.boolean

    return plain(result)


def _range_rule(operands: Types) -> Any:
    step = operands[2] if len(operands) == 3 else None
    positive = step is None or (isinstance(step, types.IntegerLiteral) and step.literal_value > 0)
    if not (_integers(operands) and positive and 1 <= len(operands) <= 3):
        raise TypingError("range takes one to three integers, of which the step is a positive literal")
    return signature(_RANGE, *[types.int64] * len(operands))


def _lower_range(b: ir.IRBuilder, operands: Types, args: tuple[Value, ...]) -> Value:
    start, stop = args[:2] if len(args) > 1 else (I64(0), args[0])
    return start, stop, args[2] if len(args) == 3 else I64(1)


def _lower_getiter(b: ir.IRBuilder, operands: Types, args: tuple[Value, ...]) -> Counter:
    ((start, stop, step),) = args
    with b.goto_entry_block():
        place = b.alloca(I64)
    b.store(start, place)
    return Counter(place, stop, step)


def _lower_iternext(b: ir.IRBuilder, operands: Types, args: tuple[Value, ...]) -> tuple[Value, Value]:
    """The value, and whether there is one."""
    (counter,) = args
    value = b.load(counter.place)
    b.store(b.add(value, counter.step, flags=["nsw"]), counter.place)
    return value, b.icmp_signed("<", value, counter.stop)


def _only(expected: Any, result: Callable[[Any], Any]) -> Rule:
    def rule(operands: Types) -> Any:
        (operand,) = operands
        if operand != expected:
            raise TypingError(f"a kernel loops over ranges only, not over {operand}")
        return signature(result(operand), operand)

    return rule


def _element_rule(operands: Types) -> Any:
    """p[i] and p[i] = x"""
    pointer, index, *value = map(types.unliteral, operands)
    if not (isinstance(pointer, types.CPointer) and isinstance(index, types.Integer)):
        raise _refuse("indexing", operands)
    if not value:
        return signature(pointer.dtype, pointer, types.int64)
    integers = isinstance(value[0], types.Integer) and pointer.dtype == types.int64
    if value[0] != pointer.dtype and not integers:
        raise _refuse("storing", operands)
    return signature(types.none, pointer, types.int64, pointer.dtype)


def _lower_load(b: ir.IRBuilder, operands: Types, args: tuple[Value, ...]) -> Value:
    return b.load(b.gep(args[0], [args[1]]))


def _lower_store(b: ir.IRBuilder, operands: Types, args: tuple[Value, ...]) -> None:
    b.store(args[2], b.gep(args[0], [args[1]]))


def _teach_all() -> None:
    for name, sign in (("add", "+"), ("sub", "-"), ("mul", "*")):
        teach(getattr(operator, name), sign, _arithmetic(sign), _lower_arithmetic(name, f"f{name}"))
    teach(operator.neg, "unary -", _arithmetic("-"), _lower_negation)
    teach(operator.floordiv, "//", _by_literal("//"), lambda b, _, args: floor_quotient(b, *args))
    teach(operator.mod, "%", _by_literal("%"), lambda b, _, args: floor_remainder(b, *args))
    for name, sign in (("eq", "=="), ("ne", "!="), ("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">=")):
        teach(getattr(operator, name), sign, _comparison(sign), _lower_comparison(sign))
    teach(bool, "bool", _boolean("bool"), lambda b, _, args: args[0])
    teach(operator.not_, "not", _boolean("not"), lambda b, _, args: b.not_(args[0]))
    teach(range, "range", _range_rule, _lower_range)
    teach("getiter", "getiter", _only(_RANGE, lambda t: _RANGE_ITERATOR), _lower_getiter)
    pair = types.Pair(types.int64, types.boolean)
    teach("iternext", "iternext", _only(_RANGE_ITERATOR, lambda t: pair), _lower_iternext)
    teach(operator.getitem, "p[i]", _element_rule, _lower_load)
    teach(operator.setitem, "p[i] = x", _element_rule, _lower_store)


_teach_all()
