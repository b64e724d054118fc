"""List or clear the cache of compiled programs on disk.

    graphc cache            where it is, and how full
    graphc cache list       every entry, the one used last first
    graphc cache clear      remove all entries

GRAPHC_CACHE_DIR, GRAPHC_CACHE_LIMIT and GRAPHC_CACHE=0 say where it is, how large it may get, and that there is none.
"""

from __future__ import annotations

import argparse
import time

from graphc.ir.errors import GraphcError
from graphc.runtime.cache import Store, default_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", default="summary", choices=["summary", "list", "clear"])


def execute(options: argparse.Namespace) -> None:
    store = default_store()
    if store is None:
        raise GraphcError("the cache is off: GRAPHC_CACHE=0 is set, or there is no home folder")
    try:
        problem = store.problem()
    except FileNotFoundError:  # nothing has been compiled yet
        problem = None
    if problem is not None:
        raise GraphcError(f"the cache is off: {store.folder} {problem}")
    {"summary": _summary, "list": _list, "clear": _clear}[options.action](store)


def _summary(store: Store) -> None:
    print(store.folder)
    entries = store.entries(headers=False)
    for kind in sorted({entry.kind for entry in entries}):
        sizes = [entry.size for entry in entries if entry.kind == kind]
        print(f"{len(sizes):7} {kind:<10} {_size(sum(sizes)):>10}")
    print(f"{_size(sum(entry.size for entry in entries))} of at most {_size(store.limit)}")


def _list(store: Store) -> None:
    now = time.time()
    for entry in store.entries():
        name = "(damaged)" if entry.header is None else entry.header.name
        shown = name if name.isprintable() else ascii(name)
        print(f"{entry.kind:<10} {_size(entry.size):>10} {_age(now - entry.used):>6}  {entry.key[:12]}  {shown}")


def _clear(store: Store) -> None:
    count, size = store.clear()
    print(f"removed {count} entries, {_size(size)}, from {store.folder}")


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _age(seconds: float) -> str:
    """How long ago, in the unit that fits."""
    for unit, length in (("s", 60), ("min", 60), ("h", 24)):
        if seconds < length:
            return f"{max(seconds, 0):.0f}{unit}"
        seconds /= length
    return f"{seconds:.0f}d"
