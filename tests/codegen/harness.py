"""Runs one kernel by itself, natively and as Python, between guard bytes that show any stray access."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from graphc.codegen.frontend import python_kernel
from graphc.codegen.host import host_target
from graphc.codegen.kernel import Kernel
from graphc.codegen.kernels import emit_kernel
from graphc.codegen.llvm import compile_kernel
from graphc.ir.builder import Builder
from graphc.ir.graph import Block, Op, Value
from graphc.ir.opdef import lookup
from graphc.ir.types import DType, TensorType, type_of

Array = np.ndarray[Any, Any]
GUARD = 64  # bytes before and after every buffer
POISON = 0xFF  # NaN in every float type, -1 in every signed integer

_serial = itertools.count()
_keep: list[object] = []


def storage(dtype: DType) -> np.dtype[Any]:
    """How a buffer of the dtype looks to a kernel run as Python."""
    if dtype.is_bool:
        return np.dtype(np.uint8)
    return np.dtype(np.uint16) if dtype.is_float and dtype.itemsize == 2 else dtype.numpy


def fused(kind: str, inputs: Sequence[TensorType], build: Callable[..., Any]) -> Op:
    """A fused op whose region is `build(builder, *arguments)`, which returns a value or several."""
    arguments = [Value(t, name=f"a{i}") for i, t in enumerate(inputs)]
    block = Block(arguments)
    results = build(Builder(block), *arguments)
    block.results = list(results) if isinstance(results, (tuple, list)) else [results]
    operands = [Value(t) for t in inputs]
    return Op("fused", operands, [r.type for r in block.results], {"kind": kind}, [block])


def evaluate(op: Op, arrays: Sequence[Array]) -> list[Array]:
    """The region's results, op by op through the records."""
    (region,) = op.regions
    values: dict[Value, Array] = dict(zip(region.args, arrays, strict=True))
    for inner in region.ops:
        results = lookup(inner.name).eval([values[v] for v in inner.operands], inner.attributes)
        values.update(zip(inner.results, results, strict=True))
    return [values[v] for v in region.results]


class Guarded:
    """A 64-byte-aligned buffer of `nbytes` between guard bytes, all poisoned."""

    def __init__(self, nbytes: int):
        self.nbytes = nbytes
        self.raw = np.full(nbytes + 3 * GUARD, POISON, np.uint8)
        self.start = GUARD + -self.raw.ctypes.data % GUARD

    @property
    def data(self) -> Array:
        return self.raw[self.start : self.start + self.nbytes]

    @property
    def address(self) -> int:
        return int(self.raw.ctypes.data) + self.start

    def intact(self) -> bool:
        before, after = self.raw[: self.start], self.raw[self.start + self.nbytes :]
        return bool((before == POISON).all() and (after == POISON).all())


@dataclass
class Outcome:
    results: list[Array]
    fault: int


def run(
    op: Op,
    arrays: Sequence[Array],
    slots: tuple[int, ...] | None = None,
    order: Callable[[int], Iterable[tuple[int, int]]] = lambda units: [(0, units)],
    python: bool = False,
    kernel: Kernel | None = None,
) -> Outcome:
    """Run the kernel of a fused op. `order(units)` yields the ranges of units to run. Checks that nothing outside of
    the results was written."""
    (region,) = op.regions
    values = [*region.args, *region.results]
    slots = tuple(range(len(values))) if slots is None else slots
    if kernel is None:
        kernel = emit_kernel(op, slots, host_target())
    buffers = {slot: Guarded(value.type.nbytes) for value, slot in zip(values, slots, strict=True)}
    for array, slot in zip(arrays, slots, strict=False):
        buffers[slot].data[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    scratch, fault = Guarded(kernel.scratch_bytes), Guarded(4)
    fault.data[:] = 0
    before = {slot: b.data.copy() for slot, b in buffers.items()}
    ordered = [buffers[slot] for slot in range(len(buffers))]
    if python:
        _run_python(kernel, ordered, scratch, fault, order(kernel.units))
    else:
        _run_native(kernel, ordered, scratch, fault, order(kernel.units))
    assert all(b.intact() for b in (*ordered, scratch, fault)), "a guard byte was overwritten"
    written = set(slots[len(region.args) :])
    for slot, content in before.items():
        assert slot in written or (buffers[slot].data == content).all(), f"the operand in slot {slot} was overwritten"
    results = [
        buffers[slot].data.view(value.type.dtype.numpy).reshape(value.type.shape).copy()
        for value, slot in zip(region.results, slots[len(region.args) :], strict=True)
    ]
    return Outcome(results, int(fault.data.view(np.int32)[0]))


def reversed_units(units: int) -> list[tuple[int, int]]:
    """One unit at a time, from the last to the first."""
    return [(i, i + 1) for i in reversed(range(units))]


@cache
def _jit() -> llvm.LLJIT:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.create_lljit_compiler(llvm.Target.from_default_triple().create_target_machine(jit=True))


@cache
def _loaded(symbol: str, image: bytes, n_pointers: int) -> Callable[..., None]:
    builder = llvm.JITLibraryBuilder().add_object_img(image).add_current_process().export_symbol(symbol)
    tracker = builder.link(_jit(), f"test.{next(_serial)}")
    _keep.append(tracker)
    signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * n_pointers, ctypes.c_int64, ctypes.c_int64)
    return signature(tracker[symbol])


def call_native(function: Callable[..., None], buffers: Sequence[Guarded], ranges: Iterable[tuple[int, int]]) -> None:
    for lo, hi in ranges:
        function(*(b.address for b in buffers), lo, hi)


def _run_native(
    kernel: Kernel, buffers: Sequence[Guarded], scratch: Guarded, fault: Guarded, ranges: Iterable[tuple[int, int]]
) -> None:
    compiled = compile_kernel(kernel, host_target())
    function = _loaded(compiled.symbol, compiled.object_code, len(buffers) + 2)
    call_native(function, (*buffers, scratch, fault), ranges)


def _run_python(
    kernel: Kernel, buffers: Sequence[Guarded], scratch: Guarded, fault: Guarded, ranges: Iterable[tuple[int, int]]
) -> None:
    function = python_kernel(kernel.source, kernel.symbol)
    pointers = [b.data.view(storage(d)) for b, d in zip(buffers, kernel.params, strict=True)]
    for lo, hi in ranges:
        function(*pointers, scratch.data, fault.data.view(np.int32), lo, hi)


def types_of(arrays: Sequence[Array]) -> list[TensorType]:
    return [type_of(np.asarray(a)) for a in arrays]
