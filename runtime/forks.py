"""Locks and `os.fork`.

A child has only the thread that forked. A lock that another thread held at that moment would stay held for ever, and
the step under way there would stay half done. So a fork waits for the locks named here, outermost first, and gives them
back on both sides.
"""

from __future__ import annotations

import os
import threading
from enum import IntEnum
from typing import TypeVar
from weakref import WeakSet

Lock = TypeVar("Lock", bound="threading.Lock | threading.RLock")


class Level(IntEnum):
    """The order in which locks are taken by whoever needs several; those of one level, by their id."""

    TRACING = 0
    JOINING = 1
    STATES = 2
    THREADS = 3
    PROGRAM = 4
    CODEGEN = 5


_locks: list[WeakSet[threading.Lock | threading.RLock]] = [WeakSet() for _ in Level]
_listing = threading.RLock()  # while `_locks` changes or is read; taken inside all others


class _Held(threading.local):
    """What the thread that forks has taken so far, in order."""

    def __init__(self) -> None:
        self.locks: list[threading.Lock | threading.RLock] = []


_held = _Held()


def whole_at_fork(lock: Lock, level: Level) -> Lock:
    """The lock, which a fork waits for from now on."""
    with _listing:
        _locks[level].add(lock)
    return lock


def _before() -> None:
    """Take them all. An exception (Ctrl-C, while a long step is waited for) does not keep Python from forking: what was
    taken until then is given back all the same."""
    for level in Level:
        with _listing:
            found = sorted(_locks[level], key=id)
        for lock in found:
            _take(lock)
    _take(_listing)


def _take(lock: threading.Lock | threading.RLock) -> None:
    lock.acquire()
    _held.locks.append(lock)


def _after() -> None:
    while _held.locks:
        _held.locks.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
