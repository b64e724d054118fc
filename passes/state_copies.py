"""Makes every output and every new state value the result of one kernel that can write it to its final place."""

from __future__ import annotations

from collections.abc import Iterable

from graphc.ir.graph import Block, Graph, Op, Value
from graphc.passes.dependences import Dependences
from graphc.passes.rewriter import Rewriter


def add_copies(graph: Graph) -> Graph:
    """`graph`, of stage `fused`, with copies such that its kernels can be ordered (see `Dependences`) and every one can
    write its results where they belong.

    A state's new value is computed elsewhere first, and copied into the state at the end, where its kernel reads the
    old value in any way but element by element, where it can fault, and where a kernel that needs the old value cannot
    run before it. Of the states on a cycle, the smallest is copied. Outputs and updates that are arguments, constants,
    or one value given twice are copied too.
    """
    graph = _with_distinct_roots(graph)
    found = Dependences(graph)
    staged = {state for state in graph.updates if not found.can_write_in_place(state)}
    while True:
        candidate = _with_copies(graph, staged)
        positions = dict(zip(candidate.states, graph.states, strict=True))
        conflict = [positions[state] for state in Dependences(candidate).in_conflict()]
        if not conflict:
            return candidate
        staged.add(min(conflict, key=lambda state: (state.type.nbytes, graph.args.index(state))))


def _with_distinct_roots(graph: Graph) -> Graph:
    """`graph` with a copy of each output and update that is not a kernel's result, or is one a second time. A state
    updated with itself is not updated."""
    rewriter = _clone(graph)
    found = Dependences(graph)
    taken: set[Value] = set()

    def root(value: Value) -> Value:
        base = found.base(value)
        if base.op is None or base.op.name != "fused" or base in taken:
            return _copy(rewriter.target, rewriter[value])
        taken.add(base)
        return rewriter[value]

    new = rewriter.finish()
    new.updates = {rewriter[s]: root(v) for s, v in graph.updates.items() if v is not s}
    new.results = [root(v) for v in graph.results]
    return new


def _with_copies(graph: Graph, staged: Iterable[Value]) -> Graph:
    """`graph` with the new values of the states `staged` copied into them."""
    rewriter = _clone(graph)
    new = rewriter.finish()
    for state in graph.updates:
        if state in staged:
            new.updates[rewriter[state]] = _copy(new, new.updates[rewriter[state]])
    return new


def _clone(graph: Graph) -> Rewriter:
    rewriter = Rewriter(graph)
    for op in graph.ops:
        rewriter.clone(op)
    return rewriter


def _copy(block: Block, value: Value) -> Value:
    """Append a kernel that copies `value`."""
    arg = Value(value.type, name=value.name)
    location = value.op.location if value.op else None
    op = Op("fused", [value], [value.type], {"kind": "loop"}, [Block([arg], [], [arg])], location)
    op.result.name = value.name
    block.ops.append(op)
    return op.result
