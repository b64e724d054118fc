"""Functions of the kernel language that are written as LLVM vector code: their parts, and how Numba learns them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.errors import TypingError
from numba.core.typing.templates import signature

from graphc.codegen import llvm_values as lv
from graphc.codegen.kernel_functions import Types, llvm_type, teach


def internal(module: ir.Module, name: str, arguments: Sequence[ir.Type]) -> tuple[ir.Function, bool]:
    """The module's internal function `name`, and whether it was there before."""
    found = module.globals.get(name)
    if found is not None:
        return found, True
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    function.attributes.add("noinline")
    return function, False


def carry(phi: lv.Value, *incoming: tuple[ir.Block, lv.Value]) -> None:
    for block, value in incoming:
        phi.add_incoming(value, block)


def at(build: ir.IRBuilder, pointer: lv.Value, offset: int, element: ir.Type) -> lv.Value:
    return build.gep(pointer, [lv.I64(offset)], source_etype=element)


def load(build: ir.IRBuilder, pointer: lv.Value, offset: int, vector: ir.VectorType) -> lv.Value:
    address = build.bitcast(at(build, pointer, offset, vector.element), vector.as_pointer())
    return build.load(address, align=width(vector.element))


def store(build: ir.IRBuilder, value: lv.Value, pointer: lv.Value, offset: int, vector: ir.VectorType) -> None:
    address = build.bitcast(at(build, pointer, offset, vector.element), vector.as_pointer())
    build.store(value, address, align=width(vector.element))


def prefetch(build: ir.IRBuilder, pointer: lv.Value) -> None:
    """Bring the line of an address into the first cache; any address will do."""
    name = "llvm.prefetch.p0"
    found = build.module.globals.get(name)
    if found is None:
        type_ = ir.FunctionType(ir.VoidType(), [pointer.type, lv.I32, lv.I32, lv.I32])
        found = ir.Function(build.module, type_, name)
    build.call(found, [pointer, lv.I32(0), lv.I32(3), lv.I32(1)])  # to be read, kept in all levels, data


def width(element: ir.Type) -> int:
    return {lv.F32: 4, lv.F64: 8}.get(element) or element.width // 8


def splat(build: ir.IRBuilder, scalar: lv.Value, vector: ir.VectorType) -> lv.Value:
    undefined = ir.Constant(vector, ir.Undefined)
    return shuffle(build, build.insert_element(undefined, scalar, lv.I32(0)), undefined, [0] * vector.count)


def shuffle(build: ir.IRBuilder, first: lv.Value, second: lv.Value, lanes: Sequence[int]) -> lv.Value:
    return build.shuffle_vector(first, second, ir.Constant(ir.VectorType(lv.I32, len(lanes)), list(lanes)))


def add(build: ir.IRBuilder, x: lv.Value, y: lv.Value) -> lv.Value:
    return build.fadd(x, y) if lv.element(x.type) in (lv.F32, lv.F64) else build.add(x, y)


def multiply_add(build: ir.IRBuilder, x: lv.Value, y: lv.Value, z: lv.Value) -> lv.Value:
    if lv.element(x.type) in (lv.F32, lv.F64):
        return lv.intrinsic(build, "fmuladd", (x, y, z))  # fused where the target has it; never a call
    return build.add(build.mul(x, y), z)


def teach_variants(
    function: Callable[..., None], build: Callable[..., ir.Function], pointers: Sequence[int], values: Mapping[int, Any]
) -> None:
    """Let kernels call `function`: its operands at `pointers`, to one element type, and `values` (with their types)
    become those of the variant that `build` makes; the others are integer literals, which select the variant."""
    name = function.__name__

    def rule(args: Types) -> Any:
        if any(not isinstance(args[i], types.CPointer) or args[i] != args[pointers[0]] for i in pointers):
            raise TypingError(f"{name}: the pointers must be to one element type, got {args}")
        others = [t for i, t in enumerate(args) if i not in pointers and i not in values]
        if not all(isinstance(t, types.IntegerLiteral) for t in others):
            raise TypingError(f"{name}: the tile's shape and strides must be integer literals, got {args}")
        return signature(types.none, *(values.get(i, t) for i, t in enumerate(args)))

    def lower(b: ir.IRBuilder, operands: Types, args: tuple[lv.Value, ...]) -> None:
        variant = [t.literal_value for t in operands if isinstance(t, types.IntegerLiteral)]
        b.call(
            build(b.module, llvm_type(operands[pointers[0]].dtype), *variant), [args[i] for i in (*pointers, *values)]
        )

    teach(function, name, rule, lower)
