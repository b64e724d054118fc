"""Kernels touch nothing but their buffers: each buffer ends, then begins, at a page that may not be accessed.

A stray access kills the process, so the kernels run in one of their own.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from tests.codegen.harness import Guarded

PAGE = mmap.PAGESIZE
KINDS = ("layout", "gather", "reduce", "scatter")


class Fenced:
    """Memory for a buffer with a forbidden page right after its end or right before its start."""

    def __init__(self, nbytes: int, at_end: bool):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.mmap.restype = ctypes.c_void_p
        self._libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        self._libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        inner = -(-max(nbytes, 1) // PAGE) * PAGE
        start = self._libc.mmap(None, inner + 2 * PAGE, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        for forbidden in (start, start + PAGE + inner):
            assert self._libc.mprotect(forbidden, PAGE, 0) == 0
        self.nbytes = nbytes
        self.address = start + PAGE + (inner - nbytes if at_end else 0)

    def copy_from(self, buffer: Guarded) -> None:
        ctypes.memmove(self.address, buffer.address, self.nbytes)

    def copy_to(self, buffer: Guarded) -> None:
        ctypes.memmove(buffer.address, self.address, self.nbytes)


def run_fenced(at_end: bool) -> int:
    """Run the samples of ops that compute addresses, with every buffer fenced; returns how many."""
    from graphc.ir.opdef import registered
    from tests.codegen import harness
    from tests.codegen.test_single_ops import samples_of, single

    def call(function: Any, buffers: Sequence[Guarded], ranges: Any) -> None:
        fenced = [Fenced(b.nbytes, at_end) for b in buffers]
        for f, b in zip(fenced, buffers, strict=True):
            f.copy_from(b)
        for lo, hi in ranges:
            function(*(f.address for f in fenced), lo, hi)
        for f, b in zip(fenced, buffers, strict=True):
            f.copy_to(b)

    harness.call_native = call
    count = 0
    for record in registered().values():
        if record.kind in KINDS:
            for arrays, attributes in samples_of(record)[:12]:
                harness.run(single(record, arrays, attributes), arrays)
                count += 1
    return count


@pytest.mark.skipif(os.name != "posix", reason="needs mprotect")
@pytest.mark.parametrize("side", ["end", "start"])
def test_kernels_stay_within_their_buffers(side: str) -> None:
    script = f"from tests.codegen.test_no_stray_access import run_fenced; print(run_fenced({side == 'end'}))"
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    outcome = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False
    )
    assert outcome.returncode == 0, outcome.stderr[-2000:]
    assert int(outcome.stdout) > 100


def test_fence_is_real() -> None:
    script = (
        "import ctypes; from tests.codegen.test_no_stray_access import Fenced; f = Fenced(8, True); "
        "ctypes.string_at(f.address, 8); ctypes.string_at(f.address + 8, 1)"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    outcome = subprocess.run([sys.executable, "-c", script], capture_output=True, env=environment, check=False)
    assert outcome.returncode < 0
