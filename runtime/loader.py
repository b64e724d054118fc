"""Puts a program's machine code into this process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

import llvmlite.binding as llvm

from graphc.ir.errors import GraphcError
from graphc.runtime.program import MachineTarget, Program

Entry = Callable[[int], int]


class TargetMismatchError(GraphcError, RuntimeError):
    """A program whose code uses CPU features that this machine lacks."""


@cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def new_session() -> llvm.LLJIT:
    """A compiler session. Each program has its own: a session keeps the names of all libraries it ever held."""
    return llvm.create_lljit_compiler(new_machine())


def new_machine() -> llvm.TargetMachine:
    """LLVM's code generator for code that this process runs."""
    _initialize()
    return llvm.Target.from_default_triple().create_target_machine(jit=True)


@cache
def _host_features() -> frozenset[str]:
    return frozenset(name for name, present in llvm.get_host_cpu_features().items() if present)


def check_target(target: MachineTarget, name: str) -> None:
    """Raises TargetMismatchError, naming what is missing, where this machine cannot run code made for `target`."""
    host = llvm.get_default_triple()
    if target.triple.split("-")[0] != host.split("-")[0]:
        raise TargetMismatchError(
            f"program {name} was compiled for {target.triple}, and this machine is {host}; "
            "export it again for this target"
        )
    missing = sorted(target.required - _host_features())
    if missing:
        raise TargetMismatchError(
            f"program {name} was compiled for the CPU {target.cpu!r} and uses {', '.join(missing)}, which this machine "
            f"({llvm.get_host_cpu_name()}) lacks; export it for a lower baseline, e.g. target='x86-64-v3'"
        )


class LoadedProgram:
    """A program in memory; `entry(context_address)` runs it. The code lives as long as this object."""

    def __init__(self, program: Program):
        check_target(program.target, program.name)
        self.program = program
        builder = llvm.JITLibraryBuilder()
        for image in program.objects:
            builder.add_object_img(image)
        self._tracker = builder.add_current_process().export_symbol(program.entry).link(new_session(), "program")
        self.entry: Entry = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)(self._tracker[program.entry])
