"""The frame of every kernel: its parameters and the comment that says what it is."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.codegen.expression import origin
from graphc.ir.graph import Block, Op, Value
from graphc.ir.text.lexer import name_text
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


def describe(op: Op, slots: Sequence[int]) -> list[str]:
    """Comment lines: the kind, what each parameter is, and the ops in order with the lines they came from."""
    (region,) = op.regions
    lines = [f"{op.attributes['kind']} kernel"]
    for slot in sorted(set(slots)):
        read = [v for v, s in zip(region.args, slots, strict=False) if s == slot]
        written = [v for v, s in zip(region.results, slots[len(region.args) :], strict=True) if s == slot]
        verb = " and ".join(["reads"] * bool(read) + ["writes"] * bool(written))
        lines.append(f"  p{slot} {verb} {', '.join(dict.fromkeys(map(_shown, (*read, *written))))}")
    for inner in region.ops:
        place = origin(inner)
        lines.append(f"  {inner.name} : {inner.result.type}{f'  ({place})' if place else ''}")
    return lines


def _shown(value: Value) -> str:
    return f"{name_text('%', value.name)}: {value.type}" if value.name else str(value.type)
