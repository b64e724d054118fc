"""What a schedule costs to run: arithmetic, memory traffic, and memory."""

from __future__ import annotations

from dataclasses import dataclass

from graphc.ir.graph import Block, Value
from graphc.ir.op_cost import Work, work_of
from graphc.ir.opdef import lookup
from graphc.ir.schedule import Launch, Schedule
from graphc.ir.text.names import name_list, value_names


@dataclass(frozen=True)
class KernelCost:
    """One launch. `bytes_read` counts each operand once, and of one that is only gathered or sliced from no more than
    is taken; caches and what a kernel reads twice do not count."""

    results: str
    kind: str
    ops: int
    work: Work
    bytes_read: int
    bytes_written: int


@dataclass(frozen=True)
class Cost:
    """A whole schedule; `str()` is a table."""

    kernels: tuple[KernelCost, ...]
    barriers: int
    arena_bytes: int

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

    def __str__(self) -> str:
        head = ("kernel", "kind", "ops", "flops", "exp, log, ...", "bytes read", "bytes written")
        rows = [
            (k.results, k.kind, *_numbers(k.ops, k.work.flops, k.work.transcendental, k.bytes_read, k.bytes_written))
            for k in self.kernels
        ]
        ops = sum(k.ops for k in self.kernels)
        numbers = _numbers(ops, self.flops, self.transcendental, self.bytes_read, self.bytes_written)
        total = (f"{len(rows)} kernels", f"{self.barriers} barriers", *numbers)
        widths = [max(len(row[i]) for row in (head, *rows, total)) for i in range(len(head))]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        lines = [_row(head, widths), rule, *(_row(row, widths) for row in rows), rule, _row(total, widths)]
        return "\n".join([*lines, f"arena: {self.arena_bytes:,} bytes"])


def cost(schedule: Schedule) -> Cost:
    """Count what one run of `schedule` does."""
    names = value_names(schedule.graph)
    kernels = tuple(_kernel_cost(launch, name_list(launch.op.results, names)) for launch in schedule.launches)
    return Cost(kernels, len(schedule.body) - len(kernels), schedule.arena_bytes)


def _kernel_cost(launch: Launch, results: str) -> KernelCost:
    region = launch.op.regions[0]
    work = sum((work_of(op) for op in region.ops), Work())
    read = sum(_bytes_read(region, arg) for arg in region.args)
    written = sum(b.type.nbytes for b in launch.writes)
    return KernelCost(results, str(launch.op.attributes["kind"]), len(region.ops), work, read, written)


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


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    left = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    right = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
    return "  ".join([*left, *right])
