"""The most that a machine can do in a second, and what that means for a program.

S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore architectures"
(2009). Plain data: measuring is the code generator's business.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryLevel:
    """One level of memory: `capacity` bytes of all caches of the level that the threads use, None for main memory;
    `bandwidth` in bytes a second, read and written, of all threads together."""

    name: str
    capacity: int | None
    bandwidth: float


@dataclass(frozen=True)
class Ceilings:
    """Of `threads` threads together: `flops`, f32 operations a second, a fused multiply-add being two; and the levels
    of memory, the nearest first and main memory last."""

    threads: int
    flops: float
    levels: tuple[MemoryLevel, ...]

    def level_of(self, working_set: int) -> MemoryLevel:
        """The nearest level that holds `working_set` bytes at once."""
        return next(level for level in self.levels if level.capacity is None or working_set <= level.capacity)

    def __str__(self) -> str:
        levels = ", ".join(f"{level.name} {level.bandwidth / 1e9:.0f} GB/s" for level in self.levels)
        return f"{self.threads} threads: {self.flops / 1e9:.0f} GFLOP/s, {levels}"
