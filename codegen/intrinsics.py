"""Teaches Numba the kernel language: how each function of `plain` is typed, strictly, and lowered to LLVM.

The functions are taught as they stand: `graphc.codegen.kernel_functions` keeps what is known of them.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import types
from numba.core.errors import TypingError

from graphc.codegen.conversions import HALF_BITS, HALF_ROUND, HALF_VALUE, emit_cast
from graphc.codegen.integer_division import store_fault
from graphc.codegen.kernel_functions import Lower, Types, plain, teach
from graphc.codegen.llvm_values import REGISTER_TYPES, Value
from graphc.codegen.plain import PLAIN
from graphc.codegen.primitives import EMIT, FAULTING
from graphc.codegen.reductions import ACCUMULATE
from graphc.ir.scalar import PRIMITIVES, Primitive
from graphc.ir.types import DTYPES, DType, bf16, bool_, f16, f32, f64, i8, i16, i32, i64, u8

# What Numba calls the register type of a dtype. Pointers to bool are u8, to bf16 and f16 u16.
NUMBA_TYPES: dict[DType, types.Type] = {
    f32: types.float32,
    f64: types.float64,
    i8: types.int8,
    i16: types.int16,
    i32: types.int32,
    i64: types.int64,
    u8: types.uint8,
    bool_: types.boolean,
}
_DTYPES = {numba_type: dtype for dtype, numba_type in NUMBA_TYPES.items()}
STORAGE_TYPES: dict[DType, types.Type] = {**NUMBA_TYPES, bool_: types.uint8, bf16: types.uint16, f16: types.uint16}

Rule = Callable[[Types], types.Type]  # the result type; raises TypingError

_FAULT = types.CPointer(types.int32)


def _teach(name: str, arity: int, rule: Rule, lower: Lower) -> None:
    """Let kernels call `PLAIN[name]`, with `arity` operands."""

    def result(operands: Types) -> types.Type:
        if len(operands) != arity:
            raise TypingError(f"{name} takes {arity} operands; got {len(operands)}")
        return rule(operands)

    teach(PLAIN[name], name, plain(result), lower)


def _reject(name: str, operands: Types) -> TypingError:
    return TypingError(f"{name}({', '.join(map(str, operands))}): not in the kernel language; cast the operands first")


def _family(dtype: DType) -> str:
    return "f" if dtype.is_float else "b" if dtype.is_bool else "i"


def _primitive_rule(primitive: Primitive) -> Rule:
    def rule(operands: Types) -> types.Type:
        values = operands[: primitive.arity]
        typed = values[1:] if primitive.result == "select" else values
        first = _DTYPES.get(typed[0])
        accepted = first is not None and _family(first) in primitive.domain and all(t == typed[0] for t in typed)
        if primitive.result == "select":
            accepted = accepted and values[0] == types.boolean
        if primitive.name == "philox":
            accepted = first == i64
        if not accepted or any(t != _FAULT for t in operands[primitive.arity :]):
            raise _reject(primitive.name, operands)
        fixed = {"bool": types.boolean, "i64": types.int64}
        return fixed[primitive.result] if primitive.result in fixed else typed[0]

    return rule


def _primitive(primitive: Primitive) -> None:
    emit, position = EMIT[primitive.name], 1 if primitive.result == "select" else 0
    _teach(
        primitive.name,
        primitive.arity + (primitive.name in FAULTING),
        _primitive_rule(primitive),
        lambda b, operands, args: emit(b, _DTYPES[operands[position]], *args),
    )


def _cast(target: DType) -> None:
    def rule(operands: Types) -> types.Type:
        if operands[0] not in _DTYPES:
            raise _reject(f"cast_{target}", operands)
        return NUMBA_TYPES.get(target, types.float32)

    _teach(f"cast_{target}", 1, rule, lambda b, operands, args: emit_cast(b, _DTYPES[operands[0]], target, *args))


def _fixed(name: str, parameters: Types, result: types.Type, lower: Callable[..., Value]) -> None:
    """A function of fixed parameter types; an integer index may be of any width."""

    def rule(operands: Types) -> types.Type:
        for given, wanted in zip(operands, parameters, strict=True):
            if given != wanted and not (wanted == types.int64 and isinstance(given, types.Integer)):
                raise _reject(name, operands)
        return result

    _teach(name, len(parameters), rule, lambda b, operands, args: lower(b, *args))


def _half_memory(name: str) -> None:
    pointer = types.CPointer(types.uint16)

    def load(b: ir.IRBuilder, p: Value, i: Value) -> Value:
        return HALF_VALUE[name](b, b.load(b.gep(p, [i])))

    def store(b: ir.IRBuilder, p: Value, i: Value, x: Value) -> None:
        b.store(HALF_BITS[name](b, x), b.gep(p, [i]))

    _fixed(f"load_{name}", (pointer, types.int64), types.float32, load)
    _fixed(f"store_{name}", (pointer, types.int64, types.float32), types.none, store)
    _fixed(f"round_{name}", (types.float32,), types.float32, HALF_ROUND[name])


def _bool_memory() -> None:
    pointer, byte = types.CPointer(types.uint8), ir.IntType(8)

    def load(b: ir.IRBuilder, p: Value, i: Value) -> Value:
        return b.icmp_unsigned("!=", b.load(b.gep(p, [i])), byte(0))

    def store(b: ir.IRBuilder, p: Value, i: Value, x: Value) -> None:
        b.store(b.zext(x, byte), b.gep(p, [i]))

    _fixed("load_bool", (pointer, types.int64), types.boolean, load)
    _fixed("store_bool", (pointer, types.int64, types.boolean), types.none, store)


def _accumulate(name: str) -> None:
    def rule(operands: Types) -> types.Type:
        if operands[0] != operands[1] or operands[0] not in _DTYPES:
            raise _reject(name, operands)
        return operands[0]

    _teach(name, 2, rule, lambda b, operands, args: ACCUMULATE[name](b, _DTYPES[operands[0]], *args))


def _offset() -> None:
    def rule(operands: Types) -> types.Type:
        if not (isinstance(operands[0], types.CPointer) and isinstance(operands[1], types.Integer)):
            raise _reject("offset", operands)
        return operands[0]

    def lower(b: ir.IRBuilder, operands: Types, args: tuple[Value, ...]) -> Value:
        pointer, count = args
        return b.gep(pointer, [count])

    _teach("offset", 2, rule, lower)


def _scratch(dtype: DType) -> None:
    pointee = ir.IntType(8 * dtype.itemsize) if dtype in (bf16, f16, bool_) else REGISTER_TYPES[dtype]

    def lower(b: ir.IRBuilder, scratch: Value, byte_offset: Value) -> Value:
        return b.bitcast(b.gep(scratch, [byte_offset]), pointee.as_pointer())

    parameters = (types.CPointer(types.uint8), types.int64)
    _fixed(f"scratch_{dtype}", parameters, types.CPointer(STORAGE_TYPES[dtype]), lower)


def _teach_all() -> None:
    for primitive in PRIMITIVES.values():
        if primitive.name != "cast":
            _primitive(primitive)
    for dtype in DTYPES.values():
        _cast(dtype)
        _scratch(dtype)
    for name in HALF_ROUND:
        _half_memory(name)
    for name in ACCUMULATE:
        _accumulate(name)
    _bool_memory()
    _offset()
    _fixed("raise_fault", (_FAULT,), types.none, store_fault)


_teach_all()
