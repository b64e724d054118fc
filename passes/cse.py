"""Common subexpressions: what is computed twice is computed once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from graphc.ir.attributes import Attribute
from graphc.ir.builder import Builder
from graphc.ir.graph import Block, Graph, Op, Value
from graphc.ir.opdef import lookup
from graphc.passes.preconditions import refuse_gradients
from graphc.passes.rewriter import rewrite


@dataclass(frozen=True)
class Cse:
    """Before: a graph without `gradient` ops.

    After: no two ops of one block have the same name, operands (in any order where the op is commutative) and
    attributes, except ops with a side effect and ops with regions. The first stays, with its location. Random ops are
    functions of their key and offset, so they take part like any other.
    """

    name: str = "cse"

    def run(self, graph: Graph) -> Graph:
        refuse_gradients(graph, self.name)
        seen: dict[Block, dict[Hashable, tuple[Value, ...]]] = {}  # per block: regions are isolated from above

        def visit(builder: Builder, op: Op, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            traits = lookup(op.name).traits
            if op.regions or "has_side_effect" in traits:
                return None
            key = _key(op, operands, "commutative" in traits)
            known = seen.setdefault(builder.block, {})
            if key not in known:
                known[key] = builder.append(
                    Op(op.name, operands, [v.type for v in op.results], op.attributes, (), op.location)
                ).results
            return known[key]

        return rewrite(graph, visit)


def _key(op: Op, operands: Sequence[Value], commutative: bool) -> Hashable:
    ordered = sorted(operands, key=id) if commutative else operands
    return (op.name, tuple(ordered), tuple((k, attribute_key(v)) for k, v in sorted(op.attributes.items())))


def attribute_key(value: Attribute) -> Hashable:
    """A key that is equal where `same_attribute` holds."""
    if isinstance(value, tuple):
        return (tuple, tuple(map(attribute_key, value)))
    if isinstance(value, float):
        return (float, "nan" if value != value else np.float64(value).tobytes())
    return (type(value), value)
