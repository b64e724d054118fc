"""The eager backward pass: from the tape to a graph, through the autodiff pass, to gradients.

The ops on the tape become a block of the IR, `passes.autodiff.gradient` appends the ops of the backward pass to it,
and these are evaluated in NumPy; the forward values that they refer to are those that the tape kept. Calls of compiled
functions are opaque to the pass: they split it, and are pulled back by their own programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.context import enable_grad
from graphc.dispatch import apply_op, clone, edge_of, saved
from graphc.errors import AutogradError, fail, user_location
from graphc.ir.graph import Block, Op, Value
from graphc.ir.opdef import lookup
from graphc.passes.autodiff import gradient
from graphc.tape import Edge, Node, Saved
from graphc.tensors.base import TensorBase, elements, wrap

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor

Array = np.ndarray[Any, Any]


def leaves_behind(roots: Sequence[TensorBase], nodes: Sequence[Node]) -> list[TensorBase]:
    """The leaves that require gradients and that the roots were computed from."""
    found: dict[int, TensorBase] = {}
    edges = [edge_of(x) for x in roots]
    edges += [e for node in nodes for e in node.edges if e is not None]
    for edge in edges:
        if edge.leaf is not None:
            found.setdefault(id(edge.leaf), edge.leaf)
    return list(found.values())


def pull_back(
    roots: Sequence[TensorBase],
    cotangents: Sequence[TensorBase],
    wrt: Sequence[TensorBase],
    nodes: Sequence[Node],
    create_graph: bool,
) -> list[Tensor | None]:
    """The gradient by each tensor of `wrt`; None where the roots do not depend on it. `nodes` holds what is reachable
    from the roots, in order."""
    tape = _Tape(nodes)
    wanted = [tape.find(edge_of(x)) for x in wrt]
    opaque = [node for node in nodes if node.pull is not None]
    if opaque and create_graph:
        fail(
            AutogradError,
            f"a gradient of a gradient through the compiled function {opaque[0].name!r}; take both inside the compiled "
            "function, or call it undecorated",
        )
    evaluator: _OnArrays | _OnTensors = _OnTensors(tape) if create_graph else _OnArrays(tape)
    totals: dict[Value, Any] = {}
    targets = [tape.root(x) for x in roots]
    seeds = [evaluator.seed(x) for x in cotangents]
    while True:
        boundary = [v for node in opaque for v in tape.results[id(node)] if v.type.dtype.is_float]
        by = list(dict.fromkeys([*(v for v in wanted if v is not None), *boundary]))
        pulled = tape.differentiate(targets, seeds, by, evaluator)
        for value, found in zip(by, pulled, strict=True):
            totals[value] = evaluator.add(totals[value], found) if value in totals else found
        if not opaque:
            break
        node = opaque.pop()
        targets, seeds = tape.pull(node, totals, evaluator)
    return [None if v is None else evaluator.tensor(totals[v]) for v in wanted]


class _Tape:
    """The recorded ops as a block, and what is known of its values."""

    def __init__(self, nodes: Sequence[Node]):
        self.block = Block()
        self.results: dict[int, tuple[Value, ...]] = {}
        self.leaves: dict[int, Value] = {}
        self.saved: dict[Value, Saved] = {}
        self.edges: dict[Value, Edge] = {}
        self.operands: dict[int, list[Value]] = {}
        for node in nodes:
            self._add(node)
        self.n_forward = len(self.block.ops)

    def _add(self, node: Node) -> None:
        assert node.operands is not None
        operands = [self._operand(edge, kept) for edge, kept in zip(node.edges, node.operands, strict=True)]
        types = [kept.type for kept in node.results]
        if node.pull is None:
            op = Op(node.name, operands, types, dict(node.attributes), (), node.location)
            self.block.ops.append(op)
            values = op.results
        else:
            values = tuple(Value(t) for t in types)
            self.operands[id(node)] = operands
        self.results[id(node)] = values
        for i, (value, kept) in enumerate(zip(values, node.results, strict=True)):
            self.saved[value] = kept
            self.edges[value] = Edge(node, i, None)

    def _operand(self, edge: Edge | None, kept: Saved) -> Value:
        if edge is None:
            value = Value(kept.type)
            self.saved[value] = kept
            return value
        value = self._leaf(edge.leaf, kept) if edge.leaf is not None else self._result(edge)
        known = self.saved[value]
        if known.storage is kept.storage and known.version == kept.version:
            return value
        # The same place on the tape with other elements: it was written in place. An identity op carries them.
        op = Op("reshape", [value], [kept.type], {"shape": kept.type.shape})
        self.block.ops.append(op)
        self.saved[op.result] = kept
        self.edges[op.result] = edge
        return op.result

    def _leaf(self, leaf: TensorBase, kept: Saved) -> Value:
        value = self.leaves.get(id(leaf))
        if value is None:
            value = self.leaves[id(leaf)] = Value(kept.type)
            self.saved[value] = kept
            self.edges[value] = Edge(None, 0, leaf)
        return value

    def _result(self, edge: Edge) -> Value:
        return self.results[id(edge.node)][edge.result]

    def find(self, edge: Edge) -> Value | None:
        """The value of a place on the tape, if it is behind the roots."""
        if edge.leaf is not None:
            return self.leaves.get(id(edge.leaf))
        return self._result(edge) if id(edge.node) in self.results else None

    def root(self, x: TensorBase) -> Value:
        edge = edge_of(x)
        if edge.leaf is None:
            return self._result(edge)
        return self._leaf(edge.leaf, saved(x))

    def differentiate(
        self, targets: Sequence[Value], seeds: Sequence[Any], by: Sequence[Value], evaluator: _OnArrays | _OnTensors
    ) -> list[Any]:
        """Evaluate the gradient of `targets`, with the cotangents `seeds`, by each of `by`."""
        if not targets or not by:
            return [evaluator.zeros(v) for v in by]
        values = [Value(v.type) for v in targets]
        known = dict(zip(values, seeds, strict=True))
        found = gradient(self.block, targets, values, by, user_location())
        for op in self.block.ops[self.n_forward :]:
            known.update(zip(op.results, evaluator.run(op, known), strict=True))
        del self.block.ops[self.n_forward :]
        return [known[v] if v in known else evaluator.forward(v) for v in found]

    def pull(
        self, node: Node, totals: dict[Value, Any], evaluator: _OnArrays | _OnTensors
    ) -> tuple[list[Value], list[Any]]:
        """Pull cotangents of an opaque node's results back to its operands."""
        assert node.pull is not None
        received = [evaluator.array(totals[v]) if v in totals else None for v in self.results[id(node)]]
        sent = node.pull(received)
        pairs = [
            (v, evaluator.seed_array(c))
            for v, c, edge in zip(self.operands[id(node)], sent, node.edges, strict=True)
            if c is not None and edge is not None
        ]
        return [v for v, _ in pairs], [c for _, c in pairs]

    def forward(self, value: Value) -> Saved:
        """A forward value that the backward pass needs. Raises AutogradError where it was overwritten."""
        kept = self.saved[value]
        if not kept.intact:
            fail(
                AutogradError,
                f"backward needs a tensor of type {kept.type} that was written in place since it was used (version "
                f"{kept.storage.version}, expected {kept.version}); clone() it before the write",
            )
        return kept


