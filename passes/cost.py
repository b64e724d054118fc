"""What a schedule costs to run: arithmetic, memory traffic, memory, and the least time a machine could take.

The time is a roofline: of each kernel the longer of its arithmetic at the machine's peak and its traffic at the
bandwidth of the level of memory that holds all that the step touches; of the step, their sum. Arithmetic is
`Work.weight`: a multiply-add of a contraction counts as two additions, an exp or a log as 20, a division as 4
(`graphc.ir.op_cost`).
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.ir.ceilings import Ceilings
from graphc.ir.graph import Block, Value
from graphc.ir.op_cost import Work, work_of
from graphc.ir.opdef import lookup
from graphc.ir.schedule import Launch, Schedule
from graphc.ir.text.names import name_list, value_names


@dataclass(frozen=True)
class KernelCost:
    """One launch. `results` names what it computes. `bytes_read` counts each operand once, and of one that is only
    gathered or sliced from no more than is taken; caches and what a kernel reads twice do not count. `roofline` is in
    seconds; None without ceilings."""

    results: str
    kind: str
    ops: int
    work: Work
    bytes_read: int
    bytes_written: int
    roofline: float | None = None


@dataclass(frozen=True)
class Cost:
    """A whole schedule; `str()` is a table. `peak_bytes` is all memory that it touches: the arena, and the states,
    inputs, outputs and constants; but for the scratch memory that kernels pack operands into."""

    kernels: tuple[KernelCost, ...]
    barriers: int
    arena_bytes: int
    peak_bytes: int
    ceilings: Ceilings | None = None

    @property
    def flops(self) -> int:
        """Scalar operations other than casts."""
        return sum(k.work.flops for k in self.kernels)

    @property
    def transcendental(self) -> int:
        """Those of them that are exp, log and the like."""
        return sum(k.work.transcendental for k in self.kernels)

    @property
    def bytes_read(self) -> int:
        return sum(k.bytes_read for k in self.kernels)

    @property
    def bytes_written(self) -> int:
        return sum(k.bytes_written for k in self.kernels)

    @property
    def bytes_moved(self) -> int:
        return self.bytes_read + self.bytes_written

    @property
    def roofline(self) -> float | None:
        """Seconds that the machine of `ceilings` needs at least; None without them."""
        return None if self.ceilings is None else sum(k.roofline or 0.0 for k in self.kernels)

    def __str__(self) -> str:
        timed = ("roofline us",) if self.ceilings else ()
        head = ("kernel", "kind", "ops", "flops", "exp, log, ...", "bytes read", "bytes written", *timed)
        rows = [
            (
                k.results,
                k.kind,
                *_numbers(k.ops, k.work.flops, k.work.transcendental, k.bytes_read, k.bytes_written),
                *_microseconds(k.roofline),
            )
            for k in self.kernels
        ]
        ops = sum(k.ops for k in self.kernels)
        numbers = _numbers(ops, self.flops, self.transcendental, self.bytes_read, self.bytes_written)
        total = (f"{len(rows)} kernels", f"{self.barriers} barriers", *numbers, *_microseconds(self.roofline))
        widths = [max(len(row[i]) for row in (head, *rows, total)) for i in range(len(head))]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        lines = [_row(head, widths), rule, *(_row(row, widths) for row in rows), rule, _row(total, widths)]
        lines.append(f"arena: {self.arena_bytes:,} bytes; with states, inputs and outputs: {self.peak_bytes:,} bytes")
        if self.ceilings:
            level = self.ceilings.level_of(self.peak_bytes)
            lines.append(f"roofline: {self.ceilings}; all of it fits {level.name}")
        return "\n".join(lines)


def cost(schedule: Schedule, ceilings: Ceilings | None = None) -> Cost:
    """Count what one run of `schedule` does, and with `ceilings` of a machine, how long it takes there at least."""
    names = value_names(schedule.graph)
    peak = schedule.arena_bytes + _fixed_bytes(schedule)
    kernels = tuple(
        _kernel_cost(launch, _shortened(name_list(launch.op.results, names)), ceilings, peak)
        for launch in schedule.launches
    )
    return Cost(kernels, len(schedule.body) - len(kernels), schedule.arena_bytes, peak, ceilings)


def _shortened(results: str) -> str:
    """The first and the last name of a long list."""
    names = results.split(", ")
    return results if len(names) <= 4 else f"{names[0]}, ..., {names[-1]} ({len(names)})"


def _fixed_bytes(schedule: Schedule) -> int:
    """All memory outside of the arena."""
    fixed = {b.place: b.type.nbytes for b in schedule.buffers.values() if b.space != "arena"}
    return sum(fixed.values())


def _kernel_cost(launch: Launch, results: str, ceilings: Ceilings | None, working_set: int) -> KernelCost:
    region = launch.op.regions[0]
    work = sum((work_of(op) for op in region.ops), Work())
    read = sum(_bytes_read(region, arg) for arg in region.args)
    written = sum(b.type.nbytes for b in launch.writes)
    roofline = None
    if ceilings is not None:
        traffic = (read + written) / ceilings.level_of(working_set).bandwidth
        roofline = max(work.weight / ceilings.flops, traffic)
    return KernelCost(results, str(launch.op.attributes["kind"]), len(region.ops), work, read, written, roofline)


def _bytes_read(region: Block, arg: Value) -> int:
    taken = 0
    for op in region.ops:
        moves = lookup(op.name).kind in ("gather", "layout")
        for i, operand in enumerate(op.operands):
            if operand is arg:
                taken += op.results[0].type.nbytes if moves and i == 0 else arg.type.nbytes
    taken += arg.type.nbytes * region.results.count(arg)
    return min(taken, arg.type.nbytes)


def _numbers(*numbers: int) -> tuple[str, ...]:
    return tuple(f"{n:,}" for n in numbers)


def _microseconds(seconds: float | None) -> tuple[str, ...]:
    return () if seconds is None else (f"{seconds * 1e6:,.2f}",)


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    left = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    right = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
    return "  ".join([*left, *right])
