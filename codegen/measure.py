"""How long a kernel takes by itself, on made-up operands."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from graphc.codegen.kernel import Kernel
from graphc.codegen.llvm import compile_kernel
from graphc.ir.target import Target
from graphc.ir.types import TensorType

_ALIGNMENT = 64


class MeasuredKernel:
    """A kernel in this process, with memory of its own. `buffers` are the types of its parameters' operands. Floats
    start between 0.5 and 1, all else as zeros, so that every index is in range."""

    def __init__(self, kernel: Kernel, buffers: Sequence[TensorType], target: Target):
        rng = np.random.default_rng(0)
        self._memory = [_aligned(max(1, type_.nbytes)) for type_ in buffers]
        for bytes_, type_ in zip(self._memory, buffers, strict=True):
            if type_.dtype.is_float:
                bytes_.view(type_.dtype.numpy)[: type_.size] = rng.uniform(0.5, 1, type_.size)
        self._memory += [_aligned(kernel.scratch_bytes), _aligned(4)]
        pointers = ", ".join(f"ptr inttoptr (i64 {bytes_.ctypes.data} to ptr)" for bytes_ in self._memory)
        compiled = compile_kernel(kernel, target)
        arguments = ", ".join(["ptr"] * len(self._memory) + ["i64, i64"])
        loop = f"""
declare void @{compiled.symbol}({arguments})
define void @repeat(i64 %times) {{
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  call void @{compiled.symbol}({pointers}, i64 0, i64 {kernel.units})
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %times
  br i1 %more, label %loop, label %done
done:
  ret void
}}"""
        builder = llvm.JITLibraryBuilder().add_object_img(compiled.object_code).add_ir(loop)
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self._jit = llvm.create_lljit_compiler(llvm.Target.from_default_triple().create_target_machine(jit=True))
        library = builder.add_current_process().export_symbol("repeat").link(self._jit, "measured")
        self._library: Any = library
        self._repeat = ctypes.CFUNCTYPE(None, ctypes.c_int64)(library["repeat"])

    def seconds(self, budget: float) -> float:
        """The mean time of one run of all units, measured for about `budget` seconds."""
        self._run(1)
        times = max(1, int(budget / 2 / max(self._run(1), 1e-7)))
        times = max(1, int(times * budget / 2 / self._run(times)))
        return self._run(times) / times

    def _run(self, times: int) -> float:
        began = time.perf_counter()
        self._repeat(times)
        return time.perf_counter() - began


def _aligned(size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    raw = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size]
