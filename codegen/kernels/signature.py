"""The frame of every kernel: its parameters and the comment that says what it is."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.codegen.expression import origin
from graphc.ir.graph import Block, Op
from graphc.ir.types import DType


def parameters(region: Block, slots: Sequence[int]) -> tuple[DType, ...]:
    """The element type of each pointer parameter. Raises ValueError where values of one slot differ in it."""
    found: dict[int, DType] = {}
    for value, slot in zip((*region.args, *region.results), slots, strict=True):
        if found.setdefault(slot, value.type.dtype) != value.type.dtype:
            raise ValueError(f"parameter p{slot} is both {found[slot]} and {value.type.dtype}")
    return tuple(found[slot] for slot in range(len(found)))


def signature(params: Sequence[DType]) -> str:
    """The first line of the kernel."""
    return f"def kernel({', '.join([*(f'p{i}' for i in range(len(params))), 'scratch', 'fault', 'lo', 'hi'])}):"


def describe(op: Op) -> list[str]:
    """Comment lines: the kind, the ops in order with the lines they came from, and each parameter's role."""
    (region,) = op.regions
    lines = [f"{op.attributes['kind']} kernel"]
    for inner in region.ops:
        place = origin(inner)
        lines.append(f"  {inner.name} : {inner.results[0].type}" + (f"  ({place})" if place else ""))
    return lines
