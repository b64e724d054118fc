"""Compiled functions on several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import graphc


def on_threads(*functions: Callable[[], Any]) -> None:
    failures: list[BaseException] = []

    def guarded(function: Callable[[], Any]) -> None:
        try:
            function()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_calls_on_one_state_take_turns() -> None:
    total = graphc.zeros(1000)
    other = graphc.zeros(1000)

    @graphc.compile
    def add(x: Any) -> Any:
        total.add_(x)
        return total.sum()

    @graphc.compile
    def swap(x: Any) -> Any:
        other.add_(total - total + x)
        total.add_(x)
        return other.sum()

    x = graphc.ones(1000)

    def many(function: Any) -> Callable[[], Any]:
        return lambda: [function(x) for _ in range(50)]

    on_threads(many(add), many(swap), many(add), many(swap))
    assert set(total.tolist()) == {200.0}
    assert set(other.tolist()) == {100.0}


def test_a_first_call_on_several_threads() -> None:
    w = graphc.zeros(3)
    steps = [graphc.compile(lambda x, k=k: w.add_(x * k).sum()) for k in (1, 2)]
    x = graphc.ones(3)
    on_threads(*(lambda s=step: s(x) for step in steps * 3))  # type: ignore[misc]
    assert w.tolist() == [9.0, 9.0, 9.0]
    assert sum(step.versions for step in steps) >= 2


def test_a_trace_is_seen_by_its_own_thread_only() -> None:
    inside, done = threading.Event(), threading.Event()
    seen: list[Any] = []

    @graphc.compile
    def step(x: Any) -> Any:
        inside.set()
        done.wait(60)
        return x * 2

    def eager() -> None:
        inside.wait(60)
        seen.append((graphc.ones(2) + 1).tolist())
        with graphc.no_grad():
            seen.append(graphc.is_grad_enabled())
        done.set()

    on_threads(lambda: step(graphc.ones(2)), eager)
    assert seen == [[2.0, 2.0], False]
    assert graphc.is_grad_enabled()


def test_grad_mode_belongs_to_a_thread() -> None:
    seen: list[bool] = []
    with graphc.no_grad():
        on_threads(lambda: seen.append(graphc.is_grad_enabled()))
        assert not graphc.is_grad_enabled()
    assert seen == [True]
