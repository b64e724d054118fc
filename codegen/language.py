"""The kernel language: the names that generated kernel source may use, besides loops, indexing and float + - *.

`LANGUAGE` maps each name to a plain Python function over NumPy scalars and arrays (or to a NumPy scalar type), which
Numba compiles to LLVM instructions; so the same source runs compiled and uncompiled. Every name is strictly typed: no
operand is widened, and operands of one primitive have one type, else typing fails.

    add sub mul ...                       every scalar primitive but cast; `pow`, `abs`, `round` shadow the built-ins in
                                          kernel source only; those in FAULTING take the fault pointer as last argument
    cast_f32(x) ... cast_bool(x)          x as another element type; cast_bf16, cast_f16 yield f32 holding a half value
    round_bf16(x) round_f16(x)            the half value nearest to an f32, as f32
    f32(0.1) i32(7) ...                   constants, for use outside of the kernel function
    p[i]                                  an element of a pointer to f32, f64, i8 to i64, u8
    load_bool(p, i) store_bool(p, i, x)   an element of a bool buffer (bytes 0, 1); also load_bf16, load_f16 (as f32)
    offset(p, n)                          the pointer n elements further on
    scratch_f32(scratch, n) ...           a typed pointer n bytes into the scratch memory, n divisible by the item size
    accumulate_add(acc, x)                acc + x, which the compiler may reassociate; also _mul, _min, _max
    raise_fault(fault)                    store 1 through the fault pointer
    micro_kernel(...) copy_panel(...) transpose_tile(...)
                                          the contraction kernels' vector code: see `microkernel`
    dot_kernel(...)                       likewise, for few rows: see `dot_kernel`
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.codegen.dot_kernel import DOT_KERNELS
from graphc.codegen.microkernel import MICRO_KERNELS
from graphc.codegen.plain import PLAIN
from graphc.codegen.primitives import FAULTING
from graphc.ir.types import DTYPES

__all__ = ["FAULTING", "LANGUAGE"]

_CONSTANTS: dict[str, Any] = {
    name: np.float32 if dtype.itemsize == 2 and dtype.is_float else dtype.numpy.type
    for name, dtype in DTYPES.items()
    if not dtype.is_bool
}

LANGUAGE: dict[str, Any] = {**PLAIN, **MICRO_KERNELS, **DOT_KERNELS, **_CONSTANTS}
