"""Shares a schedule's work out among threads: phases, units and strands, and how many threads are worth having."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from graphc.codegen.kernel import Kernel
from graphc.ir.kernel_facts import can_fault
from graphc.ir.op_cost import work_of
from graphc.ir.opdef import lookup
from graphc.ir.schedule import Barrier, Launch, Node, Partition, Schedule
from graphc.ir.target import Target
from graphc.ir.verify_schedule import Span, span_of, spans_overlap

# What one core does in a nanosecond, roughly: for estimates only.
_CYCLES = 3.5
_NEAR_BYTES = 120  # to and from its own caches
_FAR_BYTES = 30
_LAUNCH_NS = 20

_BARRIER_NS = 250
_THREAD_NS = 25  # more for each thread that comes to a barrier
_START_NS = 1000  # to hand a job to workers that are awake
_WAKE_NS = 50_000  # to wake one that sleeps
_LEAST_GAIN = 1.15
_MOST_THREADS = 64


def partition(schedule: Schedule, kernels: Sequence[Kernel], target: Target) -> tuple[Schedule, tuple[Kernel, ...]]:
    """The schedule with a partition for each of its launches, whose kernels are given in order; and the kernels, in the
    order of the launches then.

    A launch moves up into the phase before its own where no barrier needs to stand between them: where it touches no
    memory that a launch there writes, and the other way round, or where it and those have one unit each and can be one
    strand, which one thread runs in order. A phase that is left empty goes, and its barrier with it.
    """
    kernel_of = {launch.op: kernel for launch, kernel in zip(schedule.launches, kernels, strict=True)}
    phases: list[_Phase] = []
    for group in schedule.phases:
        rest = _Phase()
        for launch in group:
            share = Partition(kernel_of[launch.op].units, _cost(launch, kernel_of[launch.op], target), 0)
            if not (phases and phases[-1].take(launch, share)):
                rest.add(launch, share)
        if rest.launches or not phases:
            phases.append(rest)
    body: list[Node] = []
    for i, phase in enumerate(phases):
        if i:
            body.append(Barrier())
        body += phase.launches
    shared = dataclasses.replace(schedule, body=tuple(body))
    return shared, tuple(kernel_of[launch.op] for launch in shared.launches)


class _Phase:
    """Launches between two barriers, under way."""

    def __init__(self) -> None:
        self.launches: list[Launch] = []
        self._faults = False
        self._strands = 0
        self._used: dict[str, list[tuple[Span, bool, Launch]]] = {}  # by space: what is touched, and whether written

    def add(self, launch: Launch, share: Partition, strand: int | None = None) -> None:
        """Put a launch at the end, in a strand of its own or in one that is there."""
        if strand is None:
            strand = self._strands
            self._strands += 1
        found = dataclasses.replace(launch, partition=dataclasses.replace(share, strand=strand))
        self.launches.append(found)
        self._faults |= can_fault(found.op)
        for span, written in _touched(found):
            self._used.setdefault(span[0], []).append((span, written, found))

    def take(self, launch: Launch, share: Partition) -> bool:
        """Add a launch of the next phase, if no barrier is needed before it."""
        if self._faults and any(b.space == "state" for b in launch.writes):
            return False
        before = self._in_conflict(launch)
        strands = {_partition(other).strand for other in before}
        if not strands:
            self.add(launch, share)
            return True
        single = share.units == 1 and all(_partition(other).units == 1 for other in before)
        if len(strands) > 1 or not single or any(can_fault(other.op) for other in before):
            return False
        self.add(launch, share, strands.pop())
        return True

    def _in_conflict(self, launch: Launch) -> set[Launch]:
        """The launches of the phase that write memory which `launch` touches, or touch what it writes."""
        found = set()
        for span, written in _touched(launch):
            for other, other_written, owner in self._used.get(span[0], ()):
                if (written or other_written) and spans_overlap(span, other):
                    found.add(owner)
        return found


def strands_of(phase: Iterable[Launch]) -> list[list[Launch]]:
    """The launches of a phase by strand, in the order of the first of each."""
    found: dict[int, list[Launch]] = {}
    for launch in phase:
        found.setdefault(_partition(launch).strand, []).append(launch)
    return list(found.values())


@dataclass(frozen=True)
class Worth:
    """How many threads gain time on a program, at most, and whether it is worth waking those that sleep."""

    threads: int
    wake: bool


def worth_of(schedule: Schedule) -> Worth:
    """From a rough estimate of the work between barriers; more threads than gain a seventh over fewer are not worth
    their while."""
    phases = [_work(phase) for phase in schedule.phases]
    alone = fastest = _estimate(phases, 1)
    best = threads = 1
    while threads < _MOST_THREADS:
        threads += 1 if threads < 8 else threads // 4
        taken = _estimate(phases, threads)
        if taken * (1 + (_LEAST_GAIN - 1) * (threads - best) / threads) < fastest:
            best, fastest = threads, taken
    return Worth(best, alone > 2 * _WAKE_NS)


def _work(phase: Sequence[Launch]) -> tuple[int, int]:
    """Nanoseconds of one thread for a phase, and for the largest part of it that cannot be shared out."""
    strands = [sum(_partition(launch).cost for launch in strand) for strand in strands_of(phase)]
    total = sum(_partition(launch).cost * _partition(launch).units + _LAUNCH_NS for launch in phase)
    return total, max(strands, default=0)


def _estimate(phases: Sequence[tuple[int, int]], threads: int) -> float:
    """Nanoseconds for a run on so many threads."""
    meeting = _START_NS + (_BARRIER_NS + _THREAD_NS * threads) * len(phases) if threads > 1 else 0
    return meeting + sum(max(total / threads, largest) for total, largest in phases)


def _cost(launch: Launch, kernel: Kernel, target: Target) -> int:
    """Nanoseconds of one thread for one unit: of arithmetic, or of memory traffic where that takes longer."""
    vector = target.lanes(4)
    time = 0.0
    for op in launch.op.regions[0].ops:
        per_cycle = 4 * vector if lookup(op.name).kind == "contract" else vector
        time += work_of(op).weight / (per_cycle * _CYCLES)
    moved = sum(buffer.type.nbytes for buffer in (*launch.reads, *launch.writes))
    rate = _NEAR_BYTES if moved <= 2 * target.l2_bytes else _FAR_BYTES
    return max(1, round(max(time, moved / rate) / max(1, kernel.units)))


def _touched(launch: Launch) -> list[tuple[Span, bool]]:
    """The memory that a launch touches, and whether it writes it."""
    return [(span_of(b), False) for b in launch.reads] + [(span_of(b), True) for b in launch.writes]


def _partition(launch: Launch) -> Partition:
    assert launch.partition is not None
    return launch.partition
