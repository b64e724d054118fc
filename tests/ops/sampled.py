"""Every record's samples, as single ops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from graphc.ir.builder import Builder
from graphc.ir.graph import Block, Op, Value
from graphc.ir.opdef import OpDef, lookup, registered
from graphc.ir.types import type_of

Array = np.ndarray[Any, Any]


def names(*kinds: str) -> list[str]:
    """The ops of some kinds, or of all."""
    return sorted(name for name, record in registered().items() if not kinds or record.kind in kinds)


def make_op(name: str, arrays: list[Array], attributes: dict[str, Any]) -> Op:
    """The op on arguments of the types of `arrays`."""
    return Builder(Block()).emit(name, [Value(type_of(a)) for a in arrays], attributes)


def evaluate(name: str, arrays: list[Array], **attributes: Any) -> Array:
    """The value of a one-result op."""
    op = make_op(name, arrays, attributes)
    (result,) = lookup(name).eval(arrays, op.attributes)
    return result


def samples(name: str) -> Iterator[tuple[str, OpDef, Op, list[Array]]]:
    """Of each sample: a description, the record, the op and its operands."""
    record = lookup(name)
    for number, (arrays, attributes) in enumerate(record.samples()):
        op = make_op(name, arrays, attributes)
        shown = {k: v for k, v in attributes.items() if k != "value"}
        yield f"sample {number}: {[str(type_of(a)) for a in arrays]} {shown}", record, op, arrays
