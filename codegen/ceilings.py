"""What this machine can do at most, measured: multiply-adds on registers, and bytes from and to each level of memory.

Two loops are made for the vectors of the target. One updates twelve accumulators, enough to hide the latency of two
units with four cycles each. The other does a = s * a + b over two arrays: two bytes read for one written, like an
optimizer's update; and as what it writes was read before, no cache line is read in vain.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from graphc.codegen.llvm import compile_module, function_attributes
from graphc.ir.ceilings import Ceilings, MemoryLevel
from graphc.ir.target import Target

_ACCUMULATORS = 12
_UNROLLED = 4  # vectors per iteration of the second loop
_SAMPLES = 15
_SAMPLE_SECONDS = 2e-3
_MAIN_MEMORY_BYTES = (64 << 20, 1 << 30)  # at least and at most, to measure it

Work = Callable[[int], Callable[[int], None]]  # thread -> (repeats -> None)


def measure_ceilings(target: Target, threads: int) -> Ceilings:
    """The ceilings of `threads` threads that run at once; takes about 0.2 s. `target` must be this machine."""
    image = compile_module(_loops(target), target)
    library = llvm.JITLibraryBuilder().add_object_img(image).export_symbol("multiply_add").export_symbol("update")
    code = library.link(llvm.create_lljit_compiler(), "ceilings")
    multiply_add = _function(code["multiply_add"], ctypes.c_void_p, ctypes.c_int64)
    update = _function(code["update"], ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)

    def arithmetic(thread: int) -> Callable[[int], None]:
        kept = np.zeros(_ACCUMULATORS * target.lanes(4), np.float32)
        return lambda repeats: multiply_add(kept.ctypes.data, repeats)

    def stream(nbytes: int) -> Work:
        """Passes over two arrays of so many bytes together."""
        block = _UNROLLED * target.vector_bytes
        count = max(1, nbytes // 2 // block)

        def prepare(thread: int) -> Callable[[int], None]:
            memory = np.zeros(2 * count * block + 64, np.uint8)
            memory.fill(0)  # by the thread that uses it

            def work(repeats: int) -> None:
                a = memory.ctypes.data + -memory.ctypes.data % 64
                update(a, a + count * block, count, repeats)

            return work

        return prepare

    flops = 2 * _ACCUMULATORS * target.lanes(4) * _rate(arithmetic, threads)
    low, high = _MAIN_MEMORY_BYTES
    sizes = (  # name, bytes of all threads together, bytes to measure with in each
        ("L1", threads * target.l1_bytes, target.l1_bytes // 2),
        ("L2", threads * target.l2_bytes, target.l2_bytes // 2),
        ("L3", target.l3_bytes, target.l3_bytes // 2 // threads),
        ("memory", None, min(max(4 * target.l3_bytes, low), high) // threads),
    )
    levels = [MemoryLevel(name, capacity, 1.5 * size * _rate(stream(size), threads)) for name, capacity, size in sizes]
    return Ceilings(threads, flops, tuple(levels))


def _rate(prepare: Work, threads: int) -> float:
    """Repeats a second of all threads together: the best of a few samples, for what disturbs only makes slower."""
    start, done = threading.Barrier(threads + 1), threading.Barrier(threads + 1)
    spans: list[tuple[int, int]] = [(0, 0)] * threads
    repeats = 1

    def run(thread: int) -> None:
        _stay_on_core(thread)
        work = prepare(thread)
        while True:
            start.wait()
            if not repeats:
                return
            began = time.perf_counter_ns()
            work(repeats)
            spans[thread] = (began, time.perf_counter_ns())
            done.wait()

    workers = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(threads)]
    for worker in workers:
        worker.start()

    def sample() -> float:
        start.wait()
        done.wait()
        return max((max(ended for _, ended in spans) - min(began for began, _ in spans)) / 1e9, 1e-9)

    taken = sample()
    while taken < _SAMPLE_SECONDS / 2:
        repeats = int(repeats * min(_SAMPLE_SECONDS / taken, 1000)) + 1
        taken = sample()
    best = min(sample() for _ in range(_SAMPLES))
    found = threads * repeats / best
    repeats = 0
    start.wait()
    for worker in workers:
        worker.join()
    return found


def _stay_on_core(thread: int) -> None:
    """Bind the calling thread to a core of its own: for so short a time the system may well leave two on one."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[thread % len(cores)]})


def _function(address: int, *arguments: Any) -> Any:
    return ctypes.CFUNCTYPE(None, *arguments)(address)


def _loops(target: Target) -> str:
    """`multiply_add(p, repeats)`: as many updates of each accumulator, read from and written to p.
    `update(a, b, count, repeats)`: as many passes over `count` blocks of `_UNROLLED` vectors."""
    lanes = target.lanes(4)
    vector, width = f"<{lanes} x float>", target.vector_bytes
    intrinsic = f"@llvm.fmuladd.v{lanes}f32"
    half = f"{vector} splat (float 0.5)"
    rows = range(_ACCUMULATORS)
    cells = range(_UNROLLED)
    return f"""
declare {vector} {intrinsic}({vector}, {vector}, {vector})

define void @multiply_add(ptr noalias %p, i64 %repeats) #0 {{
entry:
{_lines(f"%p{i} = getelementptr i8, ptr %p, i64 {i * width}" for i in rows)}
{_lines(f"%first{i} = load {vector}, ptr %p{i}, align 4" for i in rows)}
  br label %loop
loop:
  %n = phi i64 [ 0, %entry ], [ %n.next, %loop ]
{_lines(f"%x{i} = phi {vector} [ %first{i}, %entry ], [ %y{i}, %loop ]" for i in rows)}
{_lines(f"%y{i} = call {vector} {intrinsic}({vector} %x{i}, {vector} %first0, {vector} %first1)" for i in rows)}
  %n.next = add i64 %n, 1
  %more = icmp slt i64 %n.next, %repeats
  br i1 %more, label %loop, label %done
done:
{_lines(f"store {vector} %y{i}, ptr %p{i}, align 4" for i in rows)}
  ret void
}}

define void @update(ptr noalias %a, ptr noalias %b, i64 %count, i64 %repeats) #0 {{
entry:
  br label %pass
pass:
  %n = phi i64 [ 0, %entry ], [ %n.next, %below ]
  br label %loop
loop:
  %i = phi i64 [ 0, %pass ], [ %i.next, %loop ]
  %offset = mul i64 %i, {_UNROLLED * width}
  %a.here = getelementptr i8, ptr %a, i64 %offset
  %b.here = getelementptr i8, ptr %b, i64 %offset
{_lines(f"%a{j} = getelementptr i8, ptr %a.here, i64 {j * width}" for j in cells)}
{_lines(f"%b{j} = getelementptr i8, ptr %b.here, i64 {j * width}" for j in cells)}
{_lines(f"%x{j} = load {vector}, ptr %a{j}, align {width}" for j in cells)}
{_lines(f"%y{j} = load {vector}, ptr %b{j}, align {width}" for j in cells)}
{_lines(f"%z{j} = call {vector} {intrinsic}({vector} %x{j}, {half}, {vector} %y{j})" for j in cells)}
{_lines(f"store {vector} %z{j}, ptr %a{j}, align {width}" for j in cells)}
  %i.next = add i64 %i, 1
  %inside = icmp slt i64 %i.next, %count
  br i1 %inside, label %loop, label %below
below:
  %n.next = add i64 %n, 1
  %more = icmp slt i64 %n.next, %repeats
  br i1 %more, label %pass, label %done
done:
  ret void
}}

attributes #0 = {{ nounwind {function_attributes(target)} }}
"""


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)
