"""The C interface of an exported program: emitted functions, and the header that declares them.

    NAME_init(state_path)   one allocation holding the context, the states and the arena; states read from a file
    NAME_step(self, ...)    one run
    NAME_state(self, i)     where state i lies, NAME_save(self, path) writes all states, NAME_message(status), NAME_free

The emitted code calls libc only: aligned_alloc, free, fopen, fclose, fread, fwrite, memcmp, memset.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir as llvm

from graphc.ir.types import TensorType
from graphc.runtime.program import Port, Program

_BYTE = llvm.IntType(8)
_I32 = llvm.IntType(32)
_I64 = llvm.IntType(64)
_PTR = llvm.PointerType()
_NULL = llvm.Constant(_PTR, None)

_C_TYPES = {
    "f32": "float",
    "f64": "double",
    "bf16": "uint16_t",
    "f16": "uint16_t",
    "i8": "int8_t",
    "i16": "int16_t",
    "i32": "int32_t",
    "i64": "int64_t",
    "u8": "uint8_t",
    "bool": "uint8_t",
}

_LIBC = {
    "aligned_alloc": (_PTR, [_I64, _I64]),
    "free": (llvm.VoidType(), [_PTR]),
    "fopen": (_PTR, [_PTR, _PTR]),
    "fclose": (_I32, [_PTR]),
    "fread": (_I64, [_PTR, _I64, _I64, _PTR]),
    "fwrite": (_I64, [_PTR, _I64, _I64, _PTR]),
    "memcmp": (_I32, [_PTR, _PTR, _I64]),
    "memset": (_PTR, [_PTR, _I32, _I64]),
}


@dataclass(frozen=True)
class _Instance:
    """Byte offsets inside the one allocation an instance is."""

    inputs: int
    states: int
    outputs: int
    state_data: tuple[int, ...]
    arena: int
    header: int
    total: int


def emit_c_api(program: Program, name: str, state_header: bytes) -> llvm.Module:
    """The module that defines NAME_init and the rest, to be linked with the driver and the kernels. `state_header` is
    everything in a state file that precedes the states' data, which follow in port order."""
    return _Emitter(program, name, state_header).module


