"""The register-tiled heart of a contraction, as LLVM: `micro_kernel` and `transpose_tile` of the kernel language.

A micro-kernel holds a tile of `rows` x (`vectors` * `lanes`) accumulators in registers and adds one rank-1 update per
step of the summed index: it broadcasts an element of each row of A and multiplies it by the row of B, which it loads as
vectors. See Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), and Van Zee and van de
Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS Functionality" (2015). Where B's elements lie along the summed
index, `transpose_tile` turns them in registers while they are packed.

Each is a plain Python function over NumPy arrays, so that kernel source runs uncompiled; Numba is taught to call in its
place, an internal LLVM function of the kernel's module, made for the tile's shape and the strides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.core.typing.templates import AbstractTemplate, builtin_registry, signature
from numba.extending import lower_builtin

from graphc.codegen import llvm_values as lv
from graphc.codegen.plain import fma

Array = np.ndarray[Any, Any]


def micro_kernel_function(
    module: ir.Module,
    element: ir.Type,
    rows: int,
    vectors: int,
    lanes: int,
    a_row: int,
    a_step: int,
    b_step: int,
    tile_row: int,
) -> ir.Function:
    """`void f(a, b, tile, i64 depth, i1 accumulate)`, made once per module and variant.

    tile[r * tile_row + c] = sum over s < depth of a[r * a_row + s * a_step] * b[s * b_step + c], added to what the tile
    held where `accumulate` is set. Steps are summed in order, each with one rounding where the target has fused
    multiply-add. `depth` >= 1; no alignment beyond the element's is assumed.
    """
    pointer, vector = element.as_pointer(), ir.VectorType(element, lanes)
    name = f"micro_kernel_{element}_{rows}x{vectors * lanes}_{a_row}_{a_step}_{b_step}_{tile_row}"
    function, made = _internal(module, name, [pointer, pointer, pointer, lv.I64, lv.I1])
    if made:
        return function
    a, b, tile, depth, accumulate = function.args
    for argument in (a, b, tile):
        argument.add_attribute("noalias")
    entry, loop, done, store, update, leave = (
        function.append_basic_block(block) for block in ("entry", "loop", "done", "store", "update", "leave")
    )
    cells = [(r, v) for r in range(rows) for v in range(vectors)]
    zero = lv.constant(vector, 0)

    build = ir.IRBuilder(entry)
    build.branch(loop)

    build.position_at_end(loop)
    step = build.phi(lv.I64, "step")
    a_here, b_here = build.phi(pointer, "a"), build.phi(pointer, "b")
    sums = {cell: build.phi(vector) for cell in cells}
    b_row = [_load(build, b_here, v * lanes, vector) for v in range(vectors)]
    totals = {}
    for r in range(rows):
        splat = _splat(build, build.load(build.gep(a_here, [lv.I64(r * a_row)], source_etype=element)), vector)
        for v in range(vectors):
            totals[r, v] = _multiply_add(build, splat, b_row[v], sums[r, v])
    step_next = build.add(step, lv.I64(1))
    a_next = build.gep(a_here, [lv.I64(a_step)], source_etype=element)
    b_next = build.gep(b_here, [lv.I64(b_step)], source_etype=element)
    for phi, first, following in ((step, lv.I64(0), step_next), (a_here, a, a_next), (b_here, b, b_next)):
        phi.add_incoming(first, entry)
        phi.add_incoming(following, loop)
    for cell in cells:
        sums[cell].add_incoming(zero, entry)
        sums[cell].add_incoming(totals[cell], loop)
    build.cbranch(build.icmp_signed("<", step_next, depth), loop, done)

    build.position_at_end(done)
    build.cbranch(accumulate, update, store)

    for block, adds in ((store, False), (update, True)):
        build.position_at_end(block)
        for r, v in cells:
            at = r * tile_row + v * lanes
            total = _add(build, _load(build, tile, at, vector), totals[r, v]) if adds else totals[r, v]
            _store(build, total, tile, at, vector)
        build.branch(leave)

    build.position_at_end(leave)
    build.ret_void()
    return function


def transpose_function(
    module: ir.Module, element: ir.Type, lanes: int, count: int, source_row: int, target_row: int
) -> ir.Function:
    """`void f(source, target)`, made once per module and variant: target[j * target_row + i] =
    source[i * source_row + j] for i < count and j < lanes, and 0 for count <= i < lanes. `lanes` is a power of two.

    log2(lanes) rounds; round s swaps, between rows i and i + 2**s, the off-diagonal halves of blocks of 2**(s+1).
    """
    pointer, vector = element.as_pointer(), ir.VectorType(element, lanes)
    name = f"transpose_{element}_{count}x{lanes}_{source_row}_{target_row}"
    function, made = _internal(module, name, [pointer, pointer])
    if made:
        return function
    source, target = function.args
    source.add_attribute("noalias")
    target.add_attribute("noalias")
    build = ir.IRBuilder(function.append_basic_block("entry"))
    zero = lv.constant(vector, 0)
    rows = [_load(build, source, i * source_row, vector) if i < count else zero for i in range(lanes)]
    span = 1
    while span < lanes:
        low = [lane if not lane & span else lane - span + lanes for lane in range(lanes)]
        high = [lane + span if not lane & span else lane + lanes for lane in range(lanes)]
        for i in range(lanes):
            if not i & span:
                first, second = rows[i], rows[i + span]
                rows[i] = _shuffle(build, first, second, low)
                rows[i + span] = _shuffle(build, first, second, high)
        span *= 2
    for j in range(lanes):
        _store(build, rows[j], target, j * target_row, vector)
    build.ret_void()
    return function


def _internal(module: ir.Module, name: str, arguments: Sequence[ir.Type]) -> tuple[ir.Function, bool]:
    """The module's internal function `name`, and whether it was there before."""
    found = module.globals.get(name)
    if found is not None:
        return found, True
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    function.attributes.add("noinline")
    return function, False


