"""LLVM for one target: optimise a module, link modules, emit object code or assembly.

Where there is more than one thing to compile, LLVM has a thread of its own: it works outside of Python's lock, so it
compiles one kernel while Numba, all of it Python, writes the next one's IR. llvmlite locks too, so one thread will do.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import llvmlite.binding as llvm

from graphc.codegen.compile_times import count, stage
from graphc.codegen.half_helpers import half_helpers, needs_half_helpers
from graphc.codegen.kernel import Kernel
from graphc.codegen.kernel_cache import cache_kernel, cached_kernel
from graphc.codegen.llvm_values import LIBM_SYMBOLS
from graphc.ir.target import Target
from graphc.runtime.forks import Level, whole_at_fork

_FRONT_END = "graphc.codegen.frontend"  # imported when the first kernel is compiled: it brings Numba along
_lock = whole_at_fork(threading.Lock(), Level.CODEGEN)
_compiled: dict[tuple[str, Target], CompiledKernel] = {}

# Seconds until a thread that runs Python gives way to another one: LLVM's thread comes back to Python a few times for
# each kernel, and would wait for the default of 5 ms each time.
_SWITCH_INTERVAL = 2e-4


class InternalCompilerError(AssertionError):
    """Generated code that breaks one of the code generator's own rules."""


@dataclass(frozen=True)
class CompiledKernel:
    """One optimised kernel: LLVM bitcode, and relocatable object code that defines `symbol`."""

    symbol: str
    target: Target
    bitcode: bytes
    object_code: bytes

    @property
    def llvm_text(self) -> str:
        return str(llvm.parse_bitcode(self.bitcode))

    @property
    def assembly(self) -> str:
        return target_machine(self.target).emit_assembly(llvm.parse_bitcode(self.bitcode))


def compile_kernel(kernel: Kernel, target: Target) -> CompiledKernel:
    """Compile one kernel; see `compile_all`."""
    return compile_all([kernel], (), target)[0][0]


def compile_all(
    kernels: Sequence[Kernel], drivers: Sequence[str], target: Target
) -> tuple[list[CompiledKernel], list[bytes]]:
    """Compile kernels, and drivers given as LLVM IR to object code. Equal kernels are compiled once in a process, and
    kept in the cache on disk for others. Raises InternalCompilerError where a kernel refers to a symbol that a program
    must not need."""
    with _lock:
        missing = [k for k in {k.symbol: k for k in kernels}.values() if not _known(k, target)]
        with _llvm_thread(len(missing) + len(drivers) > 1) as submit:
            images = [submit(_driver_object, text, target) for text in drivers]
            made = [(k, submit(_finish, k, _front_end(k, target), target)) for k in missing]
            for kernel, future in made:
                compiled = _compiled[kernel.symbol, target] = future.result()
                cache_kernel(kernel, target, compiled.bitcode, compiled.object_code)
        return [_compiled[k.symbol, target] for k in kernels], [image.result() for image in images]


def _known(kernel: Kernel, target: Target) -> bool:
    key = (kernel.symbol, target)
    if key in _compiled:
        count("in memory")
    elif (found := cached_kernel(kernel, target)) is not None:
        count("in the cache")
        _compiled[key] = CompiledKernel(kernel.symbol, target, *found)
    return key in _compiled


@contextmanager
def _llvm_thread(wanted: bool) -> Iterator[Callable[..., Future[Any]]]:
    """Yields what runs a function in LLVM's thread, or at once where no such thread is wanted."""
    if not wanted:
        yield _run_now
        return
    interval = sys.getswitchinterval()
    thread = ThreadPoolExecutor(1, "graphc-llvm")
    sys.setswitchinterval(min(interval, _SWITCH_INTERVAL))
    try:
        yield lambda function, *args: thread.submit(copy_context().run, function, *args)
    finally:
        sys.setswitchinterval(interval)
        thread.shutdown(cancel_futures=True)


