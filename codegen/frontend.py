"""Numba as a front end: kernel source -> SSA form with a type for every variable -> LLVM IR, not optimised.

Numba's interpreter of bytecode, its SSA construction and its type inference are used, each by itself (numba 0.68), with
a typing context that knows the kernel language only. No global option and no registry of Numba's is touched, and its
CPU target, whose registries take half a second to load, is never made.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numba.core import types
from numba.core.bytecode import ByteCode, FunctionIdentity
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import TypingError
from numba.core.interpreter import Interpreter
from numba.core.ssa import reconstruct_ssa
from numba.core.typeinfer import TypeInferer
from numba.core.typing.context import BaseContext

import graphc.codegen.intrinsics
import graphc.codegen.python_constructs  # noqa: F401 - both fill FUNCTIONS
from graphc.codegen.intrinsics import STORAGE_TYPES
from graphc.codegen.kernel_functions import FUNCTIONS, KernelFunction
from graphc.codegen.language import LANGUAGE
from graphc.codegen.lowering import lower
from graphc.ir.types import DType

_TRAILING = {
    "scratch": types.CPointer(types.uint8),
    "fault": types.CPointer(types.int32),
    "lo": types.int64,
    "hi": types.int64,
}


class _Interpreter(Interpreter):
    """Bytecode to Numba's IR, without the repairs that `with`, `try`, `**` and displays of containers need."""

    def post_process(self, peepholes: Any, func_ir: Any) -> Any:
        return func_ir


class _Constraints:
    """What inference iterates over until the types are known. Numba's own also collects warnings for each step, of
    which there are none here."""

    def __init__(self) -> None:
        self._steps: list[Any] = []

    def append(self, step: Any) -> None:
        self._steps.append(step)

    def propagate(self, inferer: Any) -> list[TypingError]:
        """Take every step once; the errors, which count if nothing changes any more."""
        errors = []
        for step in self._steps:
            try:
                step(inferer)
            except TypingError as error:
                errors.append(error)
        return errors


class _TypingContext(BaseContext):
    """Knows the kernel language, and nothing else that can be called."""

    def resolve_value_type(self, value: Any) -> Any:
        return FUNCTIONS[value] if callable(value) and value in FUNCTIONS else super().resolve_value_type(value)

    def resolve_function_type(self, function: Any, args: Any, keywords: Any) -> Any:
        known = function if isinstance(function, KernelFunction) else FUNCTIONS.get(function)
        return None if known is None else known.get_call_type(self, args, keywords)


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
    pointers = {f"p{i}": types.CPointer(STORAGE_TYPES[p]) for i, p in enumerate(params)}
    arguments = {**pointers, **_TRAILING}
    with global_compiler_lock:
        module = lower(*_inferred(_define(source, symbol), arguments), arguments, symbol)
    # llvmlite knows neither of these attributes
    bounded = f"i64 range(i64 0, {units + 1})"
    text = str(module)
    given, wanted = 'i64 %"lo", i64 %"hi")', f'{bounded} %"lo", {bounded} %"hi") nounwind {attributes}'
    assert text.count(given) == 1
    return text.replace(given, wanted)


def _inferred(
    function: Callable[..., Any], arguments: Mapping[str, Any]
) -> tuple[Mapping[int, Any], Mapping[str, Any], Mapping[Any, Any]]:
    """The function in SSA form, the types of its variables, and the signatures of its calls."""
    identity = FunctionIdentity.from_function(function)
    code = reconstruct_ssa(_Interpreter(identity).interpret(ByteCode(identity)))
    context = _TypingContext()
    inferer: Any = TypeInferer(context, code, None)
    inferer.constraints = _Constraints()
    for index, (name, type_) in enumerate(arguments.items()):
        inferer.seed_argument(name, index, type_)
    inferer.seed_return(types.none)
    inferer.build_constraint()
    inferer.propagate()
    typemap, _, signatures = inferer.unify()
    return code.blocks, typemap, signatures
