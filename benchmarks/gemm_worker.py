"""One fresh process of one side of the GEMM benchmark: makes every product ready, checks it, then times on request.

python -m benchmarks.gemm_worker PEER THREADS CASES

PEER is graphc, openblas (NumPy's) or mkl (PyTorch's); CASES is a JSON list of [m, k, n, layout]. A product is one
native call with addresses as arguments, repeated by one native loop, so that Python and its bindings count for nobody.
Prints "ready", then answers each line "CASE SECONDS" with the mean time of a call over about so many seconds.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from graphc.ir.types import TensorType, f32
from graphc.runtime.memory import aligned_bytes, aligned_empty

Array = np.ndarray[Any, Any]
MOST_POINTERS = 13  # of a BLAS call


@dataclass(frozen=True)
class Case:
    """C [m, n] = A B, with A [m, k] stored transposed where layout[0] is "t", and B [k, n] where layout[1] is."""

    m: int
    k: int
    n: int
    layout: str

    def operands(self) -> tuple[Array, Array]:
        rng = np.random.default_rng(0)
        shapes = [(self.m, self.k)[:: -1 if self.layout[0] == "t" else 1]]
        shapes += [(self.k, self.n)[:: -1 if self.layout[1] == "t" else 1]]
        found = []
        for shape in shapes:
            array = aligned_empty(TensorType(f32, shape))
            array[...] = rng.standard_normal(shape)
            found.append(array)
        return found[0], found[1]

    def check(self, a: Array, b: Array, c: Array) -> None:
        """Raises SystemExit unless c is the product, within the bound of a sum of k products in any order."""
        left, right = (
            (x.T if way == "t" else x).astype(np.float64) for x, way in zip((a, b), self.layout, strict=True)
        )
        if not (abs(c - left @ right) <= (self.k + 1) * 2.0**-24 * (abs(left) @ abs(right))).all():
            raise SystemExit(f"{self} is wrong")


@dataclass(frozen=True)
class Call:
    """A native call: a function's address, pointers to hand it, and what has to outlive it."""

    function: int
    pointers: list[int]
    kept: object


Maker = Callable[[Case, Array, Array, Array], Call]


def graphc_maker(threads: int) -> Maker:
    """Programs that hold the contraction alone."""
    from graphc.codegen.compile import emit
    from graphc.codegen.host import host_target
    from graphc.ir.builder import Builder
    from graphc.ir.graph import Graph, Value
    from graphc.passes.pipeline import lower
    from graphc.runtime.loader import LoadedProgram
    from graphc.runtime.pool import pool_address

    def make(case: Case, a: Array, b: Array, c: Array) -> Call:
        x, y = (Value(TensorType(f32, array.shape), name=name) for name, array in (("a", a), ("b", b)))
        graph = Graph("gemm", [x, y])
        letters = ("mk", "km")[case.layout[0] == "t"], ("kn", "nk")[case.layout[1] == "t"]
        graph.results = [Builder(graph).contract(x, y, spec=f"{letters[0]},{letters[1]}->mn")]
        target = host_target()
        loaded = LoadedProgram(emit(lower(graph, target).schedule, target).compile())
        count = min(threads, loaded.program.parallelism)
        arena = aligned_bytes(loaded.program.memory_bytes(count))
        inputs = (ctypes.c_void_p * 2)(a.ctypes.data, b.ctypes.data)
        outputs = (ctypes.c_void_p * 1)(c.ctypes.data)
        places = (arena.ctypes.data, ctypes.addressof(inputs), 0, ctypes.addressof(outputs))
        context = (ctypes.c_size_t * 6)(*places, pool_address() if count > 1 else 0, count)
        entry = ctypes.cast(loaded.entry, ctypes.c_void_p).value or 0  # type: ignore[arg-type]
        return Call(entry, [ctypes.addressof(context)], (loaded, arena, inputs, outputs, context))

    return make


