"""Checks that a graph is well formed and keeps the rules of its stage.

Every stage:

 1. The stage is known, and no two arguments share a name.
 2. Every type is representable: at most 32 axes, no negative size, strides and offsets within 64 bits.
 3. Every value has one definition: an argument of one block, or a result of one op, to which it refers back.
 4. An operand is an argument of the op's own block or a result of an earlier op of it: regions are isolated.
 5. What a block returns or yields, and every new state value, is defined in that block.
 6. Every op is registered and has the number of operands its record says.
 7. An op's attributes are those of its schema, all present, each of a kind that the schema and the text accept.
 8. An op of kind `fused` has one region, with one argument per operand, of its type; no other op has a region.
 9. Result types are those that the op's shape rule infers, or those that its region yields.
10. Updates replace states only, by values of the same type.

By stage:

11. `gradient` stands in `traced` only.
12. No `stop_gradient` from `optimized` on.
13. `fused` stands in the stage `fused` only.

The stage `fused`:

14. The top level holds `fused`, `reshape` and `constant` (of an array) only.
15. The operands of a kernel are distinct, and each argument of its region is used.
16. A kernel holds ops of the kinds that its own kind allows, and constants in it are splats.
17. What a `gather` reads as data is an argument of the region.
18. "loop": results of different shapes have no value of the kernel's own in common but scalars and what is made of
    nothing but scalars.
19. "reduction": at least one `reduce` op, and all reduce one space over the same axes; what depends on a reduced
    value is made by pointwise ops, or by `broadcast` and `reshape` along the kept axes, in the space or the reduced
    shape; results have those shapes.
20. "contraction": one `contract` op; what depends on it is made by pointwise ops; all results have its shape.
21. "scatter": one scatter op, whose result is the only result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from graphc.ir.attributes import DenseArray, is_attribute
from graphc.ir.errors import GraphcError, VerifyError
from graphc.ir.graph import STAGES, Block, Graph, Op, Value
from graphc.ir.opdef import OpDef, lookup
from graphc.ir.text.names import name_list, value_names
from graphc.ir.text.printer import print_op
from graphc.ir.verify_kernel import Problem, kernel_problems


def verify(graph: Graph) -> None:
    """Raises VerifyError for the first invariant that `graph` breaks: it names the invariant by its number above, the
    op, its location and the values."""
    for problem in _problems(graph):
        names = value_names(graph)
        message = problem.message
        if problem.values:
            message = message.format(*(name_list([v], names) for v in problem.values))
        shown = print_op(problem.op, names, locations=False) if problem.op else f"graph {graph.name}"
        location = problem.op.location if problem.op else None
        raise VerifyError(f"{message} (rule {problem.rule} of stage {graph.stage})\n    {shown}", location)


def _problems(graph: Graph) -> Iterator[Problem]:
    """What is wrong, in order; each check relies on those before it."""
    if graph.stage not in STAGES:
        yield Problem(1, f"unknown stage {graph.stage!r}; stages are {', '.join(STAGES)}")
    counts = Counter(v.name for v in graph.args if v.name is not None)
    for name in (name for name, count in counts.items() if count > 1):
        yield Problem(1, f"two arguments are named {name!r}")
    yield from _definitions(graph, None, set())
    yield from _block(graph, graph)
    yield from _updates(graph)
    yield from _stage_rules(graph)


def _definitions(block: Block, holder: Op | None, defined: set[Value]) -> Iterator[Problem]:
    for arg in block.args:
        if arg.op is not None:
            yield Problem(3, "argument {} is also a result of an op", holder, (arg,))
        yield from _define(arg, "argument", holder, defined)
    for op in block.ops:
        for i, result in enumerate(op.results):
            if result.op is not op or result.index != i:
                yield Problem(3, "result {} does not refer back to its op", op, (result,))
            yield from _define(result, "result", op, defined)
        for region in op.regions:
            yield from _definitions(region, op, defined)


def _define(value: Value, role: str, op: Op | None, defined: set[Value]) -> Iterator[Problem]:
    if value in defined:
        yield Problem(3, f"{role} {{}} is defined twice", op, (value,))
    if not value.type.is_representable:
        yield Problem(2, f"{role} {{}} has a type that cannot be represented, {value.type}", op, (value,))
    defined.add(value)


def _block(block: Block, graph: Graph) -> Iterator[Problem]:
    visible = set(block.args)
    for op in block.ops:
        for operand in op.operands:
            if operand not in visible:
                yield Problem(4, "operand {} is not defined before its use in the same block", op, (operand,))
        yield from _op(op, graph)
        visible.update(op.results)
    for result in block.results:
        if result not in visible:
            yield Problem(5, "result {} is not defined in the block that gives it", None, (result,))


def _op(op: Op, graph: Graph) -> Iterator[Problem]:
    try:
        record = lookup(op.name)
    except KeyError:
        yield Problem(6, f"{op.name} is not a registered op", op)
        return
    if record.n_operands is not None and len(op.operands) != record.n_operands:
        yield Problem(6, f"{op.name} takes {record.n_operands} operands, this one has {len(op.operands)}", op)
    yield from _attributes(op, record)
    yield from _regions(op, record, graph)
    yield from _result_types(op, record)


def _attributes(op: Op, record: OpDef) -> Iterator[Problem]:
    for key in record.attrs:
        if key not in op.attributes:
            yield Problem(7, f"{op.name} lacks the attribute {key!r}", op)
    try:
        record.complete(op.attributes)
    except GraphcError as error:
        yield Problem(7, error.message, op)
    for key, value in op.attributes.items():
        if not is_attribute(value):
            yield Problem(7, f"attribute {key!r} of {op.name} holds a value that no attribute may", op)


def _regions(op: Op, record: OpDef, graph: Graph) -> Iterator[Problem]:
    if len(op.regions) != (1 if record.kind == "fused" else 0):
        yield Problem(8, f"{op.name} cannot have {len(op.regions)} regions", op)
    for region in op.regions:
        if [v.type for v in region.args] != [v.type for v in op.operands]:
            yield Problem(8, "the region's arguments do not match the operands in number and type", op)
        yield from _block(region, graph)


def _result_types(op: Op, record: OpDef) -> Iterator[Problem]:
    if op.regions:
        inferred = [v.type for v in op.regions[0].results]
    else:
        try:
            inferred = list(record.infer(op.operand_types, op.attributes))
        except GraphcError as error:
            yield Problem(9, error.message, op)
            return
    if len(inferred) != len(op.results):
        yield Problem(9, f"{op.name} gives {len(inferred)} results, this one has {len(op.results)}", op)
    for result, type in zip(op.results, inferred, strict=True):
        if result.type != type:
            yield Problem(9, f"result {{}} has type {result.type}, {op.name} gives {type}", op, (result,))


def _updates(graph: Graph) -> Iterator[Problem]:
    states = set(graph.states)
    defined = set(graph.args).union(*(op.results for op in graph.ops))
    for state, value in graph.updates.items():
        if state not in states:
            yield Problem(10, "{} is updated but is not a state", None, (state,))
        if value not in defined:
            yield Problem(5, "the new value {} of {} is not defined in the graph", None, (value, state))
        if state.type != value.type:
            text = f"state {{}} has type {state.type}, its new value {{}} has type {value.type}"
            yield Problem(10, text, None, (state, value))


def _stage_rules(graph: Graph) -> Iterator[Problem]:
    stage = STAGES.index(graph.stage)
    for op in graph.walk():
        if op.name == "gradient" and graph.stage != "traced":
            yield Problem(11, "gradient stands in traced graphs only; the pass autodiff removes it", op)
        if op.name == "stop_gradient" and stage >= STAGES.index("optimized"):
            yield Problem(12, "stop_gradient is gone from the stage optimized on; the pass autodiff removes it", op)
        if op.name == "fused" and graph.stage != "fused":
            yield Problem(13, "fused stands in the stage fused only", op)
    if graph.stage == "fused":
        for op in graph.ops:
            yield from _top_level(op)


def _top_level(op: Op) -> Iterator[Problem]:
    if op.name == "fused":
        yield from kernel_problems(op)
    elif op.name == "constant":
        if not isinstance(op.attributes["value"], DenseArray):
            yield Problem(14, "a splat constant belongs inside a kernel", op)
    elif op.name != "reshape":
        yield Problem(14, f"{op.name} stands outside a kernel", op)
