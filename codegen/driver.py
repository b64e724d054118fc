"""The driver: one native function that runs a schedule's kernels in order.

Its interface is `graphc.runtime.program`'s context. In a debug build the arena's red zones (see `Layout`) are filled
before the first kernel and checked after every one, since sanitizers do not see emitted code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir as llvm

from graphc.codegen.kernel import Kernel
from graphc.ir.attributes import DenseArray
from graphc.ir.graph import Op
from graphc.ir.kernel_facts import can_fault
from graphc.ir.opdef import lookup
from graphc.ir.schedule import Buffer, Launch, Schedule
from graphc.runtime.program import FAULTS, Fault

FAULT_KINDS = {error: kind for kind, error in FAULTS.items()}
RED_ZONE = 64  # bytes
PATTERN = 0xA5

_VOID = llvm.VoidType()
_BYTE = llvm.IntType(8)
_I32 = llvm.IntType(32)
_I64 = llvm.IntType(64)
_PTR = llvm.PointerType()

_CONTEXT_FIELDS = ("arena", "inputs", "states", "outputs", "fault")


@dataclass(frozen=True)
class Layout:
    """Where things lie in the arena: the buffers, then the kernels' scratch. `red_zones` holds (offset, length)."""

    arena_bytes: int
    scratch_offset: int
    red_zones: tuple[tuple[int, int], ...] = ()


def plan_layout(schedule: Schedule, kernels: Sequence[Kernel], debug: bool = False) -> Layout:
    """Append scratch space for the hungriest kernel to the schedule's arena; in a debug build the schedule must have
    been planned with gaps of `RED_ZONE` bytes after every buffer."""
    scratch_bytes = max((kernel.scratch_bytes for kernel in kernels), default=0)
    scratch_offset = _align(schedule.arena_bytes) + (RED_ZONE if debug else 0)
    end = scratch_offset + scratch_bytes
    if not debug:
        return Layout(end, scratch_offset)
    places = {b.offset: b.type.nbytes for b in schedule.buffers.values() if b.space == "arena"}
    ends = [offset + size for offset, size in sorted(places.items())]
    zones = [(e, _align(e) + RED_ZONE - e) for e in (*ends, end)]
    zones.append((scratch_offset - RED_ZONE, RED_ZONE))
    return Layout(_align(end) + RED_ZONE, scratch_offset, tuple(sorted(set(zones))))


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


def faults_of(launch: Launch) -> Fault | None:
    """What it means when this launch's range checks fail; None where it has none."""
    ops = [op for op in launch.op.regions[0].walk() if can_fault(op)]
    kinds = [FAULT_KINDS[error] for op in ops if (error := lookup(op.name).fault) is not None]
    if not kinds:
        return None
    return Fault(kinds[0], "; or ".join(f"{kind} in {_describe(op)}" for kind, op in zip(kinds, ops, strict=True)))


def emit_driver(
    schedule: Schedule, kernels: Sequence[Kernel], layout: Layout, entry: str
) -> tuple[llvm.Module, tuple[Fault, ...]]:
    """The driver module, which declares the kernels it calls, and the faults its status codes stand for."""
    module = llvm.Module(f"driver.{schedule.graph.name}")
    function = llvm.Function(module, llvm.FunctionType(_I32, [_PTR]), entry)
    function.args[0].name = "context"
    b = llvm.IRBuilder(function.append_basic_block("entry"))
    pointers = _Pointers(b, function.args[0], module, schedule)
    check = _emit_red_zone_check(module, layout) if layout.red_zones else None
    if check is not None:
        _fill_red_zones(b, pointers.fields["arena"], layout)
    faults: list[Fault] = []
    signatures: dict[str, llvm.Function] = {}
    for launch, kernel in zip(schedule.launches, kernels, strict=True):
        if kernel.units == 0:
            continue
        callee = signatures.get(kernel.symbol)
        if callee is None:
            types = [_PTR] * (len(kernel.params) + 2) + [_I64, _I64]
            callee = signatures[kernel.symbol] = llvm.Function(module, llvm.FunctionType(_VOID, types), kernel.symbol)
        _, distinct = slots_of(launch)
        scratch = pointers.byte(pointers.fields["arena"], layout.scratch_offset)
        arguments = [*map(pointers.of, distinct), scratch, pointers.fault, _i64(0), _i64(kernel.units)]
        b.call(callee, arguments)
        fault = faults_of(launch)
        if fault is not None:
            faults.append(fault)
            _return_if(b, b.load(pointers.fault, typ=_I32), len(faults))
        if check is not None:
            faults.append(
                Fault("write outside a kernel's buffers", f"write outside the buffers of {_describe(launch.op)}")
            )
            _return_if(b, b.call(check, [pointers.fields["arena"]]), len(faults))
    b.ret(_i32(0))
    return module, tuple(faults)


