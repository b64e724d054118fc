"""Who may run: calls that work on the same states take turns."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

_registry = threading.Lock()
_live: weakref.WeakKeyDictionary[Turn, frozenset[int]] = weakref.WeakKeyDictionary()


class Turn:
    """The right of one caller to work on some states, known by their addresses. Callers whose states overlap share one
    lock, directly or through others. A later caller may join two groups that were apart, so the lock can change while
    somebody waits for it: `acquire` then waits for the new one."""

    __slots__ = ("__weakref__", "_lock")

    _lock: threading.Lock

    def __init__(self, addresses: Collection[int]):
        ours = frozenset(addresses)
        with _registry:
            locks = {turn._lock for turn, theirs in _live.items() if not ours.isdisjoint(theirs)}
            self._lock = min(locks, key=id) if locks else threading.Lock()
            if len(locks) > 1:
                with ExitStack() as held:  # nobody runs on the states while the groups are joined
                    for lock in locks:
                        held.enter_context(lock)
                    for turn in list(_live):
                        if turn._lock in locks:
                            turn._lock = self._lock
            _live[self] = ours

    def acquire(self) -> threading.Lock:
        """Wait for the turn. It lasts until the returned lock is released."""
        while True:
            lock = self._lock
            lock.acquire()
            if lock is self._lock:
                return lock
            lock.release()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold the turn for the length of a block."""
        lock = self.acquire()
        try:
            yield
        finally:
            lock.release()
