"""The driver: one native function that runs a schedule's kernels in order.

Its interface is the context of `graphc.runtime.program`. In a debug build the arena has red zones (see `Layout`), which
are filled before the first kernel and checked after every one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir as llvm

from graphc.codegen.kernel import Kernel
from graphc.codegen.red_zones import ZONE, RedZones, Zone, zones_behind
from graphc.ir.attributes import DenseArray
from graphc.ir.errors import FaultError
from graphc.ir.graph import Op
from graphc.ir.kernel_facts import can_fault
from graphc.ir.opdef import lookup
from graphc.ir.schedule import Buffer, Launch, Schedule
from graphc.ir.text.printer import print_attribute
from graphc.runtime.program import ALIGNMENT, FAULTS, Fault, RedZoneError

_KINDS = {error: kind for kind, error in FAULTS.items()}

_VOID = llvm.VoidType()
_BYTE = llvm.IntType(8)
_I32 = llvm.IntType(32)
_I64 = llvm.IntType(64)
_PTR = llvm.PointerType()

_CONTEXT_FIELDS = ("arena", "inputs", "states", "outputs", "fault")


@dataclass(frozen=True)
class Layout:
    """Where things lie in the arena that a program asks for: the schedule's buffers from `buffers` on, then, at
    `scratch`, the working memory that all kernels share."""

    buffers: int
    scratch: int
    arena_bytes: int
    red_zones: tuple[Zone, ...] = ()


def plan_layout(schedule: Schedule, kernels: Sequence[Kernel], debug: bool = False) -> Layout:
    """Append scratch memory for the hungriest kernel to the schedule's arena. In a debug build, red zones lie before
    and behind every buffer: raises ValueError for a schedule that was planned with no room for them."""
    scratch_bytes = max((kernel.scratch_bytes for kernel in kernels), default=0)
    start = ZONE if debug else 0
    scratch = start + _align(schedule.arena_bytes)
    if not debug:
        return Layout(start, scratch, scratch + scratch_bytes)
    buffers = {(start + b.offset, b.type.nbytes) for b in schedule.buffers.values() if b.space == "arena"}
    zones = zones_behind({*buffers, (scratch, scratch_bytes)})
    return Layout(start, scratch, sum(zones[-1]), ((0, ZONE), *zones))


def slots_of(launch: Launch) -> tuple[tuple[int, ...], tuple[Buffer, ...]]:
    """The pointer parameter of every operand and result, and one buffer per parameter. What shares its place shares
    its parameter, so that no two parameters of a kernel overlap."""
    places: dict[tuple[str, int], int] = {}
    distinct: list[Buffer] = []
    slots: list[int] = []
    for buffer in (*launch.reads, *launch.writes):
        if buffer.place not in places:
            places[buffer.place] = len(distinct)
            distinct.append(buffer)
        slots.append(places[buffer.place])
    return tuple(slots), tuple(distinct)


def fault_of(launch: Launch) -> Fault | None:
    """What it means when this launch's range checks fail; None where it has none. A kernel has one flag for all of its
    checks: where they are of different kinds, the error is the one that covers them all."""
    ops = [op for op in launch.op.regions[0].walk() if can_fault(op)]
    errors = [error for op in ops if (error := lookup(op.name).fault) is not None]
    if not errors:
        return None
    places = {op.location: None for op in ops}
    together = len(places) == 1
    texts = [
        f"{_describe(op)}: {_KINDS[error]}" + ("" if together or op.location is None else f" ({op.location})")
        for op, error in zip(ops, errors, strict=True)
    ]
    kind = _KINDS[errors[0] if len(set(errors)) == 1 else FaultError]
    return Fault(kind, "; or ".join(dict.fromkeys(texts)), next(iter(places)) if together else None)


def emit_driver(
    schedule: Schedule, kernels: Sequence[Kernel], layout: Layout, entry: str
) -> tuple[llvm.Module, tuple[Fault, ...]]:
    """The driver module, which declares the kernels it calls, and the faults its status codes stand for."""
    module = llvm.Module(f"driver.{entry}")
    emitter = _Driver(schedule, layout, llvm.Function(module, llvm.FunctionType(_I32, [_PTR]), entry))
    for launch, kernel in zip(schedule.launches, kernels, strict=True):
        if kernel.units:
            emitter.launch(launch, kernel)
    emitter.b.ret(_i32(0))
    return module, tuple(emitter.faults)


class _Driver:
    """Emits the function. The address of every buffer is computed once, at its beginning."""

    def __init__(self, schedule: Schedule, layout: Layout, function: llvm.Function):
        self.module = function.module
        self.layout = layout
        self.faults: list[Fault] = []
        (context,) = function.args
        context.name = "context"
        self.b = llvm.IRBuilder(function.append_basic_block("entry"))
        self._constants = [_emit_constant(self.module, i, op) for i, op in enumerate(schedule.constants)]
        self._callees: dict[str, llvm.Function] = {}
        self._fields: dict[str, llvm.Value] = {}
        for i, name in enumerate(_CONTEXT_FIELDS):
            place = self._byte(context, 8 * i)
            self._fields[name] = place if name == "fault" else self.b.load(place, name=name, typ=_PTR)
        self.b.store(_i32(0), self._fields["fault"])
        self._scratch = self._byte(self._fields["arena"], layout.scratch)
        self._addresses: dict[tuple[str, int], llvm.Value] = {}
        for launch in schedule.launches:
            for buffer in (*launch.reads, *launch.writes):
                if buffer.place not in self._addresses:
                    self._addresses[buffer.place] = self._address(buffer)
        self._zones = RedZones(self.module, "arena", layout.red_zones) if layout.red_zones else None
        if self._zones is not None:
            self._zones.fill(self.b, self._fields["arena"])

    def launch(self, launch: Launch, kernel: Kernel) -> None:
        """Run a kernel whole, then return from the program if it met a fault."""
        b = self.b
        pointers = [self._addresses[buffer.place] for buffer in slots_of(launch)[1]]
        flag = self._fields["fault"]
        b.call(self._callee(kernel), [*pointers, self._scratch, flag, _i64(0), _i64(kernel.units)])
        fault = fault_of(launch)
        if fault is not None:
            self._return_if(b.icmp_signed("!=", b.load(flag, typ=_I32), _i32(0)), fault)
        if self._zones is not None:
            ops = ", ".join(dict.fromkeys(op.name for op in launch.op.regions[0].walk())) or "copy"
            text = f"the kernel of {ops} wrote outside its buffers; this is a mistake in graphc, please report it"
            broken = self._zones.broken(b, self._fields["arena"])
            self._return_if(broken, Fault(_KINDS[RedZoneError], text, launch.op.location))

    def _callee(self, kernel: Kernel) -> llvm.Function:
        if kernel.symbol not in self._callees:
            type_ = llvm.FunctionType(_VOID, [_PTR] * (len(kernel.params) + 2) + [_I64, _I64])
            self._callees[kernel.symbol] = llvm.Function(self.module, type_, kernel.symbol)
        return self._callees[kernel.symbol]

    def _return_if(self, condition: llvm.Value, fault: Fault) -> None:
        self.faults.append(fault)
        with self.b.if_then(condition, likely=False):
            self.b.ret(_i32(len(self.faults)))

    def _address(self, buffer: Buffer) -> llvm.Value:
        if buffer.space == "arena":
            return self._byte(self._fields["arena"], self.layout.buffers + buffer.offset)
        if buffer.space == "constant":
            return self._constants[buffer.index]
        return self.b.load(self._byte(self._fields[f"{buffer.space}s"], 8 * buffer.index), typ=_PTR)

    def _byte(self, base: llvm.Value, offset: int) -> llvm.Value:
        return self.b.gep(base, [_i64(offset)], source_etype=_BYTE, inbounds=True)


def _emit_constant(module: llvm.Module, index: int, op: Op) -> llvm.Value:
    payload = op.attributes["value"]
    assert isinstance(payload, DenseArray)
    data = payload.array.tobytes() or b"\0"
    type_ = llvm.ArrayType(_BYTE, len(data))
    variable = llvm.GlobalVariable(module, type_, f"constant.{index}")
    variable.linkage = "internal"
    variable.global_constant = True
    variable.align = ALIGNMENT
    variable.initializer = llvm.Constant(type_, bytearray(data))
    return variable


def _describe(op: Op) -> str:
    """An op as in IR text, with types in place of values."""
    attributes = ", ".join(f"{key} = {print_attribute(value)}" for key, value in op.attributes.items())
    return f"{op.name}({', '.join(map(str, op.operand_types))})" + (f" {{{attributes}}}" if attributes else "")


def _align(n: int) -> int:
    return -(-n // ALIGNMENT) * ALIGNMENT


def _i32(n: int) -> llvm.Constant:
    return llvm.Constant(_I32, n)


def _i64(n: int) -> llvm.Constant:
    return llvm.Constant(_I64, n)
