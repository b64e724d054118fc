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


def ops_behind(value: Value) -> set[Op]:
    """All ops that a value is computed by."""
    found: set[Op] = set()
    pending = [value]
    while pending:
        op = pending.pop().op
        if op is not None and op not in found:
            found.add(op)
            pending += op.operands
    return found


def may_update_in_place(kernel: Op, arg: int, result: int) -> bool:
    """Whether result number `result` of a `fused` op may be written to the memory of operand number `arg`: every
    element is read only while the same element is computed. Needs a region argument of the type of the result, and:

    - "contraction": nothing but pointwise ops depends on the argument (so it belongs to the epilogue);
    - "loop": the same, and nobody but the piece (see `loop_pieces`) that computes the result reads the argument;
    - "reduction": the same, and all results have the reduced shape, so that each element is computed once;
    - "scatter": never.
    """
    region = kernel.regions[0]
    source = region.args[arg]
    if source.type != kernel.results[result].type or kernel.attributes["kind"] == "scatter":
        return False
    if kernel.attributes["kind"] == "reduction" and not _gives_reduced_only(kernel):
        return False
    return read_in_place(region, source) and (
        kernel.attributes["kind"] != "loop" or _read_by_one_piece(region, source, result)
    )


def read_in_place(region: Block, source: Value) -> bool:
    """Whether nothing but pointwise ops depends on `source`."""
    dependent = {source}
    for op in region.ops:
        if not dependent.isdisjoint(op.operands):
            if lookup(op.name).kind != "pointwise":
                return False
            dependent.update(op.results)
    return True


def loop_pieces(region: Block) -> list[tuple[int, ...]]:
    """The numbers of a loop's results, grouped into the pieces that are computed one apart from the other, each in a
    loop nest over its own shape: results of one shape that depend on a common value. Scalars, and what is made of
    nothing but scalars, count for no such value: every piece has them at hand."""
    reads = values_read(region)
    pieces: list[tuple[list[int], set[Value]]] = []
    for number, result in enumerate(region.results):
        numbers, values = [number], set(reads[result])
        apart = []
        for piece in pieces:
            other = region.results[piece[0][0]].type
            if other.shape == result.type.shape and (other.size <= 1 or not values.isdisjoint(piece[1])):
                numbers += piece[0]
                values |= piece[1]
            else:
                apart.append(piece)
        pieces = [*apart, (sorted(numbers), values)]
    return sorted(tuple(numbers) for numbers, _ in pieces)


def values_read(region: Block) -> dict[Value, set[Value]]:
    """For each value of a loop, the arguments and computed values it depends on (itself included) that hold more than
    one element and are made of more than scalars."""
    reads: dict[Value, set[Value]] = {v: {v} if v.type.size > 1 else set() for v in region.args}
    for op in region.ops:
        found = set().union(*(reads[v] for v in op.operands))
        generates = lookup(op.name).kind == "generate" and op.name != "constant"
        for value in op.results:
            reads[value] = found | {value} if value.type.size > 1 and (found or generates) else found
    return reads


def _read_by_one_piece(region: Block, source: Value, result: int) -> bool:
    """Whether none but the results of the piece that computes result number `result` depend on `source`."""
    dependent = {source}
    for op in region.ops:
        if not dependent.isdisjoint(op.operands):
            dependent.update(op.results)
    (piece,) = (p for p in loop_pieces(region) if result in p)
    return all(number in piece for number, value in enumerate(region.results) if value in dependent)


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
