"""What passes ask of the graph they are given."""

from __future__ import annotations

from graphc.ir.errors import GraphcError
from graphc.ir.graph import Graph


def refuse_gradients(graph: Graph, pass_name: str) -> None:
    """Raise GraphcError if `graph` holds a `gradient` op. What a gradient means depends on the ops between its
    operands, so nothing may be simplified before autodiff has run."""
    for op in graph.walk():
        if op.name == "gradient":
            raise GraphcError(f"{pass_name} cannot run on a graph with `gradient` ops: run autodiff first", op.location)
