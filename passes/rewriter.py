"""Rebuilds a graph op by op: the one way in which passes change a program.

A pass never edits a graph. It walks the old one, emits into a new one, and says which new value stands for which old
one; names and locations are carried along here and nowhere else.

    def visit(builder, op, operands):           # operands are the new values of op.operands
        if op.name == "neg" and is_op(operands[0], "neg"):
            return [operands[0].op.operands[0]]     # stands for op.results
        return None                                 # clone op over the new operands

    new = rewrite(graph, visit)

A pass that does not go op by op in order (autodiff, fusion) drives a `Rewriter` itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.ir.builder import Builder
from graphc.ir.errors import GraphcError
from graphc.ir.graph import Block, Graph, Op, Value

Visit = Callable[[Builder, Op, tuple[Value, ...]], Sequence[Value] | None]


class BlockRewriter:
    """Rebuilds the block `source` into `target`, whose arguments stand for those of `source`, one for one.

    `values` maps old values to new ones; `rewriter[old]` looks one up. `builder` emits into `target`."""

    def __init__(self, source: Block, target: Block):
        self.source = source
        self.target = target
        self.builder = Builder(target)
        self.values: dict[Value, Value] = dict(zip(source.args, target.args, strict=True))

    def __getitem__(self, old: Value) -> Value:
        return self.values[old]

    def bind(self, old: Sequence[Value], new: Sequence[Value]) -> None:
        """`new` stand for `old` from here on. A new value without a name takes the old one's.
        Raises GraphcError where their number or types differ (a rewrite that is wrong)."""
        if [v.type for v in old] != [v.type for v in new]:
            op = old[0].op if old else None
            raise GraphcError(
                f"a rewrite of {op.name if op else 'an argument'} replaces values of types "
                f"({', '.join(str(v.type) for v in old)}) by ({', '.join(str(v.type) for v in new)})",
                op.location if op else None,
            )
        for before, after in zip(old, new, strict=True):
            self.values[before] = after
            if after.name is None and after.op is not None:
                after.name = before.name

    def clone(self, op: Op, visit: Visit | None = None) -> Op:
        """Append a copy of `op` over the new values of its operands and bind its results. `visit` rewrites the ops
        inside its regions."""
        copy = Op(
            op.name,
            [self.values[v] for v in op.operands],
            [v.type for v in op.results],
            op.attributes,
            [rewrite_region(region, visit) for region in op.regions],
            op.location,
        )
        self.builder.append(copy)
        self.bind(op.results, copy.results)
        return copy

    def visit(self, op: Op, visit: Visit) -> None:
        """Let `visit` replace one op, or clone it. What `visit` emits takes the op's location."""
        self.builder.location = op.location
        replacement = visit(self.builder, op, tuple(self.values[v] for v in op.operands))
        if replacement is None:
            self.clone(op, visit)
        else:
            self.bind(op.results, replacement)

    def results(self) -> list[Value]:
        """The new values of what the source block yields."""
        return [self.values[v] for v in self.source.results]


class Rewriter(BlockRewriter):
    """Rebuilds a whole graph; `finish` hands it over. `stage` is the stage of the new graph (None: the same)."""

    source: Graph
    target: Graph

    def __init__(self, source: Graph, stage: str | None = None):
        inputs = [_same_argument(v) for v in source.inputs]
        states = [_same_argument(v) for v in source.states]
        super().__init__(source, Graph(source.name, inputs, states, stage=stage or source.stage))

    def finish(self) -> Graph:
        """The new graph, with its outputs and state updates in place."""
        self.target.results = self.results()
        self.target.updates = {self.values[k]: self.values[v] for k, v in self.source.updates.items()}
        return self.target


def rewrite(graph: Graph, visit: Visit, stage: str | None = None) -> Graph:
    """`graph` with every op, also those inside regions, offered to `visit`."""
    rewriter = Rewriter(graph, stage)
    for op in graph.ops:
        rewriter.visit(op, visit)
    return rewriter.finish()


def rewrite_region(region: Block, visit: Visit | None = None) -> Block:
    """A copy of a region with every op offered to `visit`."""
    rewriter = BlockRewriter(region, Block([_same_argument(v) for v in region.args]))
    for op in region.ops:
        if visit is None:
            rewriter.clone(op)
        else:
            rewriter.visit(op, visit)
    rewriter.target.results = rewriter.results()
    return rewriter.target


def is_op(value: Value, *names: str) -> bool:
    """Whether `value` is a result of an op of one of these names."""
    return value.op is not None and value.op.name in names


def _same_argument(value: Value) -> Value:
    return Value(value.type, index=value.index, name=value.name)
