"""Reverse-mode differentiation: rewrites `gradient` ops into ordinary ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.ir.builder import Builder
from graphc.ir.errors import DifferentiationError
from graphc.ir.graph import Block, Graph, Op, Value
from graphc.ir.location import Location
from graphc.ir.opdef import lookup
from graphc.passes.rewriter import rewrite


@dataclass(frozen=True)
class Autodiff:
    """Before: a `traced` graph; it may hold `gradient` ops, of gradients too.

    After: a `differentiated` graph, with neither `gradient` nor `stop_gradient` ops. Each gradient became the ops that
    compute it, right where it stood. They carry the locations of the ops they differentiate, and none of them is
    without use: cotangents are computed only for values on a path from a wrt value to a target.

    The gradient with respect to a value is the sum over all paths from it to the targets, those through other wrt
    values included; values are not cut off from what they were computed from. It is zero for a value with no path.

    Raises DifferentiationError, located, for an op on such a path that has no gradient.
    """

    name: str = "autodiff"

    def run(self, graph: Graph) -> Graph:
        # Gradients are met in program order, so an inner one is ordinary ops by the time an outer one needs it.
        return rewrite(rewrite(graph, _expand_gradient), _drop_stop_gradient, stage="differentiated")


def _expand_gradient(builder: Builder, op: Op, operands: tuple[Value, ...]) -> Sequence[Value] | None:
    if op.name != "gradient":
        return None
    n = op.attributes["targets"]
    assert isinstance(n, int)
    return gradient(builder.block, operands[:n], operands[n : 2 * n], operands[2 * n :], op.location)


def _drop_stop_gradient(builder: Builder, op: Op, operands: tuple[Value, ...]) -> Sequence[Value] | None:
    return operands if op.name == "stop_gradient" else None


def gradient(
    block: Block,
    targets: Sequence[Value],
    cotangents: Sequence[Value],
    wrt: Sequence[Value],
    location: Location | None = None,
) -> list[Value]:
    """Append to `block` the ops that pull `cotangents` of `targets` (all floats) back to `wrt`; one value per wrt
    value, of its type. `location` is for what belongs to no op: zeros, and sums of what several targets pass on."""
    on_path = _reached_from(block, wrt)
    emitted = Block()
    tape = _Tape(Builder(emitted, location))
    for target, cotangent in zip(targets, cotangents, strict=True):
        tape.accumulate(target, cotangent)
    for op in reversed(block.ops):
        received = [tape.cotangents.get(v) for v in op.results]
        if all(c is None for c in received) or not any(v in on_path for v in op.operands):
            continue
        if not any(v in on_path for v in op.results):  # stop_gradient, or a way through integers
            continue
        tape.builder.location = op.location
        for operand, pulled in zip(op.operands, _pull_back(tape.builder, op, received), strict=True):
            if pulled is not None and operand in on_path:
                tape.accumulate(operand, pulled)
    tape.builder.location = location
    found = [tape.cotangents.get(v) for v in wrt]
    results = [tape.builder.full_like(v, 0) if c is None else c for v, c in zip(wrt, found, strict=True)]
    block.ops.extend(_needed(emitted, results))
    return results


class _Tape:
    """The cotangents known so far."""

    def __init__(self, builder: Builder):
        self.builder = builder
        self.cotangents: dict[Value, Value] = {}

    def accumulate(self, value: Value, cotangent: Value) -> None:
        known = self.cotangents.get(value)
        self.cotangents[value] = cotangent if known is None else self.builder.add(known, cotangent)


def _pull_back(builder: Builder, op: Op, cotangents: Sequence[Value | None]) -> Sequence[Value | None]:
    vjp = lookup(op.name).vjp
    if vjp is None:
        raise DifferentiationError(
            f"{op.name} on ({', '.join(str(t) for t in op.operand_types)}) has no gradient, and one must flow through "
            "it; detach its operands (stop_gradient) if it is to count as a constant",
            op.location,
        )
    pulled = vjp(builder, op, cotangents)
    expected = [None if c is None else v.type for v, c in zip(op.operands, pulled, strict=True)]
    if [None if c is None else c.type for c in pulled] != expected:
        raise DifferentiationError(
            f"the vjp of {op.name} on ({', '.join(str(t) for t in op.operand_types)}) gives cotangents of types "
            f"({', '.join(str(c.type) if c else 'none' for c in pulled)}); each must have its operand's type",
            op.location,
        )
    return pulled


def _reached_from(block: Block, wrt: Sequence[Value]) -> set[Value]:
    """The float values that depend on a wrt value, themselves included, with no stop_gradient in between."""
    reached = set(wrt)
    for op in block.ops:
        if op.name != "stop_gradient" and any(v in reached for v in op.operands):
            reached.update(v for v in op.results if v.type.dtype.is_float)
    return reached


def _needed(emitted: Block, results: Sequence[Value]) -> list[Op]:
    """The ops of `emitted` that `results` depend on, in order: a vjp computes the cotangents of all its operands,
    also of those that no wrt value leads to."""
    live = set(results)
    kept: list[Op] = []
    for op in reversed(emitted.ops):
        if any(v in live for v in op.results):
            live.update(op.operands)
            kept.append(op)
    return kept[::-1]
