"""Runs a primitive's LLVM builder on vector values, as the contraction kernels use it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from graphc.codegen.host import host_target
from graphc.codegen.llvm import compile_module
from graphc.ir.types import DType

Array = np.ndarray[Any, Any]

_ELEMENTS = {"f4": ir.FloatType(), "f8": ir.DoubleType(), "b1": ir.IntType(8)}
_I64 = ir.IntType(64)
_serial = iter(range(1 << 30))


def _element(dtype: np.dtype[Any]) -> ir.Type:
    return _ELEMENTS.get(dtype.str[1:]) or ir.IntType(8 * dtype.itemsize)


def run_on_vectors(
    emit: Callable[..., Any],
    dtype: DType,
    operands: Sequence[Array],
    result: np.dtype[Any],
    lanes: int,
    faulting: bool,
) -> tuple[Array, int]:
    """`emit` applied to `lanes` elements at a time; the operands' length is a multiple of it. Also the fault word."""
    name = f"on_vectors_{next(_serial)}"
    image = compile_module(str(_module(name, emit, dtype, operands, result, lanes, faulting)), host_target())
    jit = llvm.create_lljit_compiler(llvm.Target.from_default_triple().create_target_machine(jit=True))
    builder = llvm.JITLibraryBuilder().add_object_img(image).add_current_process().export_symbol(name)
    tracker = builder.link(jit, name)
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (len(operands) + 2), ctypes.c_int64)(tracker[name])
    out, fault = np.empty(len(operands[0]), result), np.zeros(1, np.int32)
    contiguous = [np.ascontiguousarray(x) for x in operands]
    function(*(a.ctypes.data for a in (*contiguous, out, fault)), len(out) // lanes)
    return out, int(fault[0])


def _module(
    name: str,
    emit: Callable[..., Any],
    dtype: DType,
    operands: Sequence[Array],
    result: np.dtype[Any],
    lanes: int,
    faulting: bool,
) -> ir.Module:
    module = ir.Module(name)
    pointers = [ir.PointerType()] * (len(operands) + 2)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [*pointers, _I64]), name)
    *inputs, out, fault, count = function.args
    entry, loop, done = (function.append_basic_block(part) for part in ("entry", "loop", "done"))
    ir.IRBuilder(entry).branch(loop)
    b = ir.IRBuilder(loop)
    i = b.phi(_I64)
    i.add_incoming(_I64(0), entry)

    def place(pointer: Any, element: ir.Type) -> tuple[Any, ir.VectorType]:
        vector = ir.VectorType(element, lanes)
        return b.gep(pointer, [i], source_etype=vector), vector

    values = []
    for pointer, array in zip(inputs, operands, strict=True):
        address, vector = place(pointer, _element(array.dtype))
        value = b.load(address, align=1, typ=vector)
        values.append(b.trunc(value, ir.VectorType(ir.IntType(1), lanes)) if array.dtype == np.bool_ else value)
    value = emit(b, dtype, *values, *([fault] if faulting else []))
    address, vector = place(out, _element(result))
    b.store(b.zext(value, vector) if result == np.bool_ else value, address, align=1)
    following = b.add(i, _I64(1))
    i.add_incoming(following, b.block)
    b.cbranch(b.icmp_signed("<", following, count), loop, done)
    ir.IRBuilder(done).ret_void()
    return module
