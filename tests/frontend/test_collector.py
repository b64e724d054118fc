"""The garbage collector is paused during a compile, and as it was afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

import graphc
from graphc.compiler import executors
from graphc.compiler.collector import collector_paused


@pytest.fixture(autouse=True)
def collector_as_before() -> Iterator[None]:
    was = gc.isenabled()
    yield
    (gc.enable if was else gc.disable)()


@pytest.mark.parametrize("enabled", [True, False])
def test_collector_is_paused_and_then_as_before(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    with collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled() == enabled


def test_collector_is_as_before_when_a_compile_fails() -> None:
    gc.enable()
    with pytest.raises(KeyError), collector_paused():
        raise KeyError
    assert gc.isenabled()


def test_compile_pauses_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.enable()
    seen = []
    original = executors.program_for
    monkeypatch.setattr(executors, "program_for", lambda *args: (seen.append(gc.isenabled()), original(*args))[1])
    assert graphc.compile(lambda x: x + 1)(graphc.ones(3)).tolist() == [2, 2, 2]
    assert seen == [False]
    assert gc.isenabled()