def blas_maker(library: ctypes.CDLL, sgemm: str, integer: type) -> Maker:
    """Fortran's SGEMM: on matrices by columns, so it is given B' A' for C' = (A B)'."""

    def make(case: Case, a: Array, b: Array, c: Array) -> Call:
        flags = [ctypes.c_char(case.layout[i].encode()) for i in (1, 0)]
        sizes = [integer(x) for x in (case.n, case.m, case.k)]
        strides = [integer(x.shape[1]) for x in (b, a, c)]
        one, zero = ctypes.c_float(1), ctypes.c_float(0)
        kept = (flags, sizes, strides, one, zero)
        at = ctypes.addressof
        pointers = [*map(at, flags), *map(at, sizes), at(one), b.ctypes.data, at(strides[0]), a.ctypes.data]
        pointers += [at(strides[1]), at(zero), c.ctypes.data, at(strides[2])]
        return Call(ctypes.cast(library[sgemm], ctypes.c_void_p).value or 0, pointers, kept)

    return make


def openblas_maker(threads: int) -> Maker:
    """NumPy's: the library that its wheels bring along."""
    (path,) = (Path(np.__file__).parent.parent / "numpy.libs").glob("libscipy_openblas64_*")
    library = ctypes.CDLL(str(path))
    library.scipy_openblas_set_num_threads64_(threads)
    return blas_maker(library, "scipy_sgemm_64_", ctypes.c_int64)


def mkl_maker(threads: int) -> Maker:
    """PyTorch's: linked into its library."""
    import torch

    torch.set_num_threads(threads)
    path = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    return blas_maker(ctypes.CDLL(str(path)), "sgemm", ctypes.c_int32)


MAKERS = {"graphc": graphc_maker, "openblas": openblas_maker, "mkl": mkl_maker}


def native_loop() -> tuple[Callable[[int, int, int], None], object]:
    """`repeat(function, pointers, times)` in machine code: for any C function of at most `MOST_POINTERS` pointers, for
    more arguments than it takes do no harm."""
    numbers = range(MOST_POINTERS)
    loads = [f"%a{i} = getelementptr ptr, ptr %p, i64 {i}\n%x{i} = load ptr, ptr %a{i}" for i in numbers]
    text = "\n".join(
        [
            "define void @repeat(ptr %f, ptr %p, i64 %times) {\nentry:",
            *loads,
            "br label %loop\nloop:\n%i = phi i64 [0, %entry], [%next, %loop]",
            f"call void %f({', '.join(f'ptr %x{i}' for i in numbers)})",
            "%next = add i64 %i, 1\n%more = icmp slt i64 %next, %times",
            "br i1 %more, label %loop, label %done\ndone:\nret void\n}",
        ]
    )
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    jit = llvm.create_lljit_compiler()
    library = llvm.JITLibraryBuilder().add_ir(text).export_symbol("repeat").link(jit, "repeat")
    signature = ctypes.CFUNCTYPE(None, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int64)
    return signature(library["repeat"]), (jit, library)


def main(peer: str, threads: int, cases: list[Case]) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    maker = MAKERS[peer](threads)
    repeat, kept = native_loop()
    calls = []
    for case in cases:
        a, b = case.operands()
        c = aligned_empty(TensorType(f32, (case.m, case.n)))
        c[...] = np.nan
        call = maker(case, a, b, c)
        pointers = (ctypes.c_size_t * MOST_POINTERS)(*call.pointers)
        repeat(call.function, ctypes.addressof(pointers), 1)
        case.check(a, b, c)
        calls.append((call, pointers, (a, b, c)))

    def run(number: int, times: int) -> float:
        call, pointers, _ = calls[number]
        began = time.perf_counter()
        repeat(call.function, ctypes.addressof(pointers), times)
        return time.perf_counter() - began

    largest = max(range(len(cases)), key=lambda i: cases[i].m * cases[i].k * cases[i].n)
    print("ready", flush=True)
    for line in sys.stdin:
        number, seconds = int(line.split()[0]), float(line.split()[1])
        run(largest, 1)  # wakes the threads of a pool: a training loop keeps them awake
        run(number, 2)
        times = max(1, int(seconds / 4 / max(run(number, 1), 1e-7)))
        times = max(1, int(times * seconds / run(number, times)))
        print(run(number, times) / times, flush=True)
    del kept


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), [Case(*case) for case in json.loads(sys.argv[3])])
