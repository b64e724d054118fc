"""Conversions between f16 and f32 for x86 processors older than F16C.

For such a target LLVM calls `__extendhfsf2` and `__truncsfhf2`, which live in the compiler's runtime library; a program
may need libm only, so it brings them along, in integer arithmetic.
"""

from __future__ import annotations

from functools import cache

from llvmlite import ir

from graphc.codegen.llvm_values import F16, F32, I16, I32, Value, constant
from graphc.ir.target import Target

_INFINITY = 0x7F800000


def needs_half_helpers(target: Target) -> bool:
    """Whether f16 code for the target calls the helpers."""
    return target.triple.startswith("x86_64") and "+f16c" not in target.features.split(",")


@cache
def half_helpers() -> str:
    """An LLVM module that defines the helpers, hidden and mergeable."""
    module = ir.Module("half_helpers")
    for name, parameter, result, build in (
        ("__extendhfsf2", F16, F32, _extend),
        ("__truncsfhf2", F32, F16, _truncate),
    ):
        function = ir.Function(module, ir.FunctionType(result, [parameter]), name)
        function.linkage = "linkonce_odr"
        function.attributes.add("nounwind")
        b = ir.IRBuilder(function.append_basic_block())
        b.ret(build(b, function.args[0]))
    # only the code generator refers to them: keep optimisation passes from dropping them
    kept = "@llvm.compiler.used = appending global [2 x ptr] [ptr @__extendhfsf2, ptr @__truncsfhf2]"
    text = str(module).replace("define linkonce_odr", "define linkonce_odr hidden")
    return f'{text}\n{kept}, section "llvm.metadata"\n'


def _extend(b: ir.IRBuilder, x: Value) -> Value:
    bits = b.zext(b.bitcast(x, I16), I32)
    sign = b.shl(b.and_(bits, I32(0x8000)), I32(16))
    magnitude = b.and_(bits, I32(0x7FFF))
    # the exponents' biases differ by 112; the product is exact, and normal for a subnormal x
    shifted = b.shl(magnitude, I32(13))
    finite = b.bitcast(b.fmul(b.bitcast(shifted, F32), constant(F32, 2.0**112)), I32)
    special = b.icmp_unsigned(">=", magnitude, I32(0x7C00))
    return b.bitcast(b.or_(b.select(special, b.or_(shifted, I32(_INFINITY)), finite), sign), F32)


def _truncate(b: ir.IRBuilder, x: Value) -> Value:
    bits = b.bitcast(x, I32)
    magnitude = b.and_(bits, I32(0x7FFFFFFF))
    # round to nearest even: add half of the last place less one, and the last bit that stays
    last = b.and_(b.lshr(magnitude, I32(13)), I32(1))
    normal = b.lshr(b.add(b.sub(magnitude, I32((112 << 23) - 0xFFF)), last), I32(13))
    # the last place of 0.5 is that of an f16 subnormal, so this addition rounds
    half = constant(F32, 0.5)
    subnormal = b.sub(b.bitcast(b.fadd(b.bitcast(magnitude, F32), half), I32), b.bitcast(half, I32))
    result = b.select(b.icmp_unsigned("<", magnitude, I32(0x38800000)), subnormal, normal)
    result = b.select(b.icmp_unsigned(">=", magnitude, I32(0x47800000)), I32(0x7C00), result)
    quiet = b.or_(b.and_(b.lshr(magnitude, I32(13)), I32(0x3FF)), I32(0x7E00))
    result = b.select(b.icmp_unsigned(">", magnitude, I32(_INFINITY)), quiet, result)
    sign = b.and_(b.lshr(bits, I32(16)), I32(0x8000))
    return b.bitcast(b.trunc(b.or_(result, sign), I16), F16)