class _OnArrays:
    """Evaluates the backward pass on arrays."""

    def __init__(self, tape: _Tape):
        self._tape = tape
        self._taken: set[int] = set()  # arrays that are somebody's: gradients share no memory

    def seed(self, x: TensorBase) -> Array:
        return self._take(elements(x))

    def _take(self, array: Array) -> Array:
        self._taken.add(id(array))
        return array

    def seed_array(self, array: Array) -> Array:
        return array

    def array(self, found: Array) -> Array:
        return found

    def forward(self, value: Value) -> Array:
        return self._take(self._tape.forward(value).array)

    def zeros(self, value: Value) -> Array:
        return np.zeros(value.type.shape, value.type.dtype.numpy)

    def add(self, a: Array, b: Array) -> Array:
        return lookup("add").eval([a, b], {})[0]

    def run(self, op: Op, known: dict[Value, Array]) -> Sequence[Array]:
        operands = [known[v] if v in known else self.forward(v) for v in op.operands]
        return lookup(op.name).eval(operands, op.attributes)

    def tensor(self, array: Array) -> Tensor:
        own = array.flags.writeable and array.flags.owndata and id(array) not in self._taken
        return wrap(self._take(array if own else array.copy()))


class _OnTensors:
    """Evaluates the backward pass on tensors, so that it is on the tape itself."""

    def __init__(self, tape: _Tape):
        self._tape = tape
        self._made: dict[Value, TensorBase] = {}
        self._taken: set[int] = set()

    def seed(self, x: TensorBase) -> TensorBase:
        self._taken.add(id(x))
        return x

    def seed_array(self, array: Array) -> TensorBase:
        return wrap(array)

    def array(self, found: TensorBase) -> Array:
        return elements(found)

    def forward(self, value: Value) -> TensorBase:
        made = self._made.get(value)
        if made is None:
            made = self._made[value] = self._make(value)
        return made

    def _make(self, value: Value) -> TensorBase:
        kept, edge = self._tape.forward(value), self._tape.edges.get(value)
        if edge is not None and edge.leaf is not None:
            return edge.leaf
        made = wrap(kept.array, kept.type)
        made._storage = kept.storage
        if edge is not None and kept.type.dtype.is_float:
            made._node, made._index, made._requires_grad = edge.node, edge.result, True
        return made

    def zeros(self, value: Value) -> TensorBase:
        return wrap(np.zeros(value.type.shape, value.type.dtype.numpy))

    def add(self, a: TensorBase, b: TensorBase) -> TensorBase:
        with enable_grad():
            return apply_op("add", [a, b], {})[0]

    def run(self, op: Op, known: dict[Value, TensorBase]) -> Sequence[TensorBase]:
        operands = [known[v] if v in known else self.forward(v) for v in op.operands]
        with enable_grad():
            return apply_op(op.name, operands, op.attributes)

    def tensor(self, found: TensorBase) -> Tensor:
        if id(found) in self._taken or found._base is not None:
            with enable_grad():
                found = clone(found)
        self._taken.add(id(found))
        return found  # type: ignore[return-value]
