"""Python's cyclic garbage collector, out of the way of a compile."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Meanwhile, no cyclic garbage is collected, if it was before. A compile makes hundreds of thousands of objects
    that live until its end, and the collector would go through them again and again: a tenth of the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