def _load(build: ir.IRBuilder, pointer: lv.Value, at: int, vector: ir.VectorType) -> lv.Value:
    address = build.gep(pointer, [lv.I64(at)], source_etype=vector.element)
    return build.load(build.bitcast(address, vector.as_pointer()), align=_width(vector.element))


def _store(build: ir.IRBuilder, value: lv.Value, pointer: lv.Value, at: int, vector: ir.VectorType) -> None:
    address = build.gep(pointer, [lv.I64(at)], source_etype=vector.element)
    build.store(value, build.bitcast(address, vector.as_pointer()), align=_width(vector.element))


def _width(element: ir.Type) -> int:
    return {lv.F32: 4, lv.F64: 8}.get(element) or element.width // 8


def _splat(build: ir.IRBuilder, scalar: lv.Value, vector: ir.VectorType) -> lv.Value:
    undefined = ir.Constant(vector, ir.Undefined)
    return _shuffle(build, build.insert_element(undefined, scalar, lv.I32(0)), undefined, [0] * vector.count)


def _shuffle(build: ir.IRBuilder, first: lv.Value, second: lv.Value, lanes: Sequence[int]) -> lv.Value:
    return build.shuffle_vector(first, second, ir.Constant(ir.VectorType(lv.I32, len(lanes)), list(lanes)))


def _add(build: ir.IRBuilder, x: lv.Value, y: lv.Value) -> lv.Value:
    return build.fadd(x, y) if lv.element(x.type) in (lv.F32, lv.F64) else build.add(x, y)


def _multiply_add(build: ir.IRBuilder, x: lv.Value, y: lv.Value, z: lv.Value) -> lv.Value:
    if lv.element(x.type) in (lv.F32, lv.F64):
        return lv.intrinsic(build, "fmuladd", (x, y, z))  # fused where the target has it; never a call
    return build.add(build.mul(x, y), z)


# --- the kernel language's names, as plain Python over NumPy arrays


def micro_kernel(
    rows: int,
    vectors: int,
    lanes: int,
    a: Array,
    a_row: int,
    a_step: int,
    b: Array,
    b_step: int,
    tile: Array,
    tile_row: int,
    depth: int,
    accumulate: bool,
) -> None:
    """What `micro_kernel_function` says; the tile's shape and the strides are literals in kernel source."""
    columns = vectors * lanes
    with np.errstate(all="ignore"):
        total = np.zeros((rows, columns), tile.dtype)
        for step in range(depth):
            left = a[step * a_step + np.arange(rows) * a_row][:, None]
            right = b[step * b_step : step * b_step + columns]
            total = fma(left, right, total) if total.dtype.kind == "f" else left * right + total
        at = np.arange(rows)[:, None] * tile_row + np.arange(columns)
        tile[at] = tile[at] + total if accumulate else total


def transpose_tile(lanes: int, count: int, source: Array, source_row: int, target: Array, target_row: int) -> None:
    """What `transpose_function` says; all but the pointers are literals in kernel source."""
    block = np.zeros((lanes, lanes), source.dtype)
    for i in range(count):
        block[i] = source[i * source_row : i * source_row + lanes]
    for j in range(lanes):
        target[j * target_row : j * target_row + lanes] = block[:, j]


MICRO_KERNELS: dict[str, Any] = {"micro_kernel": micro_kernel, "transpose_tile": transpose_tile}


# --- the same names for Numba


def _teach(
    function: Callable[..., None], build: Callable[..., ir.Function], pointers: Sequence[int], values: Mapping[int, Any]
) -> None:
    """Let kernels call `function`: its operands at `pointers`, to one element type, and `values` (with their types)
    become those of the variant that `build` makes; the others are integer literals, which select the variant."""
    name = function.__name__

    class Typing(AbstractTemplate):
        key = function
        prefer_literal = True

        def generic(self, args: Sequence[Any], keywords: Any) -> Any:
            if any(not isinstance(args[i], types.CPointer) or args[i] != args[pointers[0]] for i in pointers):
                raise TypingError(f"{name}: the pointers must be to one element type, got {args}")
            others = [t for i, t in enumerate(args) if i not in pointers and i not in values]
            if not all(isinstance(t, types.IntegerLiteral) for t in others):
                raise TypingError(f"{name}: the tile's shape and strides must be integer literals, got {args}")
            return signature(types.none, *(values.get(i, t) for i, t in enumerate(args)))

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Sequence[lv.Value]) -> lv.Value:
        variant = [t.literal_value for t in signature.args if isinstance(t, types.IntegerLiteral)]
        element = context.get_value_type(signature.args[pointers[0]].dtype)
        builder.call(build(builder.module, element, *variant), [args[i] for i in (*pointers, *values)])
        return context.get_dummy_value()

    builtin_registry.register_global(function, types.Function(Typing))
    lower_builtin(function, types.VarArg(types.Any))(generate)


_teach(micro_kernel, micro_kernel_function, (3, 6, 8), {10: types.int64, 11: types.boolean})
_teach(transpose_tile, transpose_function, (2, 4), {})
