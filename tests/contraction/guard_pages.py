"""Runs contraction kernels on buffers between pages that may not be touched. As a module, dies on a stray read."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

from graphc.codegen.host import host_target
from graphc.codegen.kernels import emit_kernel
from graphc.codegen.llvm import compile_kernel
from graphc.ir.target import Target
from graphc.ir.types import bf16, f32
from tests.codegen.harness import Array, _loaded
from tests.contraction.products import check_product, contraction, negated, random_operands

# Every operand is a whole number of 64 bytes, so that one that is aligned also ends at the end of its page.
CASES = [
    (spec, dict(zip("mnk", sizes, strict=True)), dtype)
    for spec in ("mk,kn->mn", "mk,nk->mn", "km,kn->mn", "km,nk->mn")
    for sizes, dtype in (
        ((16, 48, 7), f32),
        ((48, 16, 33), f32),
        ((33, 16, 48), f32),
        ((7, 80, 16), f32),
        ((4, 10, 16), f32),
        ((8, 24, 16), f32),
        ((64, 10, 128), f32),
        ((4, 24, 84), f32),  # few rows: by dot products, whose last vector is not whole
        ((32, 3, 80), f32),
        ((32, 48, 3), f32),  # little to sum
        ((32, 33, 64), bf16),
    )
]


class Fenced:
    """`nbytes` of memory that begin (or end) where a page without access ends (or begins)."""

    def __init__(self, nbytes: int, at_end: bool):
        pages = max(1, -(-nbytes // mmap.PAGESIZE))
        self._map = mmap.mmap(-1, (pages + 2) * mmap.PAGESIZE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        inside = start + mmap.PAGESIZE
        self.address = inside + (pages * mmap.PAGESIZE - -(-nbytes // 64) * 64 if at_end else 0)
        self.data = np.frombuffer(self._map, np.uint8)[self.address - start :][:nbytes]
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        for page in (start, inside + pages * mmap.PAGESIZE):
            if protect(page, mmap.PAGESIZE, 0):
                raise OSError(ctypes.get_errno(), "mprotect")


def run_fenced(
    spec: str, arrays: tuple[Array, Array], epilogue: bool, at_end: bool, target: Target | None = None
) -> Array:
    """The result of a contraction (negated by its epilogue, if any), made for a target that this machine can run."""
    target = target or host_target()
    op = contraction(spec, *arrays, negated if epilogue else None)
    kernel = emit_kernel(op, (0, 1, 2), target)
    compiled = compile_kernel(kernel, target)
    result = op.results[0].type
    sizes = [*(a.nbytes for a in arrays), result.nbytes, kernel.scratch_bytes, 4]
    buffers = [Fenced(nbytes, at_end) for nbytes in sizes]
    for buffer, array in zip(buffers, arrays, strict=False):
        buffer.data[:] = array.reshape(-1).view(np.uint8)
    function = _loaded(compiled.symbol, compiled.object_code, len(buffers))
    function(*(b.address for b in buffers), 0, kernel.units)
    return buffers[2].data.view(result.dtype.numpy).reshape(result.shape).copy()


def main() -> None:
    for spec, sizes, dtype in CASES:
        a, b = random_operands(spec, sizes, dtype)
        for at_end in (False, True):
            check_product(run_fenced(spec, (a, b), False, at_end), spec, a, b)
            check_product(-run_fenced(spec, (a, b), True, at_end), spec, a, b)
    print("no stray access")


if __name__ == "__main__":
    main()
