"""Plans a fused graph: the order of its kernels, the barriers between them, and the memory of every value."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ir.attributes import DenseArray
from graphc.ir.graph import Graph, Op, Value
from graphc.ir.schedule import Barrier, Buffer, Launch, Node, Schedule
from graphc.ir.target import GENERIC_X86_64_V3, Target
from graphc.ir.text.names import value_names
from graphc.passes.dependences import Dependences
from graphc.passes.memory import plan_arena
from graphc.passes.rewriter import Rewriter
from graphc.passes.state_copies import add_copies


def schedule(graph: Graph, target: Target = GENERIC_X86_64_V3, red_zone: int = 0) -> Schedule:
    """Plan a graph of stage `fused`.

    The schedule's graph holds its kernels in the order in which they run, and copies where a state cannot be updated in
    place (see `graphc.passes.state_copies`). Every kernel that can fault runs before every one that overwrites a state,
    and every reader of a state's old value before its writer. Kernels between two barriers do not depend on one
    another and share no memory that one of them writes. With `red_zone`, which must be a multiple of 64, every block
    of the arena has memory of its own, followed by so many unused bytes.
    """
    graph = add_copies(graph)
    found = Dependences(graph)
    groups = _group(found, target.l2_bytes // 8)
    graph, groups = _reordered(graph, groups)
    found = Dependences(graph)
    buffers = _fixed_buffers(found)
    offsets, arena_bytes = plan_arena(found, groups, buffers, red_zone)
    names = value_names(graph)
    for value, offset in offsets.items():
        buffers[value] = Buffer(names[value], value.type, "arena", offset=offset)
    for op in graph.ops:
        if op.name == "reshape":
            base = buffers[op.operands[0]]
            buffers[op.result] = Buffer(names[op.result], op.result.type, base.space, base.index, base.offset)
    ordered = {v: buffers[v] for v in (*graph.args, *(v for op in graph.ops for v in op.results))}
    constants = tuple(op for op in graph.ops if op.name == "constant")
    return Schedule(graph, ordered, constants, _body(groups, ordered), arena_bytes)


def _group(found: Dependences, small: int) -> list[list[Op]]:
    """The kernels in order, those of one group free of dependences. Takes what can still join the group under way, if
    the memory in use grows by no more than `small` bytes for it; to start the next, what makes it grow least; among
    equals, the order of the graph."""
    position = {op: i for i, op in enumerate(found.kernels)}
    waiting = {op: set(found.before[op]) for op in found.kernels}
    unread = {value: set(readers) for value, readers in found.readers.items()}
    fixed = _roots(found)
    groups: list[list[Op]] = []

    def growth(op: Op) -> int:
        """By how much the memory in use grows when `op` has run."""
        made = sum(v.type.nbytes for v in op.results if v not in fixed)
        read = {found.base(v) for v in op.operands}
        freed = sum(v.type.nbytes for v in read if v.op is not None and v not in fixed and unread[v] <= {op})
        return made - freed

    def joins(op: Op) -> bool:
        return bool(groups) and found.before[op].isdisjoint(groups[-1])

    while waiting:
        ready = [op for op, others in waiting.items() if not others]
        grown = {op: growth(op) for op in ready}
        joining = [op for op in ready if joins(op) and grown[op] <= small]
        if joining:
            chosen = min(joining, key=position.__getitem__)
            groups[-1].append(chosen)
        else:
            chosen = min(ready, key=lambda op: (max(grown[op], 0), position[op]))
            groups.append([chosen])
        del waiting[chosen]
        for others in waiting.values():
            others.discard(chosen)
        for value in {found.base(v) for v in chosen.operands}:
            unread[value].discard(chosen)
    return groups


def _roots(found: Dependences) -> set[Value]:
    return {found.base(v) for v in found.graph.roots()}


def _reordered(graph: Graph, groups: Sequence[Sequence[Op]]) -> tuple[Graph, list[list[Op]]]:
    """`graph` with its kernels in the order of `groups`, each alias right before the first kernel that reads it."""
    rewriter = Rewriter(graph)

    def ensure(value: Value) -> None:
        if value not in rewriter.values:
            assert value.op is not None
            for operand in value.op.operands:
                ensure(operand)
            rewriter.clone(value.op)

    new_groups: list[list[Op]] = []
    for group in groups:
        new_groups.append([])
        for op in group:
            for operand in op.operands:
                ensure(operand)
            new_groups[-1].append(rewriter.clone(op))
    for root in graph.roots():
        ensure(root)
    return rewriter.finish(), new_groups


def _fixed_buffers(found: Dependences) -> dict[Value, Buffer]:
    """The buffers of arguments, constants, outputs and new state values."""
    graph = found.graph
    names = value_names(graph)
    buffers: dict[Value, Buffer] = {}

    def give(value: Value, space: str, index: int) -> None:
        buffers[value] = Buffer(names[value], value.type, space, index)

    for i, value in enumerate(graph.inputs):
        give(value, "input", i)
    for i, state in enumerate(graph.states):
        give(state, "state", i)
        if state in graph.updates:
            give(found.base(graph.updates[state]), "state", i)
    for i, value in enumerate(graph.results):
        give(found.base(value), "output", i)
    constants = (op for op in graph.ops if isinstance(op.attributes.get("value"), DenseArray))
    for i, op in enumerate(constants):
        give(op.result, "constant", i)
    return buffers


def _body(groups: Sequence[Sequence[Op]], buffers: dict[Value, Buffer]) -> tuple[Node, ...]:
    body: list[Node] = []
    for group in groups:
        if body:
            body.append(Barrier())
        for op in group:
            reads = tuple(buffers[v] for v in op.operands)
            body.append(Launch(op, reads, tuple(buffers[v] for v in op.results)))
    return tuple(body)
