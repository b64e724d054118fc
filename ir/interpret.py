"""Runs a graph on NumPy arrays, op by op, through each record's `eval`. Slow and plain: what every other way of running
a graph is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.ir.errors import DifferentiationError, DTypeError, GraphcError, ShapeError
from graphc.ir.graph import Block, Graph, Op, Value
from graphc.ir.opdef import Array, lookup
from graphc.ir.types import TensorType


def interpret(graph: Graph, inputs: Sequence[Array], states: Sequence[Array] = ()) -> tuple[list[Array], list[Array]]:
    """The outputs of `graph`, and the value of every state after the step, in the order of `graph.states`.

    `inputs` and `states` must have exactly the argument types; they are not written to, and the results are fresh
    arrays. Raises ShapeError or DTypeError for an argument that does not fit, DifferentiationError at a `gradient` op
    (only graphs from the stage `differentiated` on can be evaluated), and FaultError, located at the user's line, where
    an op meets a value out of its range.
    """
    args = [
        *_arguments(graph, "input", graph.inputs, inputs),
        *_arguments(graph, "state", graph.states, states),
    ]
    environment = dict(zip(graph.args, args, strict=True))
    _run(graph, environment)
    new_states = [graph.updates.get(state, state) for state in graph.states]
    return [environment[v].copy() for v in graph.results], [environment[v].copy() for v in new_states]


def evaluate_block(block: Block, args: Sequence[Array]) -> list[Array]:
    """The results of one block, given an array for each of its arguments. Results may be views of `args`. Raises what
    `interpret` raises while running."""
    environment = dict(zip(block.args, args, strict=True))
    _run(block, environment)
    return [environment[v] for v in block.results]


def evaluate_op(op: Op, operands: Sequence[Array]) -> list[Array]:
    """The results of one op, its region included. Raises what `interpret` raises while running."""
    record = lookup(op.name)
    if record.kind == "meta":
        raise DifferentiationError(
            f"{op.name} cannot be evaluated: it is rewritten away by the pass autodiff; run that first", op.location
        )
    if record.kind == "fused":
        return evaluate_block(op.regions[0], operands)
    try:
        return list(record.eval(operands, op.attributes))
    except GraphcError as error:
        raise type(error)(error.message, error.location or op.location) from error


def _run(block: Block, environment: dict[Value, Array]) -> None:
    """Evaluate the ops of `block` in order, adding their results to `environment`."""
    for op in block.ops:
        arrays = evaluate_op(op, [environment[v] for v in op.operands])
        environment.update(zip(op.results, arrays, strict=True))


def _arguments(graph: Graph, role: str, values: Sequence[Value], arrays: Sequence[Array]) -> list[Array]:
    if len(values) != len(arrays):
        raise ShapeError(f"graph @{graph.name} takes {len(values)} {role}s, got {len(arrays)}")
    checked = [np.asarray(array) for array in arrays]
    for i, (value, array) in enumerate(zip(values, checked, strict=True)):
        _check_argument(f"{role} {value.name or i} of graph @{graph.name}", value.type, array)
    return checked


def _check_argument(described: str, type: TensorType, array: Array) -> None:
    if array.dtype != type.dtype.numpy:
        raise DTypeError(f"{described} is {type}, got an array of {array.dtype}; convert it")
    if array.shape != type.shape:
        raise ShapeError(f"{described} is {type}, got an array of shape {array.shape}")