class _Emitter:
    def __init__(self, program: Program, name: str, state_header: bytes):
        self.program = program
        self.name = name
        self.place = _plan(program, len(state_header))
        self.module = llvm.Module(f"c_api.{name}")
        self.libc = {n: llvm.Function(self.module, llvm.FunctionType(r, a), n) for n, (r, a) in _LIBC.items()}
        self.entry = llvm.Function(self.module, llvm.FunctionType(_I32, [_PTR]), program.entry)
        self.header = self._bytes(state_header, "state_header")
        self.header_size = len(state_header)
        self._init()
        self._step()
        self._state()
        self._save()
        self._message()
        self._free()

    def _init(self) -> None:
        function, b = self._function("init", _PTR, [("state_path", _PTR)])
        (path,) = function.args
        # glibc's aligned_alloc wants a size that is a multiple of the alignment
        self_ = b.call(self.libc["aligned_alloc"], [_i64(64), _i64(self.place.total)])
        with b.if_then(b.icmp_unsigned("==", self_, _NULL)):
            b.ret(_NULL)
        b.call(self.libc["memset"], [self_, _i32(0), _i64(self.place.total)])
        for i, offset in enumerate((self.place.arena, self.place.inputs, self.place.states, self.place.outputs)):
            b.store(_at(b, self_, offset), _at(b, self_, 8 * i))
        for i, offset in enumerate(self.place.state_data):
            b.store(_at(b, self_, offset), _at(b, self_, self.place.states + 8 * i))
        with b.if_then(b.icmp_unsigned("==", path, _NULL)):
            b.ret(self_)
        file = b.call(self.libc["fopen"], [path, self._bytes(b"rb\0", "mode_read")])
        failed = function.append_basic_block("failed")
        opened = function.append_basic_block("opened")
        b.cbranch(b.icmp_unsigned("==", file, _NULL), failed, opened)
        b.position_at_end(opened)
        scratch = _at(b, self_, self.place.header)
        whole = self._transfer(b, "fread", scratch, self.header_size, file)
        same = b.icmp_signed("==", b.call(self.libc["memcmp"], [scratch, self.header, _i64(self.header_size)]), _i32(0))
        whole = b.and_(whole, same)
        for port, offset in zip(self.program.states, self.place.state_data, strict=True):
            whole = b.and_(whole, self._transfer(b, "fread", _at(b, self_, offset), port.type.nbytes, file))
        b.call(self.libc["fclose"], [file])
        with b.if_then(whole):
            b.ret(self_)
        b.branch(failed)
        b.position_at_end(failed)
        b.call(self.libc["free"], [self_])
        b.ret(_NULL)

    def _step(self) -> None:
        ports = [*self.program.inputs, *self.program.outputs]
        function, b = self._function("step", _I32, [("self", _PTR), *((c_name(p.name), _PTR) for p in ports)])
        self_, *pointers = function.args
        n_inputs = len(self.program.inputs)
        for i, pointer in enumerate(pointers):
            table = self.place.inputs + 8 * i if i < n_inputs else self.place.outputs + 8 * (i - n_inputs)
            b.store(pointer, _at(b, self_, table))
        b.ret(b.call(self.entry, [self_]))

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
        file = b.call(self.libc["fopen"], [path, self._bytes(b"wb\0", "mode_write")])
        with b.if_then(b.icmp_unsigned("==", file, _NULL)):
            b.ret(_i32(-1))
        whole = self._transfer(b, "fwrite", self.header, self.header_size, file)
        for port, offset in zip(self.program.states, self.place.state_data, strict=True):
            whole = b.and_(whole, self._transfer(b, "fwrite", _at(b, self_, offset), port.type.nbytes, file))
        closed = b.icmp_signed("==", b.call(self.libc["fclose"], [file]), _i32(0))
        b.ret(b.select(b.and_(whole, closed), _i32(0), _i32(-1)))

    def _message(self) -> None:
        function, b = self._function("message", _PTR, [("status", _I32)])
        texts = ["ok", *(fault.message for fault in self.program.faults)]
        unknown = function.append_basic_block("unknown")
        switch = b.switch(function.args[0], unknown)
        for status, text in enumerate(texts):
            block = function.append_basic_block(f"status.{status}")
            switch.add_case(_i32(status), block)
            llvm.IRBuilder(block).ret(self._bytes(text.encode() + b"\0", f"message.{status}"))
        llvm.IRBuilder(unknown).ret(self._bytes(b"unknown status\0", "message.unknown"))

    def _free(self) -> None:
        function, b = self._function("free", llvm.VoidType(), [("self", _PTR)])
        b.call(self.libc["free"], list(function.args))
        b.ret_void()

    def _function(
        self, suffix: str, result: llvm.Type, params: Sequence[tuple[str, llvm.Type]]
    ) -> tuple[llvm.Function, llvm.IRBuilder]:
        function = llvm.Function(
            self.module, llvm.FunctionType(result, [t for _, t in params]), f"{self.name}_{suffix}"
        )
        for argument, (name, _) in zip(function.args, params, strict=True):
            argument.name = name
        return function, llvm.IRBuilder(function.append_basic_block("entry"))

    def _transfer(self, b: llvm.IRBuilder, call: str, place: llvm.Value, size: int, file: llvm.Value) -> llvm.Value:
        """fread or fwrite of exactly `size` bytes: true where all of them went through."""
        done = b.call(self.libc[call], [place, _i64(1), _i64(size), file])
        return b.icmp_unsigned("==", done, _i64(size))

    def _bytes(self, data: bytes, name: str) -> llvm.GlobalVariable:
        type_ = llvm.ArrayType(_BYTE, len(data))
        variable = llvm.GlobalVariable(self.module, type_, f"{self.name}.{name}")
        variable.linkage = "internal"
        variable.global_constant = True
        variable.initializer = llvm.Constant(type_, bytearray(data))
        return variable


