"""Conversions between element types, and between half precisions and the f32 that carries them in registers."""

from __future__ import annotations

from typing import TypeAlias

from llvmlite import ir

from graphc.codegen.llvm_values import (
    F16,
    F32,
    F64,
    I16,
    I32,
    REGISTER_TYPES,
    Value,
    constant,
    element,
    intrinsic,
    reshape_type,
)
from graphc.ir.types import DType, bf16, f16, f32

Builder: TypeAlias = ir.IRBuilder


def emit_cast(b: Builder, source: DType, target: DType, x: Value) -> Value:
    """`x` of element type `source` as `target`. Float to integer truncates, saturates and takes NaN to 0; to bool is
    x != 0; an integer wraps. A half-precision result is rounded from f32, as the interpreter does, and stays f32."""
    if target in (bf16, f16) and source != target:
        return HALF_ROUND[target.name](b, emit_cast(b, source, f32, x))
    type_ = reshape_type(REGISTER_TYPES[target], x.type)
    if source == target or (type_ == x.type and source.is_float):
        return x
    zero = constant(x.type, 0)
    if target.is_bool:
        return b.fcmp_unordered("!=", x, zero) if source.is_float else b.icmp_unsigned("!=", x, zero)
    if source.is_float:
        return _from_float(b, target, x, type_)
    if target.is_float:
        return b.sitofp(x, type_) if source.kind == "int" else b.uitofp(x, type_)
    if element(type_).width <= element(x.type).width:
        return b.trunc(x, type_) if element(type_).width < element(x.type).width else x
    return b.sext(x, type_) if source.kind == "int" else b.zext(x, type_)


def _from_float(b: Builder, target: DType, x: Value, type_: ir.Type) -> Value:
    if target.is_float:
        return b.fpext(x, type_) if element(type_) == F64 else b.fptrunc(x, type_)
    return intrinsic(b, "fptosi.sat" if target.kind == "int" else "fptoui.sat", (x,), result=type_)


def bf16_bits(b: Builder, x: Value) -> Value:
    """The i16 pattern of the bf16 nearest to the f32 `x` (ties to even); a NaN stays a quiet NaN."""
    wide, narrow = reshape_type(I32, x.type), reshape_type(I16, x.type)
    bits = b.bitcast(x, wide)
    sixteen = constant(wide, 16)
    last = b.and_(b.lshr(bits, sixteen), constant(wide, 1))
    rounded = b.add(bits, b.add(last, constant(wide, 0x7FFF)))
    quiet = b.or_(bits, constant(wide, 0x00400000))
    return b.trunc(b.lshr(b.select(b.fcmp_unordered("uno", x, x), quiet, rounded), sixteen), narrow)


def bf16_value(b: Builder, bits: Value) -> Value:
    """The f32 with the value of an i16 bf16 pattern."""
    wide = reshape_type(I32, bits.type)
    return b.bitcast(b.shl(b.zext(bits, wide), constant(wide, 16)), reshape_type(F32, bits.type))


def f16_bits(b: Builder, x: Value) -> Value:
    """The i16 pattern of the f16 nearest to the f32 `x` (ties to even)."""
    return b.bitcast(b.fptrunc(x, reshape_type(F16, x.type)), reshape_type(I16, x.type))


def f16_value(b: Builder, bits: Value) -> Value:
    """The f32 with the value of an i16 f16 pattern."""
    return b.fpext(b.bitcast(bits, reshape_type(F16, bits.type)), reshape_type(F32, bits.type))


def round_bf16(b: Builder, x: Value) -> Value:
    """The bf16 nearest to an f32, as f32."""
    return bf16_value(b, bf16_bits(b, x))


def round_f16(b: Builder, x: Value) -> Value:
    """The f16 nearest to an f32, as f32."""
    return f16_value(b, f16_bits(b, x))


HALF_BITS = {"bf16": bf16_bits, "f16": f16_bits}
HALF_VALUE = {"bf16": bf16_value, "f16": f16_value}
HALF_ROUND = {"bf16": round_bf16, "f16": round_f16}
