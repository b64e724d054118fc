"""Chooses how contractions are cut by measuring a few ways.

Only what leaves the bits of the results alone is up for choice: register tiles and blocks along m and n. Kernels are
measured one by one, on one thread and made-up operands; a way replaces the estimated one where it is clearly faster.
What was found is kept in the cache.
"""

from __future__ import annotations

from statistics import median

from graphc.codegen.cut_cache import cache_cut, cached_cut
from graphc.codegen.driver import slots_of
from graphc.codegen.kernels import emit_kernel
from graphc.codegen.kernels.contraction import candidates
from graphc.codegen.kernels.contraction_tiles import Tiling
from graphc.codegen.measure import MeasuredKernel
from graphc.ir.schedule import Launch, Schedule
from graphc.ir.target import Target

_ROUNDS = 5
_SECONDS = 1e-3  # of each measurement
_CLEARLY = 0.97  # of the estimated way's time
_LONG_ENOUGH = 5e-6  # seconds of a kernel that is worth the trouble


def tune(schedule: Schedule, target: Target) -> dict[str, Tiling]:
    """For each contraction of a schedule that gains by it: the symbol of its kernel as it is cut by estimates, and how
    to cut it instead. `target` must be this machine."""
    winners: dict[str, Tiling] = {}
    seen: set[str] = set()
    for launch in schedule.launches:
        if launch.op.attributes["kind"] == "contraction":
            kernel = emit_kernel(launch.op, slots_of(launch)[0], target)
            if kernel.units and kernel.symbol not in seen:
                seen.add(kernel.symbol)
                known, best = cached_cut(kernel, target)
                if not known:
                    best = _fastest(launch, target)
                    cache_cut(kernel, target, best)
                if best is not None:
                    winners[kernel.symbol] = best
    return winners


def _fastest(launch: Launch, target: Target) -> Tiling | None:
    """The way that is clearly faster than the first candidate, and fastest; None where there is none."""
    slots, buffers = slots_of(launch)
    types = [buffer.type for buffer in buffers]
    ways = candidates(launch.op, target)

    def measured(way: Tiling) -> MeasuredKernel:
        return MeasuredKernel(emit_kernel(launch.op, slots, target, way), types, target)

    if len(ways) < 2:
        return None
    first = measured(ways[0])
    if first.seconds(_SECONDS) < _LONG_ENOUGH:
        return None
    kernels = [first, *map(measured, ways[1:])]
    times = [[kernel.seconds(_SECONDS) for kernel in kernels] for _ in range(_ROUNDS)]
    typical = [median(column) for column in zip(*times, strict=True)]
    best = min(range(len(ways)), key=typical.__getitem__)
    return ways[best] if typical[best] < _CLEARLY * typical[0] else None
