"""The process's thread pool (`graphc.runtime.pool_ir`), and how many threads programs run on."""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
from functools import cache
from pathlib import Path
from typing import Protocol
from weakref import WeakSet

import llvmlite.binding as llvm

from graphc.runtime.forks import Level, whole_at_fork
from graphc.runtime.loader import new_session
from graphc.runtime.pool_ir import MOST_THREADS
from graphc.runtime.pool_object import pool_object

_SPIN_AT = 24  # in the pool: for how many nanoseconds idle workers watch for work
_LONGEST_SPIN = 10**9  # microseconds; added to the clock, it must fit 64 bits
_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


class Follower(Protocol):
    """What runs on the process's number of threads."""

    def use_threads(self, count: int) -> None: ...


_followers: WeakSet[Follower] = WeakSet()
_lock = whole_at_fork(threading.RLock(), Level.THREADS)
_threads: int | None = None


def follow(follower: Follower) -> None:
    """Tell `follower` the number of threads now, and at every change."""
    with _lock:
        _followers.add(follower)
        follower.use_threads(get_num_threads())


def set_num_threads(count: int) -> None:
    """Run compiled programs on at most `count` threads from their next call on, the calling one included. Small
    programs take fewer. Results have the same bits for any number. Raises ValueError for a count below 1 or above
    256, TypeError for what is no integer."""
    global _threads
    with _lock:
        _threads = checked_threads(count)
        for follower in list(_followers):
            follower.use_threads(_threads)


def get_num_threads() -> int:
    """On how many threads compiled programs may run: what `set_num_threads` said last, else GRAPHC_NUM_THREADS, else
    as many as the process has physical cores. Raises ValueError where the variable holds no such number."""
    global _threads
    with _lock:
        if _threads is None:
            given = os.environ.get("GRAPHC_NUM_THREADS", "").strip()
            if given and not (given.isdecimal() and 1 <= int(given) <= MOST_THREADS):
                raise ValueError(
                    f"GRAPHC_NUM_THREADS={given!r} is not a number of threads from 1 to {MOST_THREADS}; "
                    "unset it or use e.g. 2"
                )
            _threads = int(given) if given else min(_usable_cores(), MOST_THREADS)
        return _threads


def checked_threads(count: int) -> int:
    """The count. Raises TypeError or ValueError where it cannot be a number of threads."""
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"a number of threads is an int, got {count!r}")
    if not 1 <= count <= MOST_THREADS:
        raise ValueError(f"a number of threads is from 1 to {MOST_THREADS}, got {count}")
    return count


@cache
def pool_address() -> int:
    """The address of the process's pool, made at the first call. GRAPHC_SPIN_MICROSECONDS says for how long idle
    workers watch for work before they sleep (default 100; with 0 they sleep at once)."""
    given = os.environ.get("GRAPHC_SPIN_MICROSECONDS", "").strip()
    if given and not (given.isdecimal() and int(given) <= _LONGEST_SPIN):
        raise ValueError(
            f"GRAPHC_SPIN_MICROSECONDS={given!r} is not a number from 0 to {_LONGEST_SPIN}; unset it or use e.g. 100"
        )
    name = "graphc_pool"
    builder = llvm.JITLibraryBuilder().add_object_img(pool_object(name))
    session = builder.add_current_process().export_symbol(name).link(new_session(), name)
    address = int(session[name])
    if given:
        ctypes.c_int64.from_address(address + _SPIN_AT).value = 1000 * int(given)
    stop = ctypes.c_size_t.from_address(address + 2 * ctypes.sizeof(ctypes.c_size_t)).value

    def end_workers() -> None:  # they must not run when their code goes; holding the session here keeps it till then
        assert session is not None
        ctypes.CFUNCTYPE(None, ctypes.c_size_t)(stop)(address)

    atexit.register(end_workers)
    return address


def _usable_cores() -> int:
    """The physical cores among the processors that this process may use: two threads of one share its arithmetic."""
    processors = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = set()
    for processor in processors:
        try:
            cores.add(Path(_SIBLINGS.format(processor)).read_text(encoding="ascii"))
        except OSError:
            return len(processors)
    return max(1, len(cores))
