"""The machine's ceilings: measured once, kept in the cache, and of no other target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import graphc
from graphc.codegen import ceilings as measuring
from graphc.compiler.ceilings import machine_ceilings
from graphc.compiler.lowered import Lowered
from graphc.ir.ceilings import Ceilings, MemoryLevel
from graphc.ir.target import GENERIC_X86_64_V3

FOUND = Ceilings(3, 1e11, (MemoryLevel("L1", 1 << 15, 3e11), MemoryLevel("memory", None, 1e10)))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[int]]:
    """The numbers of threads that ceilings were measured for, in a new cache."""
    calls: list[int] = []

    def measure(target: Any, threads: int) -> Ceilings:
        calls.append(threads)
        return FOUND

    monkeypatch.setattr(measuring, "measure_ceilings", measure)
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "cache"))
    machine_ceilings.cache_clear()
    yield calls
    machine_ceilings.cache_clear()


def test_ceilings_are_measured_once_and_kept(measured: list[int]) -> None:
    assert machine_ceilings(3) == FOUND
    machine_ceilings.cache_clear()  # another process
    assert machine_ceilings(3) == FOUND
    assert measured == [3]
    machine_ceilings(1)
    assert measured == [3, 1]


def test_cost_of_a_step_on_this_machine(measured: list[int]) -> None:
    x = graphc.ones(64)
    lowered = graphc.compile(lambda x: x + 1).lower(x)
    found = lowered.cost(threads=3)
    assert found.ceilings == FOUND
    assert found.roofline == pytest.approx((found.bytes_moved) / 3e11)
    assert "roofline: 3 threads: 100 GFLOP/s" in str(found)


def test_another_target_has_no_roofline(measured: list[int]) -> None:
    captured = graphc.compile(lambda x: x + 1).lower(graphc.ones(4)).captured
    found = Lowered(captured, GENERIC_X86_64_V3).cost()
    assert found.roofline is None
    assert measured == []
