"""The functions of the C interface of an exported program, which `graphc.codegen.c_header` declares and explains:
NAME_init, NAME_step, NAME_threads, NAME_state, NAME_save, NAME_message, NAME_free. They call libc only.

An instance is one allocation: the context, its tables of pointers, and the states; and another, the arena, whose size
goes with the number of threads. All instances share the library's pool, whose threads end with the last instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir as llvm

from graphc.codegen.c_header import c_names
from graphc.codegen.function_pointer import call_pointer
from graphc.codegen.red_zones import ZONE, RedZones, Zone, zones_behind
from graphc.runtime.pool_ir import MOST_THREADS
from graphc.runtime.program import ALIGNMENT, Program

_BYTE = llvm.IntType(8)
_I32 = llvm.IntType(32)
_I64 = llvm.IntType(64)
_PTR = llvm.PointerType()
_NULL = llvm.Constant(_PTR, None)

_LIBC = {
    "aligned_alloc": (_PTR, [_I64, _I64]),
    "fclose": (_I32, [_PTR]),
    "fopen": (_PTR, [_PTR, _PTR]),
    "fread": (_I64, [_PTR, _I64, _I64, _PTR]),
    "free": (llvm.VoidType(), [_PTR]),
    "fwrite": (_I64, [_PTR, _I64, _I64, _PTR]),
    "getenv": (_PTR, [_PTR]),
    "malloc": (_PTR, [_I64]),
    "memcmp": (_I32, [_PTR, _PTR, _I64]),
    "memcpy": (_PTR, [_PTR, _PTR, _I64]),
    "memset": (_PTR, [_PTR, _I32, _I64]),
    "remove": (_I32, [_PTR]),
    "rename": (_I32, [_PTR, _PTR]),
    "strlen": (_I64, [_PTR]),
    "strtol": (_I64, [_PTR, _PTR, _I32]),
    "sysconf": (_I64, [_I32]),
}
_SC_NPROCESSORS_ONLN = 84  # of Linux

SUFFIXES = ("init", "step", "threads", "state", "save", "message", "free")
_ARENA, _INPUTS, _STATES, _OUTPUTS, _POOL, _THREADS = range(0, 48, 8)  # in the context
_STOP = 16  # where the function that ends the workers lies in a pool


def pool_name(name: str) -> str:
    """What the pool of the library `name` is called in its object."""
    return f"{name}_pool"


@dataclass(frozen=True)
class _Instance:
    """Byte offsets in an instance, behind the context."""

    inputs: int
    states: int
    outputs: int
    state_data: tuple[int, ...]
    header: int
    total: int
    red_zones: tuple[Zone, ...]


def emit_c_api(program: Program, name: str, state_header: bytes, debug: bool = False) -> llvm.Module:
    """The module that defines NAME_init and the rest, to be linked with the driver and the kernels. `state_header` is
    everything in a state file that precedes the states' data, which follow in port order. In a debug build, a step
    that writes behind a state fails."""
    return _Emitter(program, name, state_header, debug).module


class _Emitter:
    def __init__(self, program: Program, name: str, state_header: bytes, debug: bool):
        self.program = program
        self.name = name
        self.place = _plan(program, len(state_header), debug)
        self.messages = ["ok", *(str(fault.error()) for fault in program.faults)]
        self.module = llvm.Module(f"c_api.{name}")
        self.libc = {n: llvm.Function(self.module, llvm.FunctionType(r, a), n) for n, (r, a) in _LIBC.items()}
        self.entry = llvm.Function(self.module, llvm.FunctionType(_I32, [_PTR]), program.entry)
        self.header = self._bytes(state_header, "state_header")
        self.header_size = len(state_header)
        self.zones = RedZones(self.module, "states", self.place.red_zones) if self.place.red_zones else None
        self.debug = debug
        self.pool = llvm.GlobalVariable(self.module, _BYTE, pool_name(name))
        self.instances = llvm.GlobalVariable(self.module, _I64, f"{name}.instances")
        self.instances.linkage = "internal"
        self.instances.initializer = _i64(0)
        self.set_threads = self._set_threads()
        self._threads()
        self._init()
        self._step()
        self._state()
        self._save()
        self._message()
        self._free()

    def _init(self) -> None:
        function, b = self._function("init", _PTR, [("state_path", _PTR)])
        (path,) = function.args
        place = self.place
        self_ = self._call(b, "aligned_alloc", _i64(ALIGNMENT), _i64(place.total))
        with b.if_then(b.icmp_unsigned("==", self_, _NULL)):
            b.ret(_NULL)
        self._call(b, "memset", self_, _i32(0), _i64(place.total))
        for at, offset in ((_INPUTS, place.inputs), (_STATES, place.states), (_OUTPUTS, place.outputs)):
            b.store(_at(b, self_, offset), _at(b, self_, at))
        b.store(self.pool, _at(b, self_, _POOL))
        failed = function.append_basic_block("failed")
        ready = function.append_basic_block("ready")
        no_threads = b.icmp_signed("!=", b.call(self.set_threads, [self_, self._default_threads(b)]), _i32(0))
        b.atomic_rmw("add", self.instances, _i64(1), "seq_cst")
        b.cbranch(no_threads, failed, ready)
        b.position_at_end(ready)
        for i, offset in enumerate(place.state_data):
            b.store(_at(b, self_, offset), _at(b, self_, place.states + 8 * i))
        if self.zones is not None:
            self.zones.fill(b, self_)
        with b.if_then(b.icmp_unsigned("==", path, _NULL)):
            b.ret(self_)
        file = self._call(b, "fopen", path, self._bytes(b"rb\0", "mode_read"))
        opened = function.append_basic_block("opened")
        b.cbranch(b.icmp_unsigned("==", file, _NULL), failed, opened)
        b.position_at_end(opened)
        header = _at(b, self_, place.header)
        whole = self._transfer(b, "fread", header, self.header_size, file)
        difference = self._call(b, "memcmp", header, self.header, _i64(self.header_size))
        whole = b.and_(whole, b.icmp_signed("==", difference, _i32(0)))
        whole = b.and_(whole, self._transfer_states(b, "fread", self_, file))
        self._call(b, "fclose", file)
        with b.if_then(whole):
            b.ret(self_)
        b.branch(failed)
        b.position_at_end(failed)
        self._release(b, self_)
        b.ret(_NULL)

    def _set_threads(self) -> llvm.Function:
        """An internal function that gives an instance an arena for so many threads: 0, or -1 and all is as before."""
        function = llvm.Function(self.module, llvm.FunctionType(_I32, [_PTR, _I64]), f"{self.name}.set_threads")
        function.linkage = "internal"
        self_, threads = function.args
        b = llvm.IRBuilder(function.append_basic_block("entry"))
        size = b.add(b.mul(threads, _i64(self.program.scratch_bytes)), _i64(_whole(self.program.arena_bytes)))
        arena = self._call(b, "aligned_alloc", _i64(ALIGNMENT), size)
        with b.if_then(b.icmp_unsigned("==", arena, _NULL)):
            b.ret(_i32(-1))
        self._call(b, "free", b.load(_at(b, self_, _ARENA), typ=_PTR))
        b.store(arena, _at(b, self_, _ARENA))
        b.store(threads, _at(b, self_, _THREADS))
        b.ret(_i32(0))
        return function

    def _default_threads(self, b: llvm.IRBuilder) -> llvm.Value:
        """What GRAPHC_NUM_THREADS says, else the number of processors; no more than the program gains from."""
        most = _i64(self.program.parallelism)
        if self.program.parallelism == 1:
            return most
        given = self._call(b, "getenv", self._bytes(b"GRAPHC_NUM_THREADS\0", "variable"))
        is_set = b.icmp_unsigned("!=", given, _NULL)
        text = b.select(is_set, given, self._bytes(b"0\0", "zero"))
        asked = self._call(b, "strtol", text, _NULL, _i32(10))
        processors = self._call(b, "sysconf", _i32(_SC_NPROCESSORS_ONLN))
        count = b.select(b.icmp_signed(">", asked, _i64(0)), asked, processors)
        count = b.select(b.icmp_signed(">", count, most), most, count)
        return b.select(b.icmp_signed("<", count, _i64(1)), _i64(1), count)

    def _threads(self) -> None:
        function, b = self._function("threads", _I32, [("self", _PTR), ("count", _I32)])
        self_, count = function.args
        fits = b.and_(b.icmp_signed(">=", count, _i32(1)), b.icmp_signed("<=", count, _i32(MOST_THREADS)))
        with b.if_then(b.not_(fits)):
            b.ret(_i32(-1))
        threads = _i64(1) if self.debug else b.sext(count, _I64)
        b.ret(b.call(self.set_threads, [self_, threads]))

    def _step(self) -> None:
        ports = [*self.program.inputs, *self.program.outputs]
        names = c_names((port.name for port in ports), taken=["self"])
        function, b = self._function("step", _I32, [("self", _PTR), *((name, _PTR) for name in names)])
        self_, *pointers = function.args
        n_inputs = len(self.program.inputs)
        for i, pointer in enumerate(pointers):
            slot = self.place.inputs + 8 * i if i < n_inputs else self.place.outputs + 8 * (i - n_inputs)
            b.store(pointer, _at(b, self_, slot))
        status = b.call(self.entry, [self_])
        if self.zones is not None:
            self.messages.append("a kernel wrote behind a state; this is a mistake in graphc, please report it")
            finished = b.icmp_signed("==", status, _i32(0))
            with b.if_then(b.and_(finished, self.zones.broken(b, self_)), likely=False):
                b.ret(_i32(len(self.messages) - 1))
        b.ret(status)

    def _state(self) -> None:
        function, b = self._function("state", _PTR, [("self", _PTR), ("index", _I32)])
        self_, index = function.args
        inside = b.icmp_unsigned("<", index, _i32(len(self.program.states)))
        with b.if_then(inside):
            slot = b.gep(_at(b, self_, self.place.states), [b.zext(index, _I64)], source_etype=_PTR)
            b.ret(b.load(slot, typ=_PTR))
        b.ret(_NULL)

    def _save(self) -> None:
        function, b = self._function("save", _I32, [("self", _PTR), ("path", _PTR)])
        self_, path = function.args
        length = self._call(b, "strlen", path)
        ending = b".tmp\0"
        temporary = self._call(b, "malloc", b.add(length, _i64(len(ending))))
        with b.if_then(b.icmp_unsigned("==", temporary, _NULL)):
            b.ret(_i32(-1))
        self._call(b, "memcpy", temporary, path, length)
        behind = b.gep(temporary, [length], source_etype=_BYTE)
        self._call(b, "memcpy", behind, self._bytes(ending, "ending"), _i64(len(ending)))
        file = self._call(b, "fopen", temporary, self._bytes(b"wb\0", "mode_write"))
        with b.if_then(b.icmp_unsigned("==", file, _NULL)):
            self._call(b, "free", temporary)
            b.ret(_i32(-1))
        whole = self._transfer(b, "fwrite", self.header, self.header_size, file)
        whole = b.and_(whole, self._transfer_states(b, "fwrite", self_, file))
        whole = b.and_(whole, b.icmp_signed("==", self._call(b, "fclose", file), _i32(0)))
        with b.if_then(whole):
            renamed = b.icmp_signed("==", self._call(b, "rename", temporary, path), _i32(0))
            with b.if_then(renamed):
                self._call(b, "free", temporary)
                b.ret(_i32(0))
        self._call(b, "remove", temporary)
        self._call(b, "free", temporary)
        b.ret(_i32(-1))

    def _message(self) -> None:
        function, b = self._function("message", _PTR, [("status", _I32)])
        unknown = function.append_basic_block("unknown")
        switch = b.switch(function.args[0], unknown)
        for status, text in enumerate(self.messages):
            block = function.append_basic_block(f"status.{status}")
            switch.add_case(_i32(status), block)
            llvm.IRBuilder(block).ret(self._bytes(text.encode() + b"\0", f"message.{status}"))
        llvm.IRBuilder(unknown).ret(self._bytes(b"unknown status\0", "message.unknown"))

    def _free(self) -> None:
        function, b = self._function("free", llvm.VoidType(), [("self", _PTR)])
        (self_,) = function.args
        with b.if_then(b.icmp_unsigned("!=", self_, _NULL)):
            self._release(b, self_)
        b.ret_void()

    def _release(self, b: llvm.IRBuilder, self_: llvm.Value) -> None:
        """Free an instance; with the last one, end the pool's threads: the library may be unloaded then."""
        self._call(b, "free", b.load(_at(b, self_, _ARENA), typ=_PTR))
        self._call(b, "free", self_)
        before = b.atomic_rmw("sub", self.instances, _i64(1), "seq_cst")
        with b.if_then(b.icmp_signed("==", before, _i64(1))):
            stop = b.load(_at(b, self.pool, _STOP), typ=_PTR)
            call_pointer(b, stop, llvm.VoidType(), [self.pool])

    def _function(
        self, suffix: str, result: llvm.Type, params: Sequence[tuple[str, llvm.Type]]
    ) -> tuple[llvm.Function, llvm.IRBuilder]:
        function = llvm.Function(
            self.module, llvm.FunctionType(result, [t for _, t in params]), f"{self.name}_{suffix}"
        )
        for argument, (name, _) in zip(function.args, params, strict=True):
            argument.name = name
        return function, llvm.IRBuilder(function.append_basic_block("entry"))

    def _call(self, b: llvm.IRBuilder, name: str, *args: llvm.Value) -> llvm.Value:
        """Call a function of libc."""
        return b.call(self.libc[name], args)

    def _transfer(self, b: llvm.IRBuilder, call: str, place: llvm.Value, size: int, file: llvm.Value) -> llvm.Value:
        """fread or fwrite of exactly `size` bytes: true where all of them went through."""
        return b.icmp_unsigned("==", self._call(b, call, place, _i64(1), _i64(size), file), _i64(size))

    def _transfer_states(self, b: llvm.IRBuilder, call: str, self_: llvm.Value, file: llvm.Value) -> llvm.Value:
        """The same of every state."""
        whole = llvm.Constant(llvm.IntType(1), 1)
        for port, offset in zip(self.program.states, self.place.state_data, strict=True):
            whole = b.and_(whole, self._transfer(b, call, _at(b, self_, offset), port.type.nbytes, file))
        return whole

    def _bytes(self, data: bytes, name: str) -> llvm.GlobalVariable:
        type_ = llvm.ArrayType(_BYTE, len(data))
        variable = llvm.GlobalVariable(self.module, type_, f"{self.name}.{name}")
        variable.linkage = "internal"
        variable.global_constant = True
        variable.initializer = llvm.Constant(type_, bytearray(data))
        return variable


