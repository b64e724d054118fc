"""LLVM values that may be scalars or vectors: types, constants, intrinsics and calls into libm.

Everything here takes and returns `llvmlite.ir` values and works lane by lane, so the code that uses it need not know
whether it builds for one element (a Numba intrinsic) or for a register (the contraction kernels).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from graphc.ir.types import DType, bf16, bool_, f16, f32, f64, i8, i16, i32, i64, u8

Value = Any  # an llvmlite.ir value: llvmlite has no type stubs

I1 = ir.IntType(1)
I16 = ir.IntType(16)
I32 = ir.IntType(32)
I64 = ir.IntType(64)
F16 = ir.HalfType()
F32 = ir.FloatType()
F64 = ir.DoubleType()

# What generated code may call in the C library: `libm` below, and what LLVM makes of such calls.
LIBM_SYMBOLS = frozenset(
    {"exp", "expm1", "log", "log1p", "tanh", "erf", "sin", "cos", "pow", "fmod", "fmodf"}
    | {"exp2", "exp10", "ldexp", "sincos"}
)

# What a value of a dtype is in a register: bool is one bit, the half precisions are carried as f32.
REGISTER_TYPES: dict[DType, Any] = {
    f32: F32,
    f64: F64,
    bf16: F32,
    f16: F32,
    i8: ir.IntType(8),
    i16: I16,
    i32: I32,
    i64: I64,
    u8: ir.IntType(8),
    bool_: I1,
}


def element(type_: Any) -> Any:
    """The element type of a vector type; a scalar type itself."""
    return type_.element if isinstance(type_, ir.VectorType) else type_


def reshape_type(element_type: Any, like: Any) -> Any:
    """`element_type` with as many lanes as the type `like` has."""
    return ir.VectorType(element_type, like.count) if isinstance(like, ir.VectorType) else element_type


def constant(type_: Any, value: float | int) -> Value:
    """A constant of a scalar type, or a splat of a vector type."""
    if isinstance(type_, ir.VectorType):
        return ir.Constant(type_, [value] * type_.count)
    return ir.Constant(type_, value)


def _mangled(type_: Any) -> str:
    inner = element(type_)
    if isinstance(inner, ir.IntType):
        name = f"i{inner.width}"
    else:
        name = {F16: "f16", F32: "f32", F64: "f64"}[inner]
    return f"v{type_.count}{name}" if isinstance(type_, ir.VectorType) else name


def _declare(module: ir.Module, name: str, type_: ir.FunctionType) -> ir.Function:
    found = module.globals.get(name)
    return ir.Function(module, type_, name) if found is None else found


def intrinsic(
    b: ir.IRBuilder, name: str, args: Sequence[Value], result: Any = None, fastmath: tuple[str, ...] = ()
) -> Value:
    """Call `llvm.<name>`, overloaded on its result type (that of the first argument unless given) and, where the two
    differ, on the type of the first argument."""
    first = args[0].type
    result = first if result is None else result
    overloads = [result] if result == first else [result, first]
    full_name = ".".join(["llvm", name, *map(_mangled, overloads)])
    function = _declare(b.module, full_name, ir.FunctionType(result, [a.type for a in args]))
    return b.call(function, args, fastmath=fastmath)


def per_lane(b: ir.IRBuilder, scalar: Callable[..., Value], args: Sequence[Value], result: Any) -> Value:
    """Apply a builder of scalar values to each lane: for what has no vector form."""
    type_ = args[0].type
    if not isinstance(type_, ir.VectorType):
        return scalar(*args)
    value = ir.Constant(ir.VectorType(result, type_.count), ir.Undefined)
    for lane in range(type_.count):
        index = ir.Constant(I32, lane)
        value = b.insert_element(value, scalar(*(b.extract_element(a, index) for a in args)), index)
    return value


def libm(b: ir.IRBuilder, name: str, args: Sequence[Value]) -> Value:
    """Call a function of `LIBM_SYMBOLS`, once per lane. Nobody reads errno, so the call is pure."""
    type_ = element(args[0].type)
    function = _declare(b.module, name, ir.FunctionType(type_, [type_] * len(args)))
    function.attributes.add("nounwind")
    function.attributes.add("readnone")
    return per_lane(b, lambda *xs: b.call(function, xs), args, type_)


def any_lane(b: ir.IRBuilder, condition: Value) -> Value:
    """Whether a condition holds in any lane, as one i1."""
    type_ = condition.type
    if not isinstance(type_, ir.VectorType):
        return condition
    bits = ir.IntType(type_.count)
    return b.icmp_unsigned("!=", b.bitcast(condition, bits), ir.Constant(bits, 0))
