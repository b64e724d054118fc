"""Liveness and the arena: when each temporary is needed, and where it lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from graphc.ir.graph import Op, Value
from graphc.ir.kernel_facts import may_update_in_place
from graphc.passes.dependences import Dependences

ALIGNMENT = 64


@dataclass(eq=False)
class Block:
    """A piece of the arena. `first` and `last` are the first and last group of kernels that need it; `values` lie in it
    one after another, each updated in place from the one before."""

    nbytes: int
    first: int
    last: int
    values: list[Value] = field(default_factory=list)
    offset: int = 0

    def meets(self, other: Block) -> bool:
        """Whether both are needed during one group. Kernels of a group run at the same time."""
        return self.first <= other.last and other.first <= self.last


def plan_arena(
    found: Dependences, groups: Sequence[Sequence[Op]], elsewhere: Mapping[Value, object], red_zone: int = 0
) -> tuple[dict[Value, int], int]:
    """The byte offset of every kernel result that is not `elsewhere`, and the size of the arena.

    Memory is used again once no kernel of the same or a later group needs it, or by the kernel itself where it may
    update an operand in place. With a `red_zone`, no memory is used for two sizes: each block has its own, and so many
    bytes lie after it that nobody uses.
    """
    blocks = live_blocks(found, groups, elsewhere)
    placed: list[Block] = []
    for block in sorted(blocks, key=lambda b: (-b.nbytes, b.first)):
        block.offset = _best_offset(block, [b for b in placed if red_zone or b.meets(block)], red_zone)
        placed.append(block)
    offsets = {value: block.offset for block in blocks for value in block.values}
    return offsets, max((block.offset + block.nbytes + red_zone for block in blocks), default=0)


def live_blocks(found: Dependences, groups: Sequence[Sequence[Op]], elsewhere: Mapping[Value, object]) -> list[Block]:
    """The blocks of the arena, without their offsets."""
    group_of = {op: i for i, group in enumerate(groups) for op in group}
    block_of: dict[Value, Block] = {}
    blocks: list[Block] = []
    for i, group in enumerate(groups):
        for op in group:
            for result in op.results:
                if result in elsewhere:
                    continue
                last = max((group_of[reader] for reader in found.readers.get(result, ())), default=i)
                reused = _dying_operand(found, op, result, block_of, group_of)
                if reused is None:
                    block = Block(_aligned(max(result.type.nbytes, 1)), i, last)
                    blocks.append(block)
                else:
                    block = block_of.pop(reused)
                    block.last = last
                block.values.append(result)
                block_of[result] = block
    return blocks


def _dying_operand(
    found: Dependences, op: Op, result: Value, block_of: Mapping[Value, Block], group_of: Mapping[Op, int]
) -> Value | None:
    """An operand in the arena that nobody needs after `op`, nor besides it in its group, and whose memory it may
    overwrite with `result`."""
    for base in dict.fromkeys(found.base(v) for v in op.operands):
        if base not in block_of:
            continue
        args = [i for i, v in enumerate(op.operands) if found.base(v) is base]
        others = [reader for reader in found.readers[base] if reader is not op]
        if all(group_of[reader] < group_of[op] for reader in others) and all(
            may_update_in_place(op, i, result.index) for i in args
        ):
            return base
    return None


def _best_offset(block: Block, others: Sequence[Block], red_zone: int) -> int:
    """The start of the smallest gap between `others` that `block` fits into; behind them all if there is none."""
    best: tuple[int, int] | None = None
    end = 0
    for other in sorted(others, key=lambda b: b.offset):
        gap = other.offset - end
        if gap >= block.nbytes + red_zone and (best is None or gap < best[0]):
            best = (gap, end)
        end = max(end, other.offset + other.nbytes + red_zone)
    return end if best is None else best[1]


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
