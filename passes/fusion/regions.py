"""Builds the fused graph from the clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.ir.builder import Builder
from graphc.ir.graph import Block, Graph, Op, Value
from graphc.ir.location import Location
from graphc.passes.fusion.partition import Cluster, Partition
from graphc.passes.fusion.program import Node, Program, is_dense_constant


def build_graph(partition: Partition) -> Graph:
    """The graph of stage `fused` that runs one kernel per cluster."""
    program = partition.program
    top = _TopLevel(program)
    for cluster in partition.ordered():
        top.add(cluster)
    return top.finish()


class _TopLevel:
    """The graph under construction. `values` maps a value in memory to the one that stands for it."""

    def __init__(self, program: Program):
        source = program.graph
        inputs = [Value(v.type, index=v.index, name=v.name) for v in source.inputs]
        states = [Value(v.type, index=v.index, name=v.name) for v in source.states]
        self.program = program
        self.graph = Graph(source.name, inputs, states, stage="fused")
        self.builder = Builder(self.graph)
        self.values = dict(zip(source.args, self.graph.args, strict=True))
        self.aliases: dict[tuple[Value, tuple[int, ...]], Value] = {}
        self.constants = {op.result: op for op in source.ops if is_dense_constant(op)}

    def add(self, cluster: Cluster) -> None:
        """Append the kernel of one cluster."""
        region = _Region(self.program, cluster)
        operands = [self.alias(base, arg.type.shape) for (base, _), arg in region.args.items()]
        types = [v.type for v in cluster.results]
        op = Op("fused", operands, types, {"kind": cluster.kind}, [region.block], _location(cluster.members))
        self.builder.append(op)
        for before, after in zip(cluster.results, op.results, strict=True):
            after.name = before.name
            self.values[before] = after

    def alias(self, base: Value, shape: tuple[int, ...]) -> Value:
        """The value in memory `base`, under another shape where that is asked for."""
        if base not in self.values:
            constant = self.constants[base]
            copy = Op("constant", [], [base.type], constant.attributes, location=constant.location)
            self.values[base] = self.builder.append(copy).result
            self.values[base].name = base.name
        value = self.values[base]
        if value.type.shape == shape:
            return value
        key = (base, shape)
        if key not in self.aliases:
            self.aliases[key] = self.builder.reshape(value, shape=shape)
        return self.aliases[key]

    def root(self, value: Value) -> Value:
        """What stands for an output or a new state value."""
        found = self.alias(self.program.base(value), value.type.shape)
        found.name = found.name or value.name
        return found

    def finish(self) -> Graph:
        self.graph.results = [self.root(v) for v in self.program.results]
        self.graph.updates = {self.values[s]: self.root(v) for s, v in self.program.updates.items()}
        return self.graph


class _Region:
    """The region of one kernel. `args` maps what is read, a value in memory and the shape under which it is read, to
    the region's argument. Ops stand where they are first needed, going from result to result, whatever their order in
    the program: so kernels that do the same are equal, and compiled once."""

    def __init__(self, program: Program, cluster: Cluster):
        self.program = program
        self.block = Block()
        self.builder = Builder(self.block)
        self.args: dict[tuple[Value, tuple[int, ...]], Value] = {}
        self.values: dict[Value, Value] = {}
        inside = set(cluster.members)
        computed = [n for n in cluster.members if program.producer.get(program.base(n.results[0])) in inside]
        producers = {v: n for n in computed for v in n.results}
        for node in _as_needed(cluster.results, producers):
            self._add(node)
        self.block.results = [self.values[v] for v in cluster.results]
        self.block.args = list(self.args.values())

    def _add(self, node: Node) -> None:
        operands = [self._operand(v) for v in node.operands]
        if node.op is None:
            self.values[node.result] = operands[0]
            return
        op = Op(node.op.name, operands, [v.type for v in node.results], node.op.attributes, location=node.op.location)
        self.builder.append(op)
        for before, after in zip(node.results, op.results, strict=True):
            after.name = before.name
            self.values[before] = after

    def _operand(self, value: Value) -> Value:
        if value in self.values:
            return self.values[value]
        key = (self.program.base(value), value.type.shape)
        if key not in self.args:
            self.args[key] = Value(value.type, name=value.name or key[0].name)
        self.values[value] = self.args[key]
        return self.args[key]


def _as_needed(results: Sequence[Value], producers: Mapping[Value, Node]) -> list[Node]:
    """The nodes that lead to `results`, each after those it needs."""
    order: dict[Node, None] = {}
    for result in results:
        pending = [producers[result]]
        while pending:
            node = pending[-1]
            before = [producers[v] for v in node.operands if v in producers]
            missing = [other for other in before if other not in order]
            if missing:
                pending += reversed(missing)
            else:
                order[node] = None
                pending.pop()
    return list(order)


def _location(members: Sequence[Node]) -> Location | None:
    """The user's line of the op a kernel is built around, or else of its last one."""
    located = [node.op for node in members if node.op is not None and node.op.location is not None]
    roots = {node.op for node in members if node.kind in ("contract", "reduce", "scatter")}
    return next((op.location for op in located if op in roots), located[-1].location if located else None)
