"""Measuring the machine: the loops do what their rates are counted from. Nothing here looks at how fast."""

from __future__ import annotations

import ctypes

import llvmlite.binding as llvm
import numpy as np
import pytest

from graphc.codegen import ceilings
from graphc.codegen.host import host_target
from graphc.codegen.llvm import compile_module
from graphc.ir.ceilings import Ceilings
from graphc.ir.target import BASELINES


def test_levels_and_their_capacities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "_SAMPLE_SECONDS", 1e-5)
    monkeypatch.setattr(ceilings, "_MAIN_MEMORY_BYTES", (1 << 20, 1 << 20))
    target = host_target()
    found = ceilings.measure_ceilings(target, 2)
    assert isinstance(found, Ceilings)
    assert found.threads == 2
    assert found.flops > 0
    assert [level.capacity for level in found.levels] == [
        2 * target.l1_bytes,
        2 * target.l2_bytes,
        target.l3_bytes,
        None,
    ]
    assert all(level.bandwidth > 0 for level in found.levels)


def test_loops_compute_what_they_are_counted_for() -> None:
    target = host_target()
    lanes = target.lanes(4)
    library = llvm.JITLibraryBuilder().add_object_img(compile_module(ceilings._loops(target), target))
    code = library.export_symbol("multiply_add").export_symbol("update").link(llvm.create_lljit_compiler(), "loops")
    x = np.full((ceilings._ACCUMULATORS, lanes), 0.5, np.float32)
    x[1] = 3.0
    expected = x.copy()
    for _ in range(5):
        expected = expected * x[0] + x[1]
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(code["multiply_add"])(x.ctypes.data, 5)
    np.testing.assert_allclose(x, expected, rtol=1e-6)

    size = 3 * ceilings._UNROLLED * lanes
    memory = np.zeros(2 * size + 16, np.float32)
    start = -memory.ctypes.data % 64 // 4
    a, b, beyond = np.split(memory[start:], [size, 2 * size])
    a[:], b[:] = 8.0, 1.0
    update = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(code["update"])
    update(a.ctypes.data, b.ctypes.data, 3, 2)
    assert set(a) == {3.5}
    assert set(b) == {1.0}
    assert not beyond.any()


@pytest.mark.parametrize("name", BASELINES)
def test_loops_use_the_vectors_of_any_target(name: str) -> None:
    assert compile_module(ceilings._loops(BASELINES[name]), BASELINES[name])
