"""An optimized graph as fusion sees it: values in memory, nodes that end in exactly one kernel, and nodes so cheap that
every kernel that needs them computes them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from graphc.ir.attributes import DenseArray
from graphc.ir.graph import Graph, Op, Value
from graphc.ir.kernel_facts import can_fault
from graphc.ir.op_cost import work_per_element
from graphc.ir.opdef import lookup
from graphc.ir.reduction_space import ReductionSpace

CHEAP = 4  # weight per element up to which pointwise ops on values in memory are computed again
_SMALL = 4096  # bytes that a kernel may as well read as what is computed from them
_MAX_PATHS = 16  # ways to memory through one inlined node


class Node:
    """One op or, with `op` None, a copy of its operand. `inlined` nodes belong to every kernel that needs them."""

    __slots__ = (
        "faults",
        "inlined",
        "kind",
        "name",
        "op",
        "operands",
        "position",
        "results",
        "size",
        "space",
        "weight",
    )

    def __init__(self, position: int, op: Op | None, operands: Sequence[Value], results: Sequence[Value]):
        self.position = position
        self.op = op
        self.operands = tuple(operands)
        self.results = tuple(results)
        self.inlined = False
        self.name = op.name if op else "copy"
        self.kind = lookup(op.name).kind if op else "pointwise"  # a copy behaves like an identity
        self.size = results[0].type.size  # elements of a result
        self.space = ReductionSpace(op) if op is not None and self.kind == "reduce" else None
        self.weight = work_per_element(op).weight if op else 0
        self.faults = op is not None and can_fault(op)

    @property
    def result(self) -> Value:
        (value,) = self.results
        return value

    def __repr__(self) -> str:
        return f"<Node {self.position} {self.name}>"


class Program:
    """`nodes` holds, in order, every node that an output or an update needs; `producer` the node of each value that is
    not in memory from the start.

    `results` and `updates` say which value, computed by a node that is not inlined, each output and each state update
    is an alias of (see `base`); these values are distinct. Where the graph returns an argument, a constant or the same
    value twice, there is a copy. `written` maps such a value to the state it is the new value of; `wanted` holds all.

    `recompute` names pointwise ops that every kernel is to compute by itself, besides those that always are.
    """

    def __init__(self, graph: Graph, recompute: frozenset[Op] = frozenset()):
        self.graph = graph
        self._recompute = recompute
        self.nodes: list[Node] = []
        self.producer: dict[Value, Node] = {}
        self._chains: dict[Value, _Chain] = {}
        self._materialized: dict[Value, Value] = {}
        self._keeps_scalars = _has_costly_scalar(graph)
        for op in graph.ops:
            if not is_dense_constant(op):
                self._add_op(op)
        self.wanted: set[Value] = set()
        self.updates = {state: self._root(value) for state, value in graph.updates.items() if value is not state}
        self.results = [self._root(value) for value in graph.results]
        self.written = {self.base(value): state for state, value in self.updates.items()}
        self._drop_dead()
        self._closures = {node: self._closure(node) for node in self.real_nodes()}

    def real_nodes(self) -> Iterator[Node]:
        return (node for node in self.nodes if not node.inlined)

    def base(self, value: Value) -> Value:
        """The value whose memory `value` is: itself, or what it is a reshape of."""
        while (node := self.producer.get(value)) is not None and node.inlined and node.name == "reshape":
            value = node.operands[0]
        return value

    def reads(self, node: Node) -> tuple[Value, ...]:
        """What a node needs from memory or from other nodes that are not inlined."""
        return self._closures[node][1]

    def inlined(self, node: Node) -> tuple[Node, ...]:
        """The inlined nodes between a node and what it reads, in order."""
        return self._closures[node][0]

    def weight(self, node: Node) -> int:
        """The weight per element of a node and of the inlined nodes before it."""
        return node.weight + sum(before.weight for before in self.inlined(node))

    def in_memory(self, value: Value) -> bool:
        """Whether `value` is there from the start: an argument or a constant array."""
        return value not in self.producer

    def _add_op(self, op: Op) -> None:
        operands = list(op.operands)
        if lookup(op.name).kind == "gather":
            operands[0] = self._materialize(operands[0])
        node = Node(len(self.nodes), op, operands, op.results)
        chain = self._chain(node)
        node.inlined = self._is_inlined(node, chain)
        self._add(node)
        if node.inlined:
            self._chains[node.result] = chain

    def _add(self, node: Node) -> None:
        self.nodes.append(node)
        self.producer.update((result, node) for result in node.results)

    def _chain(self, node: Node) -> _Chain:
        before = [self._chains.get(v) or _Chain(1, 0, v.type.nbytes, self.in_memory(v)) for v in node.operands]
        return _Chain(
            max(1, sum(chain.paths for chain in before)),
            node.weight + sum(chain.weight for chain in before),
            sum(chain.nbytes for chain in before),
            all(chain.from_memory for chain in before),
        )

    def _is_inlined(self, node: Node, chain: _Chain) -> bool:
        if node.kind == "generate":
            return not node.operands  # random numbers are made once
        if chain.paths > _MAX_PATHS:
            return False
        if node.kind == "layout" or node.op in self._recompute:
            return True
        if node.kind != "pointwise" or node.faults or not chain.from_memory:
            return False
        if not node.result.type.shape:
            return not self._keeps_scalars
        return chain.weight <= CHEAP and chain.nbytes <= max(node.result.type.nbytes, _SMALL)

    def _materialize(self, value: Value) -> Value:
        """`value`, or a copy of it where it would not be in memory between kernels."""
        node = self.producer.get(self.base(value))
        if node is None or not node.inlined:
            return value
        if value not in self._materialized:
            self._materialized[value] = self._copy(value)
        return self._materialized[value]

    def _copy(self, value: Value) -> Value:
        copied = Value(value.type, name=value.name)
        self._add(Node(len(self.nodes), None, [value], [copied]))
        return copied

    def _root(self, value: Value) -> Value:
        node = self.producer.get(self.base(value))
        if node is None or node.inlined or self.base(value) in self.wanted:
            value = self._copy(value)
        self.wanted.add(self.base(value))
        return value

    def _drop_dead(self) -> None:
        needed = set(self.wanted)
        live: list[Node] = []
        for node in reversed(self.nodes):
            if any(v in needed for v in node.results):
                live.append(node)
                needed.update(node.operands)
        self.nodes = live[::-1]

    def _closure(self, node: Node) -> tuple[tuple[Node, ...], tuple[Value, ...]]:
        inlined: set[Node] = set()
        reads: dict[Value, None] = {}
        pending = list(reversed(node.operands))
        while pending:
            value = pending.pop()
            producer = self.producer.get(value)
            if producer is None or not producer.inlined:
                reads[value] = None
            elif producer not in inlined:
                inlined.add(producer)
                pending.extend(reversed(producer.operands))
        return tuple(sorted(inlined, key=lambda n: n.position)), tuple(reads)


@dataclass(frozen=True)
class _Chain:
    """What it takes to compute an inlined value again: the ways from memory to it, the weight per element, the bytes
    read, and whether nothing but memory from before the first kernel is read."""

    paths: int
    weight: int
    nbytes: int
    from_memory: bool


def is_dense_constant(op: Op) -> bool:
    return op.name == "constant" and isinstance(op.attributes["value"], DenseArray)


def _has_costly_scalar(graph: Graph) -> bool:
    """Whether scalars are computed from scalar arguments at a cost that calls for a kernel of their own."""
    scalars = {v for v in graph.args if not v.type.shape}
    for op in graph.ops:
        if lookup(op.name).kind in ("pointwise", "generate") and all(v in scalars for v in op.operands):
            if op.results[0].type.shape:
                continue
            scalars.update(op.results)
            if op.operands and work_per_element(op).weight > CHEAP:
                return True
    return False
