"""Constant folding: ops over constants are evaluated by their own records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphc.ir.builder import Builder
from graphc.ir.errors import FaultError
from graphc.ir.graph import Graph, Op, Value
from graphc.ir.opdef import OpDef, lookup
from graphc.passes.constants import array_of, emit_constant, is_constant, splat_of
from graphc.passes.preconditions import refuse_gradients
from graphc.passes.rewriter import rewrite


@dataclass(frozen=True)
class Fold:
    """Before: a graph without `gradient` ops.

    After: no op has only constants as operands, but for ops that generate (what they make costs less than loading it),
    ops that would fault, and ops with an operand or a result of more than `limit` elements. Pointwise and layout ops of
    splats become splats whatever their size. Values come from the op's record, so the interpreter gives the same bits
    before and after.
    """

    limit: int = 1024
    name: str = "fold"

    def run(self, graph: Graph) -> Graph:
        refuse_gradients(graph, self.name)

        def visit(builder: Builder, op: Op, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            record = lookup(op.name)
            if not operands or op.regions or record.kind in ("generate", "meta") or not all(map(is_constant, operands)):
                return None
            folded = fold_splats(builder, record, op, operands)
            if folded is not None:
                return [folded]
            if any(v.type.size > self.limit for v in (*operands, *op.results)):
                return None
            arrays = _evaluate(record, op, [array_of(v) for v in operands])
            if arrays is None:
                return None
            return [emit_constant(builder, a, v.type) for a, v in zip(arrays, op.results, strict=True)]

        return rewrite(graph, visit)


def fold_splats(builder: Builder, record: OpDef, op: Op, operands: Sequence[Value]) -> Value | None:
    """The splat that an op over splats is, where that is plain: a pointwise op, or a layout op that reads one number
    everywhere. None where it is not, or where the op would fault."""
    numbers = [splat_of(v) for v in operands]
    if not operands or any(n is None for n in numbers) or len(op.results) != 1:
        return None
    if record.kind == "pointwise":
        arrays = _evaluate(record, op, [array_of(v, (1,)) for v in operands])
        return None if arrays is None else emit_constant(builder, arrays[0], op.results[0].type)
    if record.kind != "layout":
        return None
    fills = [op.attributes["value"]] if "value" in op.attributes else []
    elements = [array_of(v, ()) for v in operands]
    elements += [np.full((), f, op.results[0].type.dtype.numpy) for f in fills]
    if len({e.tobytes() for e in elements}) > 1:
        return None
    return builder.constant(elements[0].item(), op.results[0].type)


def _evaluate(record: OpDef, op: Op, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray] | None:
    try:
        return record.eval(arrays, op.attributes)
    except FaultError:  # left for run time, where it may never run
        return None