def c_header(program: Program, name: str) -> str:
    """The header of an exported program: every buffer's name, dtype, shape and role."""
    guard = f"{name.upper()}_H"
    inputs = [f"const {_parameter(p)}" for p in program.inputs]
    outputs = [_parameter(p) for p in program.outputs]
    rows = [_row("input", p) for p in program.inputs] + [_row("output", p) for p in program.outputs]
    lines = [
        f"/* {name}: a training step compiled by graphc for {program.target.cpu} ({program.target.triple}).",
        "",
        "   All arrays are dense and row-major; none may overlap another. bf16 and f16 are stored as uint16_t, bool as",
        "   uint8_t (0 or 1). An instance is used by one thread at a time.",
        "",
        *(f"   {row}" for row in rows),
        f"   arena: {program.arena_bytes} bytes */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "#include <stdint.h>",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"typedef struct {name} {name};",
        "",
        "/* A new instance, its states read from the safetensors file that was exported beside this header (or that",
        f"   {name}_save wrote); zero with NULL for a path. NULL when memory or the file fails. */",
        f"{name} *{name}_init(const char *state_path);",
        "",
        f"/* Run once. 0, or a status that {name}_message explains; a failed step leaves the states unchanged where",
        "   its faulting ops do not depend on updated states. */",
        f"int32_t {name}_step({', '.join([f'{name} *self', *inputs, *outputs])});",
        "",
        "/* The memory of one state (indices below), valid until free. NULL for an index out of range. */",
        f"void *{name}_state({name} *self, int32_t index);",
        "",
        "/* Write every state to a safetensors file. 0, or -1 when the file cannot be written whole. */",
        f"int32_t {name}_save(const {name} *self, const char *path);",
        "",
        f"const char *{name}_message(int32_t status);",
        f"void {name}_free({name} *self);",
        "",
        f"enum {{ {name.upper()}_STATES = {len(program.states)} }};",
    ]
    for i, (port, identifier) in enumerate(zip(program.states, _state_names(program.states), strict=True)):
        macro = f"{name.upper()}_STATE_{identifier.upper()}"
        role = "updated" if port.updated else "read"
        lines.append(f"#define {macro} {i} /* {port.name}: {port.type}, {role} */")
        lines.append(f"#define {macro}_BYTES {port.type.nbytes}")
    return "\n".join([*lines, "", "#ifdef __cplusplus", "}", "#endif", "#endif", ""])


def c_name(name: str) -> str:
    """A name as a C identifier."""
    cleaned = re.sub(r"\W", "_", name, flags=re.ASCII) or "_"
    return cleaned if not cleaned[0].isdigit() else f"_{cleaned}"


def _state_names(ports: Sequence[Port]) -> list[str]:
    taken: dict[str, int] = {}
    names = []
    for port in ports:
        base = c_name(port.name)
        count = taken[base.upper()] = taken.get(base.upper(), 0) + 1
        names.append(base if count == 1 else f"{base}_{count}")
    return names


def _parameter(port: Port) -> str:
    return f"{_C_TYPES[port.type.dtype.name]} *{c_name(port.name)}"


def _row(role: str, port: Port) -> str:
    return f"{role} {c_name(port.name)}: {_describe(port.type)}"


def _describe(type_: TensorType) -> str:
    return f"{type_}, {type_.nbytes} bytes"


def _plan(program: Program, header_size: int) -> _Instance:
    cursor = 64  # the context comes first

    def reserve(size: int) -> int:
        nonlocal cursor
        start = cursor
        cursor = -(-(start + size) // 64) * 64
        return start

    tables = [reserve(8 * len(ports)) for ports in (program.inputs, program.states, program.outputs)]
    state_data = tuple(reserve(port.type.nbytes) for port in program.states)
    arena = reserve(program.arena_bytes)
    header = reserve(header_size)
    return _Instance(tables[0], tables[1], tables[2], state_data, arena, header, cursor)


def _at(b: llvm.IRBuilder, base: llvm.Value, offset: int) -> llvm.Value:
    return b.gep(base, [_i64(offset)], source_etype=_BYTE, inbounds=True)


def _i32(n: int) -> llvm.Constant:
    return llvm.Constant(_I32, n)


def _i64(n: int) -> llvm.Constant:
    return llvm.Constant(_I64, n)
