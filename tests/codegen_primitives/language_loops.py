"""Compiles one-loop kernels of the kernel language and runs them on arrays, natively or as Python."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from graphc.codegen.frontend import python_kernel
from graphc.codegen.host import host_target
from graphc.codegen.kernel import Kernel
from graphc.codegen.llvm import CompiledKernel, compile_kernel
from graphc.ir.target import Target
from graphc.ir.types import DTYPES, DType

Array = np.ndarray[Any, Any]

_serial = itertools.count()
_keep: list[object] = []

FLOATS = tuple(d for d in DTYPES.values() if d.is_float and d.itemsize > 2)
INTEGERS = tuple(d for d in DTYPES.values() if d.is_integer)
BOOL = DTYPES["bool"]
REGISTER_DTYPES = (*FLOATS, *INTEGERS, BOOL)


def storage(dtype: DType) -> np.dtype[Any]:
    """What a buffer of a dtype is to a kernel that runs as Python."""
    if dtype.itemsize == 2 and dtype.is_float:
        return np.dtype(np.uint16)
    return np.dtype(np.uint8) if dtype.is_bool else dtype.numpy


def load(dtype: DType, pointer: str) -> str:
    special = dtype.is_bool or (dtype.is_float and dtype.itemsize == 2)
    return f"load_{dtype}({pointer}, i)" if special else f"{pointer}[i]"


def store(dtype: DType, pointer: str, value: str) -> str:
    special = dtype.is_bool or (dtype.is_float and dtype.itemsize == 2)
    return f"store_{dtype}({pointer}, i, {value})" if special else f"{pointer}[i] = {value}"


@dataclass(frozen=True)
class Loop:
    """A kernel with its parameters' dtypes; each is a buffer of one element per iteration."""

    kernel: Kernel

    def compiled(self, target: Target | None = None) -> CompiledKernel:
        return compile_kernel(self.kernel, target or host_target())

    def run(self, *arrays: Array, target: Target | None = None, n: int | None = None) -> int:
        """Run natively, in place; returns the fault word."""
        function = _loaded(self.compiled(target), len(self.kernel.params) + 2)
        fault, scratch = np.zeros(1, np.int32), np.zeros(self.kernel.scratch_bytes + 64, np.uint8)
        pointers = [a.ctypes.data for a in (*arrays, scratch, fault)]
        function(*pointers, 0, len(arrays[-1]) if n is None else n)
        return int(fault[0])

    def run_python(self, *arrays: Array, n: int | None = None) -> int:
        """Run uncompiled, in place; returns the fault word."""
        function = python_kernel(self.kernel.source, self.kernel.symbol)
        pointers = [a.view(storage(d)) for a, d in zip(arrays, self.kernel.params, strict=True)]
        fault, scratch = np.zeros(1, np.int32), np.zeros(self.kernel.scratch_bytes, np.uint8)
        with np.errstate(all="ignore"):
            function(*pointers, scratch, fault, 0, len(arrays[-1]) if n is None else n)
        return int(fault[0])


def runs_here(target: Target) -> bool:
    """Whether this machine has all that the target asks for."""
    wanted = {f[1:] for f in target.features.split(",")}
    return target.triple.split("-")[0] == llvm.get_process_triple().split("-")[0] and wanted <= {
        name for name, present in llvm.get_host_cpu_features().items() if present
    }


_SYMBOL = np.dtype(
    [("name", "u4"), ("info", "u1"), ("other", "u1"), ("section", "u2"), ("value", "u8"), ("size", "u8")]
)


def undefined_symbols(object_code: bytes) -> list[str]:
    """What an ELF object needs from elsewhere."""
    sections = {s.name(): s.data() for s in llvm.ObjectFileRef.from_data(object_code).sections()}
    text = next(data for name, data in sections.items() if name == b".strtab")
    symbols = np.frombuffer(sections[b".symtab"], _SYMBOL)
    offsets = [int(s["name"]) for s in symbols if s["section"] == 0 and s["name"]]
    return [text[o : text.index(b"\0", o)].decode() for o in offsets]


def kernel_of(
    body: Sequence[str], params: Sequence[DType], scratch_bytes: int = 0, constants: Sequence[str] = ()
) -> Loop:
    """A kernel with the given lines as its body, and `constants` defined before it."""
    names = ", ".join(f"p{i}" for i in range(len(params)))
    lines = [*constants, f"def kernel({names}, scratch, fault, lo, hi):", *(f"    {line}" for line in body)]
    return Loop(Kernel("\n".join(lines) + "\n", tuple(params), 1 << 40, scratch_bytes))


def pointwise(expression: str, operands: Sequence[DType], result: DType) -> Loop:
    """`expression` of x, y, z (the operands, in order) for each element."""
    lines = [f"{name} = {load(dtype, f'p{i}')}" for i, (name, dtype) in enumerate(zip("xyz", operands, strict=False))]
    lines.append(store(result, f"p{len(operands)}", expression))
    return kernel_of(["for i in range(lo, hi):", *(f"    {line}" for line in lines)], (*operands, result))


@cache
def _jit() -> llvm.LLJIT:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.create_lljit_compiler(llvm.Target.from_default_triple().create_target_machine(jit=True))


@cache
def _loaded(compiled: CompiledKernel, n_pointers: int) -> Callable[..., None]:
    builder = llvm.JITLibraryBuilder().add_object_img(compiled.object_code).add_current_process()
    tracker = builder.export_symbol(compiled.symbol).link(_jit(), f"primitive.{next(_serial)}")
    _keep.append(tracker)
    signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * n_pointers, ctypes.c_int64, ctypes.c_int64)
    return signature(tracker[compiled.symbol])
