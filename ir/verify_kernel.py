"""What a `fused` op may hold: rules 15 to 21 of `graphc.ir.verify`, on which code generation relies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from graphc.ir.attributes import DenseArray
from graphc.ir.graph import Block, Op, Value
from graphc.ir.kernel_facts import values_read
from graphc.ir.opdef import lookup
from graphc.ir.reduction_space import ReductionSpace

_READS = ("pointwise", "generate", "layout")
ALLOWED_KINDS = {
    "loop": (*_READS, "gather"),
    "reduction": (*_READS, "gather", "reduce"),
    "contraction": (*_READS, "contract"),
    "scatter": (*_READS, "scatter"),
}


@dataclass(frozen=True)
class Problem:
    """A broken rule. `message` has a `{}` for the printed name of each of `values`; without values it stands as is."""

    rule: int
    message: str
    op: Op | None = None
    values: tuple[Value, ...] = ()


def kernel_problems(op: Op) -> Iterator[Problem]:
    """What breaks the rules of a kernel, given that its types and wiring are sound."""
    region = op.regions[0]
    kind = str(op.attributes["kind"])
    if len(set(op.operands)) != len(op.operands):
        yield Problem(15, "an operand of this kernel is given twice", op)
    used = {v for inner in region.ops for v in inner.operands}.union(region.results)
    for arg in region.args:
        if arg not in used:
            yield Problem(15, "argument {} of this kernel is not used", op, (arg,))
    for inner in region.ops:
        yield from _member(inner, kind, region)
    yield from _RULES[kind](op, region)


def _member(op: Op, kernel: str, region: Block) -> Iterator[Problem]:
    kind = lookup(op.name).kind
    if kind not in ALLOWED_KINDS[kernel]:
        yield Problem(16, f"{op.name} (of kind {kind}) cannot stand in a kernel of kind {kernel}", op)
    if isinstance(op.attributes.get("value"), DenseArray):
        yield Problem(16, "a constant array cannot stand in a kernel; pass it as an operand", op)
    if kind == "gather" and op.operands[0] not in region.args:
        yield Problem(17, f"{op.name} reads {{}}, which is not an argument of the kernel", op, (op.operands[0],))


def _loop(op: Op, region: Block) -> Iterator[Problem]:
    reads = values_read(region)
    for i, result in enumerate(region.results):
        for other in region.results[:i]:
            if other.type.shape != result.type.shape and any(v.op for v in reads[other] & reads[result]):
                text = (
                    f"results {{}} and {{}}, of shapes {other.type.shape} and {result.type.shape}, share a computation"
                )
                yield Problem(18, text, op, (other, result))


def _reduction(op: Op, region: Block) -> Iterator[Problem]:
    reduces = _of_kind(region, "reduce")
    if not reduces:
        yield Problem(19, "a reduction reduces something", op)
        return
    space = ReductionSpace(reduces[0])
    for inner in reduces:
        if ReductionSpace(inner) != space:
            text = f"a reduction reduces one space over one set of axes, not {space} and {ReductionSpace(inner)}"
            yield Problem(19, text, inner)
    dependent: set[Value] = set()
    for inner in region.ops:
        if inner in reduces:
            dependent.update(inner.results)
        elif not dependent.isdisjoint(inner.operands):
            dependent.update(inner.results)
            if not space.carries(inner):
                yield Problem(19, f"{inner.name} moves elements that depend on a reduced value out of {space}", inner)
    for result in region.results:
        if result.type.shape not in space.shapes:
            yield Problem(19, f"result {{}} has shape {result.type.shape}, outside {space}", op, (result,))


def _contraction(op: Op, region: Block) -> Iterator[Problem]:
    roots = _of_kind(region, "contract")
    if len(roots) != 1:
        yield Problem(20, f"a contraction holds one contract op, this one {len(roots)}", op)
        return
    for inner in _dependents(region, roots[0]):
        if lookup(inner.name).kind != "pointwise":
            yield Problem(20, f"{inner.name} cannot follow the contract op; only pointwise ops can", inner)
    shape = roots[0].result.type.shape
    for result in region.results:
        if result.type.shape != shape:
            text = f"result {{}} has shape {result.type.shape}, the contraction {shape}"
            yield Problem(20, text, op, (result,))


def _scatter(op: Op, region: Block) -> Iterator[Problem]:
    roots = _of_kind(region, "scatter")
    if len(roots) != 1 or region.results != [roots[0].result]:
        yield Problem(21, "a scatter gives the result of its one scatter op, and nothing else", op)
        return
    for inner in _dependents(region, roots[0]):
        yield Problem(21, f"{inner.name} cannot follow the scatter op", inner)


_RULES = {"loop": _loop, "reduction": _reduction, "contraction": _contraction, "scatter": _scatter}


def _of_kind(region: Block, kind: str) -> list[Op]:
    return [op for op in region.ops if lookup(op.name).kind == kind]


def _dependents(region: Block, root: Op) -> Iterator[Op]:
    """The ops that use the result of `root`, directly or not."""
    dependent = set(root.results)
    for op in region.ops:
        if not dependent.isdisjoint(op.operands):
            dependent.update(op.results)
            yield op
