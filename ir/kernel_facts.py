"""What the planner and the schedule's verifier ask of one kernel."""

from __future__ import annotations

from graphc.ir.attributes import DenseArray
from graphc.ir.graph import Block, Op, Value
from graphc.ir.opdef import lookup


def can_fault(op: Op) -> bool:
    """Whether an op, or one in its regions, can meet a value at which the program must stop."""
    if op.regions:
        return any(can_fault(inner) for region in op.regions for inner in region.ops)
    record = lookup(op.name)
    if record.fault is None:
        return False
    if record.kind != "pointwise":
        return True
    # Arithmetic faults on integers only, and never on a positive divisor or exponent.
    return op.results[0].type.dtype.is_integer and not (len(op.operands) == 2 and _is_positive(op.operands[1]))


def may_update_in_place(kernel: Op, arg: int, result: int) -> bool:
    """Whether result number `result` of a `fused` op may be written to the memory of operand number `arg`: every
    element is read only while the same element is computed. Needs a region argument of the type of the result, and:

    - "loop" and "contraction": nothing but pointwise ops depends on the argument (so in a contraction, the epilogue);
    - "reduction": the same, and all results have the reduced shape, so that each element is computed once;
    - "scatter": never.
    """
    region = kernel.regions[0]
    source = region.args[arg]
    if source.type != kernel.results[result].type or kernel.attributes["kind"] == "scatter":
        return False
    if kernel.attributes["kind"] == "reduction" and not _gives_reduced_only(kernel):
        return False
    return read_in_place(region, source)


def read_in_place(region: Block, source: Value) -> bool:
    """Whether nothing but pointwise ops depends on `source`."""
    dependent = {source}
    for op in region.ops:
        if not dependent.isdisjoint(op.operands):
            if lookup(op.name).kind != "pointwise":
                return False
            dependent.update(op.results)
    return True


def _gives_reduced_only(kernel: Op) -> bool:
    reduce = next(op for op in kernel.regions[0].ops if lookup(op.name).kind == "reduce")
    return all(v.type.size == reduce.results[0].type.size for v in kernel.results) and (
        reduce.operands[0].type.size != reduce.results[0].type.size
    )


def _is_positive(value: Value) -> bool:
    if value.op is None or value.op.name != "constant":
        return False
    number = value.op.attributes["value"]
    return not isinstance(number, DenseArray) and number > 0  # type: ignore[operator]