class _Pointers:
    """Addresses of buffers, each computed once, at the entry."""

    def __init__(self, b: llvm.IRBuilder, context: llvm.Value, module: llvm.Module, schedule: Schedule):
        self._b = b
        self._constants = [_emit_constant(module, i, op) for i, op in enumerate(schedule.constants)]
        self._found: dict[tuple[str, int], llvm.Value] = {}
        self.fields: dict[str, llvm.Value] = {}
        for i, name in enumerate(_CONTEXT_FIELDS):
            place = self.byte(context, 8 * i)
            self.fields[name] = place if name == "fault" else b.load(place, name=name, typ=_PTR)
        self.fault = self.fields["fault"]
        b.store(_i32(0), self.fault)
        for buffer in {b.place: b for launch in schedule.launches for b in (*launch.reads, *launch.writes)}.values():
            self._found[buffer.place] = self._address(buffer)

    def byte(self, base: llvm.Value, offset: int) -> llvm.Value:
        return self._b.gep(base, [_i64(offset)], source_etype=_BYTE, inbounds=True)

    def of(self, buffer: Buffer) -> llvm.Value:
        return self._found[buffer.place]

    def _address(self, buffer: Buffer) -> llvm.Value:
        if buffer.space == "arena":
            return self.byte(self.fields["arena"], buffer.offset)
        if buffer.space == "constant":
            return self._constants[buffer.index]
        table = self.fields[buffer.space + "s"]
        return self._b.load(self.byte(table, 8 * buffer.index), typ=_PTR)


def _emit_constant(module: llvm.Module, index: int, op: Op) -> llvm.Value:
    payload = op.attributes["value"]
    assert isinstance(payload, DenseArray)
    data = payload.array.tobytes() or b"\0"
    type_ = llvm.ArrayType(_BYTE, len(data))
    variable = llvm.GlobalVariable(module, type_, f"constant.{index}")
    variable.linkage = "internal"
    variable.global_constant = True
    variable.align = 64
    variable.initializer = llvm.Constant(type_, bytearray(data))
    return variable


def _fill_red_zones(b: llvm.IRBuilder, arena: llvm.Value, layout: Layout) -> None:
    fill = b.module.declare_intrinsic(
        "llvm.memset", [_PTR, _I64], llvm.FunctionType(_VOID, [_PTR, _BYTE, _I64, llvm.IntType(1)])
    )
    for offset, length in layout.red_zones:
        place = b.gep(arena, [_i64(offset)], source_etype=_BYTE)
        b.call(fill, [place, llvm.Constant(_BYTE, PATTERN), _i64(length), llvm.Constant(llvm.IntType(1), 0)])


def _emit_red_zone_check(module: llvm.Module, layout: Layout) -> llvm.Function:
    """`i32 check(arena)`: nonzero where any byte of a red zone has changed."""
    table_type = llvm.ArrayType(_I64, 2 * len(layout.red_zones))
    table = llvm.GlobalVariable(module, table_type, "red_zones")
    table.linkage = "internal"
    table.global_constant = True
    table.initializer = llvm.Constant(table_type, [n for zone in layout.red_zones for n in zone])
    function = llvm.Function(module, llvm.FunctionType(_I32, [_PTR]), "check_red_zones")
    function.linkage = "internal"
    entry, zones, bytes_, next_, done = (
        function.append_basic_block(n) for n in ("entry", "zone", "byte", "next", "done")
    )
    b = llvm.IRBuilder(entry)
    b.branch(zones)
    b.position_at_end(zones)
    zone = b.phi(_I64, "zone")
    zone.add_incoming(_i64(0), entry)
    broken = b.phi(_I32, "broken")
    broken.add_incoming(_i32(0), entry)
    row = b.shl(zone, _i64(1))
    offset = b.load(b.gep(table, [row], source_etype=_I64), typ=_I64)
    length = b.load(b.gep(table, [b.add(row, _i64(1))], source_etype=_I64), typ=_I64)
    b.branch(bytes_)
    b.position_at_end(bytes_)
    i = b.phi(_I64, "i")
    i.add_incoming(_i64(0), zones)
    seen = b.phi(_I32, "seen")
    seen.add_incoming(broken, zones)
    byte = b.load(b.gep(function.args[0], [b.add(offset, i)], source_etype=_BYTE), typ=_BYTE)
    seen_next = b.or_(seen, b.zext(b.icmp_unsigned("!=", byte, llvm.Constant(_BYTE, PATTERN)), _I32))
    i_next = b.add(i, _i64(1))
    i.add_incoming(i_next, bytes_)
    seen.add_incoming(seen_next, bytes_)
    b.cbranch(b.icmp_unsigned("<", i_next, length), bytes_, next_)
    b.position_at_end(next_)
    zone_next = b.add(zone, _i64(1))
    zone.add_incoming(zone_next, next_)
    broken.add_incoming(seen_next, next_)
    b.cbranch(b.icmp_unsigned("<", zone_next, _i64(len(layout.red_zones))), zones, done)
    b.position_at_end(done)
    b.ret(seen_next)
    return function


def _return_if(b: llvm.IRBuilder, condition: llvm.Value, status: int) -> None:
    with b.if_then(b.icmp_signed("!=", condition, _i32(0)), likely=False):
        b.ret(_i32(status))


def _describe(op: Op) -> str:
    ops = {inner.name: None for region in op.regions for inner in region.walk()} or {op.name: None}
    place = f" ({op.location})" if op.location else ""
    return f"{', '.join(ops)}{place}"


def _align(n: int) -> int:
    return -(-n // RED_ZONE) * RED_ZONE


def _i32(n: int) -> llvm.Constant:
    return llvm.Constant(_I32, n)


def _i64(n: int) -> llvm.Constant:
    return llvm.Constant(_I64, n)
