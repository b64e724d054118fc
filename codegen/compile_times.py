"""How long a compile takes, stage by stage, for GRAPHC_LOG=compile."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

KERNEL_EVENTS = ("compiled", "in the cache", "in memory")  # where a kernel came from


class CompileTimes:
    """Seconds by stage, and how often something happened by name, of one compile. LLVM works beside other stages, so
    that together they may come to more than the time that the compile took."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self.seconds: dict[str, float] = {}
        self.counts: Counter[str] = Counter()

    def add(self, stage: str, seconds: float) -> None:
        """Add to what a stage took."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def describe(self, name: str) -> str:
        """A line for the whole compile of `name`, which ends now, and one for each stage."""
        total = time.perf_counter() - self._begun + self.seconds.get("trace", 0.0)
        made = self.counts["compiled"]
        kernels = [f"{self.counts[event]} {event}" for event in KERNEL_EVENTS if self.counts[event]]
        how = "the program was in the cache" if self.counts["found"] else f"kernels: {', '.join(kernels) or 'none'}"
        lines = [f"{name}: {1e3 * total:.1f} ms; {how}"]
        for stage, seconds in self.seconds.items():
            each = f"  {1e3 * seconds / made:.1f} ms each" if made and stage in ("numba", "llvm") else ""
            lines.append(f"  {stage:<16} {1e3 * seconds:8.1f} ms{each}")
        return "\n".join(lines)


_current: ContextVar[CompileTimes | None] = ContextVar("compile_times", default=None)


@contextmanager
def recorded() -> Iterator[CompileTimes]:
    """Record the stages of what is compiled meanwhile in this thread."""
    times = CompileTimes()
    token = _current.set(times)
    try:
        yield times
    finally:
        _current.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Meanwhile, a stage of the compile under way, if there is one, is at work."""
    start = time.perf_counter()
    try:
        yield
    finally:
        times = _current.get()
        if times is not None:
            times.add(name, time.perf_counter() - start)


def count(event: str) -> None:
    """Something happened once more in the compile under way."""
    times = _current.get()
    if times is not None:
        times.counts[event] += 1
