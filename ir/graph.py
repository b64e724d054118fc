"""Typed SSA: values, ops, blocks, graphs.

A graph is one block of topologically ordered ops. Its arguments are inputs, then states; a state's new value, if any,
is named in `updates`. Passes do not edit a graph: they rebuild it (see `graphc.passes.rewriter`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from graphc.ir.attributes import Attributes, same_attribute
from graphc.ir.location import Location
from graphc.ir.types import TensorType

STAGES = ("traced", "differentiated", "optimized", "fused")


class Value:
    """One SSA value; compares by identity. `name` is a hint for printing, `op` its definition (None: an argument)."""

    __slots__ = ("index", "name", "op", "type")

    def __init__(self, type: TensorType, op: Op | None = None, index: int = 0, name: str | None = None):
        self.type = type
        self.op = op
        self.index = index
        self.name = name

    def __repr__(self) -> str:
        return f"<Value {self.name or ''}: {self.type}>"


class Op:
    """One operation: name, operands, attributes, regions, results, and the user's line it came from."""

    __slots__ = ("attributes", "location", "name", "operands", "regions", "results")

    def __init__(
        self,
        name: str,
        operands: Sequence[Value],
        result_types: Sequence[TensorType],
        attributes: Mapping[str, object] | None = None,
        regions: Sequence[Block] = (),
        location: Location | None = None,
    ):
        self.name = name
        self.operands: tuple[Value, ...] = tuple(operands)
        self.attributes: Attributes = dict(attributes or {})  # type: ignore[arg-type]
        self.regions: tuple[Block, ...] = tuple(regions)
        self.results: tuple[Value, ...] = tuple(Value(t, self, i) for i, t in enumerate(result_types))
        self.location = location

    @property
    def result(self) -> Value:
        """The only result of a one-result op."""
        (value,) = self.results
        return value

    @property
    def operand_types(self) -> tuple[TensorType, ...]:
        return tuple(v.type for v in self.operands)

    def __repr__(self) -> str:
        return f"<Op {self.name}>"


class Block:
    """Arguments, ops in order, and the values it yields. A region of an op is one block, isolated from above:
    its ops refer to its own arguments and results only."""

    def __init__(self, args: Sequence[Value] = (), ops: Sequence[Op] = (), results: Sequence[Value] = ()):
        self.args: list[Value] = list(args)
        self.ops: list[Op] = list(ops)
        self.results: list[Value] = list(results)

    def walk(self) -> Iterator[Op]:
        """Every op, those inside regions after the op that holds them."""
        for op in self.ops:
            yield op
            for region in op.regions:
                yield from region.walk()

    def uses(self) -> dict[Value, list[Op]]:
        """Value -> the ops of this block that take it as an operand (once per operand)."""
        found: dict[Value, list[Op]] = {}
        for op in self.ops:
            for value in op.operands:
                found.setdefault(value, []).append(op)
        return found


class Graph(Block):
    """A whole program: `args` are the inputs followed by the states; `results` are the outputs; `updates` maps a
    state argument to its new value (states that are only read are absent)."""

    def __init__(
        self,
        name: str,
        inputs: Sequence[Value] = (),
        states: Sequence[Value] = (),
        ops: Sequence[Op] = (),
        results: Sequence[Value] = (),
        updates: Mapping[Value, Value] | None = None,
        stage: str = "traced",
    ):
        super().__init__([*inputs, *states], ops, results)
        self.name = name
        self.n_inputs = len(inputs)
        self.updates: dict[Value, Value] = dict(updates or {})
        self.stage = stage

    @property
    def inputs(self) -> list[Value]:
        return self.args[: self.n_inputs]

    @property
    def states(self) -> list[Value]:
        return self.args[self.n_inputs :]

    def roots(self) -> list[Value]:
        """Every value that must be computed: outputs, then new state values."""
        return [*self.results, *self.updates.values()]

    def __str__(self) -> str:
        return _printer(self)


_printer: Callable[[Graph], str] = repr


def print_with(printer: Callable[[Graph], str]) -> None:
    """Install what `str(graph)` calls. The text package stands above this module, and installs its printer here."""
    global _printer
    _printer = printer


def same_graph(a: Graph, b: Graph) -> bool:
    """Structural equality: same interface (name, stage, argument names and types), ops, attributes, wiring.
    Names of intermediate values and locations do not count."""
    if (a.name, a.stage, a.n_inputs) != (b.name, b.stage, b.n_inputs):
        return False
    if [v.name for v in a.args] != [v.name for v in b.args]:
        return False
    numbering: dict[Value, Value] = {}
    if not _same_block(a, b, numbering):
        return False
    return [(numbering.get(k), numbering.get(v)) for k, v in a.updates.items()] == list(b.updates.items())


def _same_block(a: Block, b: Block, numbering: dict[Value, Value]) -> bool:
    if len(a.args) != len(b.args) or len(a.ops) != len(b.ops) or len(a.results) != len(b.results):
        return False
    for x, y in zip(a.args, b.args, strict=True):
        if x.type != y.type:
            return False
        numbering[x] = y
    for p, q in zip(a.ops, b.ops, strict=True):
        if p.name != q.name or len(p.results) != len(q.results) or len(p.regions) != len(q.regions):
            return False
        if [numbering.get(v) for v in p.operands] != list(q.operands):
            return False
        if p.attributes.keys() != q.attributes.keys():
            return False
        if not all(same_attribute(v, q.attributes[k]) for k, v in p.attributes.items()):
            return False
        if not all(_same_block(r, s, numbering) for r, s in zip(p.regions, q.regions, strict=True)):
            return False
        for x, y in zip(p.results, q.results, strict=True):
            if x.type != y.type:
                return False
            numbering[x] = y
    return [numbering.get(v) for v in a.results] == list(b.results)
