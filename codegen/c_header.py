"""The C header of an exported program, and the names that things have in it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from graphc.ir.types import TensorType
from graphc.runtime.pool_ir import MOST_THREADS
from graphc.runtime.program import Program

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

# Keywords of C and C++, the types above, and what common headers and compilers define as macros.
_RESERVED_TEXT = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class
    co_await co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype
    default delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline int
    long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public register
    reinterpret_cast requires restrict return short signed sizeof static static_assert static_cast struct switch
    template this thread_local throw true try typedef typeid typename typeof typeof_unqual union unsigned using
    virtual void volatile wchar_t while xor xor_eq int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t
    NULL EOF assert errno linux stderr stdin stdout unix
"""
_RESERVED = frozenset(_RESERVED_TEXT.split())


def c_name(name: str) -> str:
    """A name as a C identifier."""
    cleaned = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not cleaned or cleaned[0].isdigit() or cleaned in _RESERVED:
        cleaned = f"_{cleaned}"
    return cleaned


def c_names(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Identifiers for several names, distinct from one another and from `taken` even where case is lost."""
    used = {name.upper() for name in taken}
    found = []
    for name in names:
        base = candidate = c_name(name)
        number = 1
        while candidate.upper() in used:
            number += 1
            candidate = f"{base}_{number}"
        used.add(candidate.upper())
        found.append(candidate)
    return found


def c_header(program: Program, name: str) -> str:
    """The header of a program exported as `name`: its functions, and every buffer's name, dtype, shape and role."""
    upper = name.upper()
    ports = [*program.inputs, *program.outputs]
    parameters = c_names((port.name for port in ports), taken=["self"])
    roles = ["input"] * len(program.inputs) + ["output"] * len(program.outputs)
    arguments = [f"{name} *self"] + [
        f"{'const ' if role == 'input' else ''}{_C_TYPES[port.type.dtype.name]} *{parameter}"
        for role, port, parameter in zip(roles, ports, parameters, strict=True)
    ]
    rows = [
        f"   {role:6} {parameter}: {_described(port.type)}"
        for role, port, parameter in zip(roles, ports, parameters, strict=True)
    ]
    identifiers = [identifier.upper() for identifier in c_names(port.name for port in program.states)]
    lines = [
        f"/* {name}: a program compiled by graphc for the CPU {_comment(program.target.cpu)}, {program.target.triple}.",
        "",
        "   Arrays are dense and row-major, aligned to their elements. bf16 and f16 are uint16_t; bool is uint8_t,",
        "   0 or 1. No two arrays of a call may overlap, but that inputs may share memory.",
        "",
        *rows,
        f"   state  {len(program.states)} arrays, listed below",
        f"   working memory: {program.arena_bytes} bytes and {program.scratch_bytes} for each thread */",
        f"#ifndef {upper}_H",
        f"#define {upper}_H",
        "",
        "#include <stdint.h>",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        "/* An instance: the states and the working memory. One thread at a time may use it. */",
        f"typedef struct {name} {name};",
        "",
        "/* A new instance, with the states of a file: the one that was exported beside this header, or one that",
        f"   {name}_save wrote. With NULL for a path every state is zero. Returns NULL when there is no memory, or the",
        "   file cannot be read or holds something else. */",
        f"{name} *{name}_init(const char *state_path);",
        "",
        f"/* Run once. 0, or a status that {name}_message explains; then no state has changed. */",
        f"int32_t {name}_step({', '.join(arguments)});",
        "",
        f"/* Run on `count` threads, 1 to {MOST_THREADS}, from the next step on. 0, or -1 for another count or when",
        "   there is no memory. An instance starts with as many as GRAPHC_NUM_THREADS says, else as there are",
        f"   processors, but no more than the program gains from: {program.parallelism}. Instances share the threads,",
        "   which end with the last one; while one of them runs, others run on the calling thread alone. Results have",
        "   the same bits for any number of threads. */",
        f"int32_t {name}_threads({name} *self, int32_t count);",
        "",
        "/* The memory of one state, 64-byte aligned, valid until free. NULL for an index out of range. */",
        f"void *{name}_state({name} *self, int32_t index);",
        "",
        "/* Write all states to a safetensors file, by way of a file beside it with .tmp behind its name. 0, or -1",
        "   when it cannot be written whole; a file that was there is untouched then. */",
        f"int32_t {name}_save(const {name} *self, const char *path);",
        "",
        "/* What a status means. */",
        f"const char *{name}_message(int32_t status);",
        "",
        f"void {name}_free({name} *self);",
        "",
        "/* Indices of the states, and their sizes in bytes. */",
        "enum {",
        *(
            f"    {upper}_STATE_{identifier} = {i}, /* {_comment(port.name)}: {port.type},"
            f" {'updated' if port.updated else 'only read'} */"
            for i, (port, identifier) in enumerate(zip(program.states, identifiers, strict=True))
        ),
        f"    {upper}_STATES = {len(program.states)}",
        "};",
        *(
            f"#define {upper}_BYTES_{identifier} {port.type.nbytes}"
            for port, identifier in zip(program.states, identifiers, strict=True)
        ),
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def _described(type_: TensorType) -> str:
    return f"{type_}, {type_.nbytes} bytes"


def _comment(text: str) -> str:
    """Text that cannot end the comment it stands in."""
    return re.sub(r"[^\w.,:;()\[\] -]", "_", text, flags=re.ASCII)