def _plan(program: Program, header_size: int, debug: bool) -> _Instance:
    cursor = ALIGNMENT  # the context comes first

    def reserve(size: int, gap: int = 0) -> int:
        nonlocal cursor
        start = cursor
        cursor = -(-(start + size) // ALIGNMENT) * ALIGNMENT + gap
        return start

    inputs, states, outputs = (reserve(8 * len(p)) for p in (program.inputs, program.states, program.outputs))
    sizes = [port.type.nbytes for port in program.states]
    state_data = tuple(reserve(size, ZONE if debug else 0) for size in sizes)
    zones = zones_behind(zip(state_data, sizes, strict=True)) if debug else ()
    header = reserve(header_size)
    return _Instance(inputs, states, outputs, state_data, header, cursor, zones)


def _whole(size: int) -> int:
    """A size that an aligned allocation may have: a multiple of the alignment, and not zero."""
    return max(1, -(-size // ALIGNMENT)) * ALIGNMENT


def _at(b: llvm.IRBuilder, base: llvm.Value, offset: int) -> llvm.Value:
    return b.gep(base, [_i64(offset)], source_etype=_BYTE, inbounds=True)


def _i32(n: int) -> llvm.Constant:
    return llvm.Constant(_I32, n)


def _i64(n: int) -> llvm.Constant:
    return llvm.Constant(_I64, n)
