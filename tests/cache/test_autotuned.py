"""`compile(autotune=True)`: the same bits, cut as measurements say, which are made once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphc
from graphc.codegen import autotune
from graphc.codegen.compile import emit
from graphc.codegen.cut_cache import KIND, cached_cut
from graphc.codegen.host import host_target
from graphc.runtime.cache import CacheWarning, default_store


class Fake:
    """Made-up times: the more units, the faster. Counts what is measured."""

    measured = 0

    def __init__(self, kernel: object, buffers: object, target: object):
        self._units = kernel.units  # type: ignore[attr-defined]
        Fake.measured += 1

    def seconds(self, budget: float) -> float:
        return 1 / self._units


@pytest.fixture(autouse=True)
def made_up_times(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(autotune, "MeasuredKernel", Fake)
    Fake.measured = 0


def product(**options: object) -> graphc.Tensor:
    """A product of which there are several ways to cut it."""
    numbers = np.random.default_rng(0)
    x, y = (graphc.tensor(numbers.normal(size=shape).astype(np.float32)) for shape in ((256, 300), (300, 256)))
    compiled = graphc.compile(lambda a, b: graphc.relu(a @ b), name="product", **options)
    assert (units_of(compiled, x, y) > units_of(graphc.compile(lambda a, b: graphc.relu(a @ b)), x, y)) == bool(
        options.get("autotune")
    )
    result: graphc.Tensor = compiled(x, y)
    return result


def units_of(compiled: object, *arguments: graphc.Tensor) -> int:
    (launch,) = compiled.lower(*arguments).schedule.launches  # type: ignore[attr-defined]
    assert launch.partition is not None
    return int(launch.partition.units)


def test_same_bits_and_measured_once() -> None:
    plain, tuned = product(), product(autotune=True)
    assert np.array_equal(plain.numpy(), tuned.numpy())
    assert Fake.measured > 2
    before = Fake.measured
    assert np.array_equal(product(autotune=True).numpy(), tuned.numpy())
    assert Fake.measured == before


@pytest.mark.parametrize("payload", [b"[]", b'{"rows": 3}', b"nonsense", b'"x"'])
def test_a_damaged_entry_is_measured_again(payload: bytes) -> None:
    x, y = graphc.ones(256, 300), graphc.ones(300, 256)
    schedule = graphc.compile(lambda a, b: a @ b).lower(x, y).schedule
    (cut,) = autotune.tune(schedule, host_target()).values()
    (kernel,) = emit(schedule, host_target()).kernels
    assert cached_cut(kernel, host_target()) == (True, cut)
    store = default_store()
    assert store is not None
    (entry,) = store.entries(KIND)
    store.put(KIND, entry.key, payload, kernel.symbol, {})
    with pytest.warns(CacheWarning, match="is damaged"):
        assert cached_cut(kernel, host_target()) == (False, None)
    before = Fake.measured
    assert autotune.tune(schedule, host_target()) == {kernel.symbol: cut}
    assert Fake.measured > before


def test_what_has_no_choice_is_not_measured() -> None:
    @graphc.compile(autotune=True)
    def dot(a: graphc.Tensor, b: graphc.Tensor) -> graphc.Tensor:
        return (a * b).sum()

    x = graphc.ones(100)
    assert float(dot(x, x)) == 100
    assert Fake.measured == 0
