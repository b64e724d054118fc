"""Numba as a front end: kernel source -> LLVM IR, typed and lowered but not optimised.

Every use of Numba's internals is in this file (numba 0.68). A capturing code library keeps the IR instead of compiling
it, and a short pass pipeline leaves out everything that serves Python objects. No global option of Numba's is touched.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import codegen, compiler, cpu, registry
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager
from numba.core.typed_passes import (
    IRLegalization,
    NativeLowering,
    NoPythonBackend,
    NopythonTypeInference,
    PreLowerStripPhis,
)
from numba.core.untyped_passes import FixupArgs, IRProcessing, ReconstructSSA, TranslateByteCode

from graphc.codegen.intrinsics import STORAGE_TYPES
from graphc.codegen.language import LANGUAGE
from graphc.ir.types import DType

_PASSES = (
    TranslateByteCode,
    FixupArgs,
    IRProcessing,
    ReconstructSSA,
    NopythonTypeInference,
    PreLowerStripPhis,
    IRLegalization,
    NativeLowering,
    NoPythonBackend,
)
_TRAILING = (types.CPointer(types.uint8), types.CPointer(types.int32), types.int64, types.int64)
_TRAILING_NAMES = ("scratch", "fault", "lo", "hi")


class _CapturingLibrary(codegen.CodeLibrary):
    """Keeps the modules that Numba hands over for compilation."""

    def __init__(self, target_codegen: Any, name: str):
        super().__init__(target_codegen, name)
        self.modules: list[ir.Module] = []

    def add_ir_module(self, module: ir.Module) -> None:
        self.modules.append(module)

    def add_linking_library(self, library: Any) -> None:
        pass

    def enable_object_caching(self) -> None:
        pass

    def finalize(self) -> None:
        pass

    def _unavailable(self, *args: Any) -> Any:
        raise NotImplementedError

    get_function = get_llvm_str = get_asm_str = get_defined_functions = get_pointer_to_function = _unavailable


class _LoweringPipeline(compiler.CompilerBase):
    def define_pipelines(self) -> list[PassManager]:
        manager = PassManager("kernel")
        for each in _PASSES:
            manager.add_pass(each, each.__name__)
        manager.finalize()
        return [manager]


def python_kernel(source: str, name: str) -> Callable[..., None]:
    """The kernel as plain Python over NumPy arrays: one-dimensional ones for the pointers, typed as
    `graphc.codegen.plain` says. Uncompiled, so it can be stepped through: tracebacks and debuggers find its text.
    Overflow and the like raise no warning, as in the compiled kernel."""
    return np.errstate(all="ignore")(_define(source, name))


def _define(source: str, name: str) -> Callable[..., None]:
    filename = f"<{name}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    scope = {**LANGUAGE, "__name__": f"graphc.kernels.{name}"}
    exec(compile(source, filename, "exec"), scope)
    kernel: Callable[..., None] = scope["kernel"]
    return kernel


def llvm_ir(source: str, params: Sequence[DType], units: int, symbol: str, attributes: str = "") -> str:
    """Unoptimised LLVM IR that defines `void symbol(ptr p0, ..., ptr scratch, ptr fault, i64 lo, i64 hi)`.

    `attributes` are function attributes in LLVM's syntax. No two pointers overlap, and 0 <= lo, hi <= units. Raises
    numba.core.errors.TypingError where the source breaks the typing rules of the kernel language.
    """
    function = _define(source, symbol)
    pointers = tuple(types.CPointer(STORAGE_TYPES[p]) for p in params)
    module, name = _lower(function, (*pointers, *_TRAILING), symbol)
    body = f"{symbol}.body"
    for variable in module.global_values:
        if isinstance(variable, ir.GlobalVariable) and variable.linkage == "common":
            variable.linkage = "internal"  # Numba's environment pointer, which nothing refers to
    inner = module.get_global(name)
    inner.linkage = "internal"
    inner.attributes.add("alwaysinline")
    module.name = symbol
    return str(module).replace(name, body) + _wrapper(symbol, body, len(params), units, attributes)


def _lower(function: Callable[..., Any], arguments: tuple[types.Type, ...], name: str) -> tuple[ir.Module, str]:
    """Numba's module for the function, and the name it gave it."""
    flags: Any = compiler.Flags()
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = flags.noalias = True
    flags.nrt = False
    flags.error_model = "numpy"
    flags.fastmath = cpu.FastMathOptions({"contract"})
    with global_compiler_lock:
        target = registry.cpu_target
        library = _CapturingLibrary(target.target_context.codegen(), name)
        compiled = compiler.compile_extra(
            target.typing_context,
            target.target_context,
            function,
            arguments,
            types.void,
            flags,
            {},
            library=library,
            pipeline_class=_LoweringPipeline,
        )
    (module,) = library.modules
    return module, compiled.fndesc.llvm_func_name


def _wrapper(symbol: str, body: str, n_params: int, units: int, attributes: str) -> str:
    """The kernel's own function. Numba's has a place for a result and one for an exception, and returns a status: no
    kernel uses them, and they vanish when it is inlined here."""
    pointers = [f"%p{i}" for i in range(n_params)] + ["%scratch", "%fault"]
    bounded = f"i64 range(i64 0, {units + 1})"
    parameters = [f"ptr noalias {p}" for p in pointers] + [f"{bounded} %lo", f"{bounded} %hi"]
    arguments = ["ptr %result", "ptr %exception", *(f"ptr {p}" for p in pointers), "i64 %lo", "i64 %hi"]
    return f"""
define void @{symbol}({", ".join(parameters)}) nounwind {attributes} {{
  %result = alloca ptr
  %exception = alloca ptr
  %status = call i32 @"{body}"({", ".join(arguments)})
  ret void
}}
"""
