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
_held: list[threading.Lock | threading.RLock] = []


def whole_at_fork(lock: Lock, level: Level) -> Lock:
    """The lock, which a fork waits for from now on."""
    _locks[level].add(lock)
    return lock


def _before() -> None:
    taken: list[threading.Lock | threading.RLock] = []
    for level in Level:
        for lock in sorted(_locks[level], key=id):
            lock.acquire()
            taken.append(lock)
    _held[:] = taken


def _after() -> None:
    taken = list(reversed(_held))
    _held.clear()
    for lock in taken:
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
