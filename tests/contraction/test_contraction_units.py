"""What holds however a kernel is run: any split into units, NaNs kept to themselves, nothing touched outside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

import numpy as np
import pytest

from graphc.codegen.host import host_target
from graphc.codegen.kernels import emit_kernel
from graphc.ir.types import f32
from tests.codegen.harness import run
from tests.contraction.products import contraction, negated, random_operands

SPLITS = [
    ("mk,nk->mn", {"m": 600, "n": 300, "k": 400}),
    ("km,kn->mn", {"m": 700, "n": 100, "k": 40}),  # the left operand's rows are far apart, so it is packed
    ("bmk,bkn->bmn", {"b": 5, "m": 20, "n": 33, "k": 10}),
    ("mk,kn->mn", {"m": 10, "n": 1500, "k": 64}),
]


def one_by_one(units: int) -> Iterable[tuple[int, int]]:
    return [(u, u + 1) for u in reversed(range(units))]


def thirds(units: int) -> Iterable[tuple[int, int]]:
    bounds = [units * i // 3 for i in range(4)]
    return [(bounds[i], bounds[i + 1]) for i in (1, 0, 2)]


@pytest.mark.parametrize(("spec", "sizes"), SPLITS, ids=lambda x: x if isinstance(x, str) else "")
@pytest.mark.parametrize("follow", [None, negated], ids=["plain", "epilogue"])
def test_the_split_into_units_changes_no_bit(spec: str, sizes: dict[str, int], follow: object) -> None:
    a, b = random_operands(spec, sizes, f32)
    op = contraction(spec, a, b, follow)  # type: ignore[arg-type]
    assert emit_kernel(op, (0, 1, 2), host_target()).units > 2
    (whole,) = run(op, [a, b]).results
    for order in (one_by_one, thirds):
        np.testing.assert_array_equal(run(op, [a, b], order=order).results[0], whole)


def test_every_run_gives_the_same_bits() -> None:
    a, b = random_operands("mk,kn->mn", {"m": 70, "n": 70, "k": 900}, f32)
    op = contraction("mk,kn->mn", a, b)
    first, second = run(op, [a, b]).results[0], run(op, [a, b]).results[0]
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("spec", ["mk,kn->mn", "mk,nk->mn", "km,kn->mn", "km,nk->mn"])
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("follow", [None, negated], ids=["plain", "epilogue"])
def test_not_a_number_stays_in_its_row_and_column(spec: str, poison: float, follow: object) -> None:
    """Zeros that fill up the last panel must not meet infinities in results that are kept."""
    sizes = {"m": 23, "n": 37, "k": 19}
    a, b = random_operands(spec, sizes, f32)
    a[(22, 18) if spec.startswith("mk") else (18, 22)] = poison
    b[(18, 36) if "kn" in spec else (36, 18)] = poison
    (actual,) = run(contraction(spec, a, b, follow), [a, b]).results  # type: ignore[arg-type]
    assert not np.isfinite(actual[22, :]).any()
    assert not np.isfinite(actual[:, 36]).any()
    assert np.isfinite(actual[:22, :36]).all()


def test_nothing_is_read_outside_of_the_operands() -> None:
    """Buffers that end, or begin, at pages without access: in a process of its own, for a stray read kills it."""
    finished = subprocess.run(
        [sys.executable, "-m", "tests.contraction.guard_pages"], capture_output=True, text=True, timeout=240
    )
    assert finished.returncode == 0, finished.stderr[-2000:] or f"killed by signal {-finished.returncode}"
    assert finished.stdout.strip().endswith("no stray access")