def _run_now(function: Callable[..., Any], *args: Any) -> Future[Any]:
    done: Future[Any] = Future()
    done.set_result(function(*args))
    return done


def _front_end(kernel: Kernel, target: Target) -> str:
    count("compiled")
    with stage("import"):
        import_module(_FRONT_END)
    with stage("numba"):
        return unoptimised_llvm(kernel, target)


def _finish(kernel: Kernel, text: str, target: Target) -> CompiledKernel:
    with stage("llvm"):
        module = llvm.parse_assembly(text)
        if "f16" in kernel.source and needs_half_helpers(target):
            module.link_in(llvm.parse_assembly(half_helpers()))
        module = _optimise(module, target)
        check_symbols(module, kernel.source)
        object_code = target_machine(target).emit_object(module)
        return CompiledKernel(kernel.symbol, target, module.as_bitcode(), object_code)


def unoptimised_llvm(kernel: Kernel, target: Target) -> str:
    """A kernel's LLVM IR as the front end writes it."""
    front_end = import_module(_FRONT_END)
    text: str = front_end.llvm_ir(
        kernel.source, kernel.params, kernel.units, kernel.symbol, function_attributes(target)
    )
    return text


def compile_module(text: str, target: Target) -> bytes:
    """Object code of a module given as LLVM IR."""
    with _lock:
        return target_machine(target).emit_object(_optimise(llvm.parse_assembly(text), target))


def _driver_object(text: str, target: Target) -> bytes:
    """A driver runs each instruction once a step, so it is compiled fast, not to be fast: with hundreds of launches,
    in a sixth of the time."""
    with stage("driver"):
        return target_machine(target, 0).emit_object(_optimise(llvm.parse_assembly(text), target, 1))


def link(kernels: Sequence[CompiledKernel], texts: Sequence[str], visible: Collection[str], target: Target) -> bytes:
    """Object code of one module: the kernels, and the modules given as LLVM IR. Of what it defines, only the names in
    `visible` can be seen from outside."""
    with _lock:
        module = _optimise(llvm.parse_assembly(texts[0]), target)
        for text in texts[1:]:
            module.link_in(_optimise(llvm.parse_assembly(text), target))
        for kernel in {k.symbol: k for k in kernels}.values():
            module.link_in(llvm.parse_bitcode(kernel.bitcode))
        for item in (*module.functions, *module.global_variables):
            if not item.is_declaration and item.name not in visible and not item.name.startswith("llvm."):
                item.linkage = "internal"
        module.verify()
        return target_machine(target).emit_object(module)


def function_attributes(target: Target) -> str:
    """Attributes, in LLVM's syntax, of a function made for the target."""
    attributes = {"target-cpu": target.cpu, "prefer-vector-width": str(8 * target.vector_bytes)}
    if target.features:
        attributes["target-features"] = target.features
    return " ".join(f'"{key}"="{value}"' for key, value in attributes.items())


@cache
def target_machine(target: Target, level: int = 3) -> llvm.TargetMachine:
    """LLVM's code generator for the target at an optimisation level of 0 to 3. It makes position-independent code."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=level, reloc="pic", codemodel="default"
    )


def check_symbols(module: llvm.ModuleRef, source: str) -> None:
    """Raises InternalCompilerError, naming the offender, where the module needs a symbol it may not."""
    for item in (*module.functions, *module.global_variables):
        if item.is_declaration and not item.name.startswith("llvm.") and item.name not in LIBM_SYMBOLS:
            raise InternalCompilerError(f"generated code refers to {item.name}, which no program may need:\n{source}")


def _optimise(module: llvm.ModuleRef, target: Target, level: int = 3) -> llvm.ModuleRef:
    module.triple = target.triple
    machine = target_machine(target)
    module.data_layout = str(machine.target_data)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    options.loop_vectorization = options.slp_vectorization = True
    options.loop_interleaving = True
    # Unrolling an inner loop whole makes LLVM vectorise the outer one, with gathers, and takes long to compile.
    options.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module
