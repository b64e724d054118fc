"""The driver: native code that runs a schedule's kernels, on one thread or several.

Its entry takes the context of `graphc.runtime.program`. The body runs in every thread: it calls the kernels of a phase
for this thread's part of their units, then waits at the barrier. It is emitted once, and inlined twice: for any thread
of several, and for one alone, where parts and barriers fold away.

In a debug build the arena has red zones (see `Layout`), which are filled before the first kernel and checked after
every one; it runs on one thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llvmlite import ir as llvm

from graphc.codegen.function_pointer import call_pointer
from graphc.codegen.kernel import Kernel
from graphc.codegen.red_zones import ZONE, RedZones, Zone, zones_behind
from graphc.codegen.spmd import strands_of
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

_CONTEXT_FIELDS = ("arena", "inputs", "states", "outputs", "pool", "threads")
_WAIT = 8  # where the function that waits at a barrier lies in a pool


@dataclass(frozen=True)
class Layout:
    """Where things lie in the arena that a program asks for: the schedule's buffers from `buffers` on; at `flags` an
    i32 for each launch that can fault; at `scratch` the working memory that all kernels share, `scratch_bytes` for each
    thread."""

    buffers: int
    flags: int
    scratch: int
    scratch_bytes: int
    red_zones: tuple[Zone, ...] = ()

    @property
    def arena_bytes(self) -> int:
        """All but the working memory of the threads."""
        return self.scratch


def plan_layout(schedule: Schedule, kernels: Sequence[Kernel], debug: bool) -> Layout:
    """Append flags, and scratch memory for the hungriest kernel, to the schedule's arena. In a debug build, red zones
    lie before and behind every buffer: raises ValueError for a schedule that was planned with no room for them."""
    scratch_bytes = max((kernel.scratch_bytes for kernel in kernels), default=0)
    n_flags = sum(can_fault(launch.op) for launch in schedule.launches)
    start = ZONE if debug else 0
    flags = start + _align(schedule.arena_bytes)
    scratch = flags + _align(4 * n_flags)
    if not debug:
        return Layout(start, flags, scratch, _align(scratch_bytes))
    scratch += ZONE
    buffers = {(start + b.offset, b.type.nbytes) for b in schedule.buffers.values() if b.space == "arena"}
    zones = zones_behind({*buffers, (flags, 4 * n_flags), (scratch, scratch_bytes)})
    return Layout(start, flags, scratch, sum(zones[-1]) - scratch, ((0, ZONE), *zones))


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
    schedule: Schedule, kernels: Sequence[Kernel], layout: Layout, entry: str, wake: bool
) -> tuple[llvm.Module, tuple[Fault, ...]]:
    """The driver module, which declares the kernels it calls, and the faults its status codes stand for. The launches
    of the schedule have their partitions. `wake`: a run is worth waking the threads of the pool that sleep."""
    module = llvm.Module(f"driver.{entry}")
    kernel_of = dict(zip(schedule.launches, kernels, strict=True))
    body = _Body(schedule, kernel_of, layout, module)
    spmd = llvm.Function(module, llvm.FunctionType(_I32, [_PTR, _I64, _I64]), f"{entry}.spmd")
    spmd.linkage = "internal"
    b = llvm.IRBuilder(spmd.append_basic_block("entry"))
    b.ret(b.call(body.function, spmd.args))
    _emit_entry(llvm.Function(module, llvm.FunctionType(_I32, [_PTR]), entry), body, spmd, wake)
    return module, tuple(body.faults)


def _emit_entry(function: llvm.Function, body: _Body, spmd: llvm.Function, wake: bool) -> None:
    """Clear the flags, then run on as many threads as the context says."""
    (context,) = function.args
    context.name = "context"
    b = llvm.IRBuilder(function.append_basic_block("entry"))
    arena = b.load(context, typ=_PTR)
    for number in range(body.n_flags):
        b.store(_i32(0), _byte(b, arena, body.layout.flags + 4 * number))
    if not body.layout.red_zones:
        threads = b.load(_byte(b, context, 8 * _CONTEXT_FIELDS.index("threads")), typ=_I64)
        with b.if_then(b.icmp_signed(">", threads, _i64(1))):
            pool = b.load(_byte(b, context, 8 * _CONTEXT_FIELDS.index("pool")), typ=_PTR)
            arguments = [pool, threads, spmd, context, _i32(int(wake))]
            b.ret(call_pointer(b, b.load(pool, typ=_PTR), _I32, arguments))
    b.ret(b.call(body.function, [context, _i64(0), _i64(1)]))


class _Body:
    """Emits the function that every thread runs."""

    def __init__(self, schedule: Schedule, kernels: Mapping[Launch, Kernel], layout: Layout, module: llvm.Module):
        self.module = module
        self.layout = layout
        self.n_flags = 0
        self.faults: list[Fault] = []
        self.function = llvm.Function(module, llvm.FunctionType(_I32, [_PTR, _I64, _I64]), "body")
        self.function.linkage = "internal"
        self.function.attributes.add("alwaysinline")
        context, self._thread, self._threads = self.function.args
        for argument, name in zip(self.function.args, ("context", "thread", "threads"), strict=True):
            argument.name = name
        self.b = llvm.IRBuilder(self.function.append_basic_block("entry"))
        self._constants = [_emit_constant(self.module, i, op) for i, op in enumerate(schedule.constants)]
        self._callees: dict[str, llvm.Function] = {}
        self._fields = {
            name: self.b.load(_byte(self.b, context, 8 * i), name=name, typ=_PTR)
            for i, name in enumerate(_CONTEXT_FIELDS[:-1])
        }
        place = self.b.mul(self._thread, _i64(layout.scratch_bytes))
        scratch = _byte(self.b, self._fields["arena"], layout.scratch)
        self._scratch = self.b.gep(scratch, [place], source_etype=_BYTE, inbounds=True)
        self._zones = RedZones(self.module, "arena", layout.red_zones) if layout.red_zones else None
        if self._zones is not None:
            self._zones.fill(self.b, self._fields["arena"])
        phases = schedule.phases
        for i, phase in enumerate(phases):
            self._phase(phase, kernels, last=i == len(phases) - 1)
        self.b.ret(_i32(0))

    def _phase(self, phase: Sequence[Launch], kernels: Mapping[Launch, Kernel], last: bool) -> None:
        """Run this thread's part of every kernel; at the barrier, all threads return if one met a fault."""
        b = self.b
        shared = _shares(phase)
        flags: list[tuple[llvm.Value, Fault]] = []
        for launch in phase:
            kernel = kernels[launch]
            fault = fault_of(launch)
            flag = _byte(b, self._fields["arena"], self.layout.flags + 4 * self.n_flags)
            if fault is not None:
                flags.append((flag, fault))
                self.n_flags += 1
            if kernel.units:
                self._launch(launch, kernel, shared[launch], flag)
        if flags or not last:
            with b.if_then(b.icmp_signed(">", self._threads, _i64(1))):
                pool = self._fields["pool"]
                wait = b.load(_byte(b, pool, _WAIT), typ=_PTR)
                call_pointer(b, wait, _VOID, [pool, self._threads])
        for flag, fault in flags:
            self._return_if(b.icmp_signed("!=", b.load(flag, typ=_I32), _i32(0)), fault)

    def _launch(self, launch: Launch, kernel: Kernel, share: _Share, flag: llvm.Value) -> None:
        b = self.b
        # The single thread's copy of the body knows its part: everything.
        first, end = (self._boundary(share, t) for t in (self._thread, b.add(self._thread, _i64(1))))
        with b.if_then(b.icmp_signed("<", first, end)):
            # anew for each launch: values that live from the first launch to the last cost LLVM long to place
            pointers = [self._address(buffer) for buffer in slots_of(launch)[1]]
            b.call(self._callee(kernel), [*pointers, self._scratch, flag, first, end])
        if self._zones is not None:
            ops = ", ".join(dict.fromkeys(op.name for op in launch.op.regions[0].walk())) or "copy"
            text = f"the kernel of {ops} wrote outside its buffers; this is a mistake in graphc, please report it"
            broken = self._zones.broken(b, self._fields["arena"])
            self._return_if(broken, Fault(_KINDS[RedZoneError], text, launch.op.location))

    def _boundary(self, share: _Share, thread: llvm.Value) -> llvm.Value:
        """The first unit of a launch that is not before thread number `thread`'s stretch of the phase."""
        b = self.b
        place = b.sdiv(b.mul(thread, _i64(share.phase_cost)), self._threads)
        inside = b.sub(b.add(place, _i64(share.cost // 2)), _i64(share.start))
        unit = b.sdiv(b.select(b.icmp_signed("<", inside, _i64(0)), _i64(0), inside), _i64(share.cost))
        return b.select(b.icmp_signed(">", unit, _i64(share.units)), _i64(share.units), unit)

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
            return _byte(self.b, self._fields["arena"], self.layout.buffers + buffer.offset)
        if buffer.space == "constant":
            return self._constants[buffer.index]
        return self.b.load(_byte(self.b, self._fields[f"{buffer.space}s"], 8 * buffer.index), typ=_PTR)


@dataclass(frozen=True)
class _Share:
    """A launch in the stretch of its phase's work, in nanoseconds: where its first unit starts, and what each costs."""

    start: int
    cost: int
    units: int
    phase_cost: int


def _shares(phase: Sequence[Launch]) -> dict[Launch, _Share]:
    """Lay the strands of a phase end to end. The launches of a strand share one place: its single unit."""
    places: dict[Launch, tuple[int, int, int]] = {}
    start = 0
    for strand in strands_of(phase):
        partitions = [launch.partition for launch in strand if launch.partition is not None]
        cost, units = sum(p.cost for p in partitions), max(p.units for p in partitions)
        places.update((launch, (start, cost, units)) for launch in strand)
        start += cost * units
    return {launch: _Share(*place, start) for launch, place in places.items()}


def _byte(b: llvm.IRBuilder, base: llvm.Value, offset: int) -> llvm.Value:
    return b.gep(base, [_i64(offset)], source_etype=_BYTE, inbounds=True)


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
