"""Splits a traced function in two, for a backward pass that is taken outside: a forward program that also returns what
the backward program will need, and the backward program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from graphc.ir.graph import Block, Graph, Op, Value


@dataclass(frozen=True)
class Halves:
    """forward: the results of the function, then the residuals. backward: takes cotangents, then `saved` inputs of the
    forward half, then residuals; its states are `states` of the forward half; one result per leaf."""

    forward: Graph
    backward: Graph
    n_results: int
    saved: tuple[int, ...]
    states: tuple[int, ...]


def split(graph: Graph, recorded: Sequence[int], leaves: Sequence[Value]) -> Halves:
    """Differentiate the results `recorded` of a traced graph by values of it. What the function itself computes goes to
    the forward half, everything else to the backward half."""
    joint = _differentiated(graph, recorded, leaves)
    n_inputs, n_results = len(graph.inputs), len(graph.results)
    inputs, cotangents = joint.inputs[:n_inputs], joint.inputs[n_inputs:]
    results, gradients = joint.results[:n_results], joint.results[n_results:]
    early = _needed_for(joint, [*results, *joint.updates.values()])
    late = [op for op in joint.ops if op not in early]
    made_late = {v for op in late for v in op.results}
    crossing = [v for v in dict.fromkeys([*(v for op in late for v in op.operands), *gradients]) if v not in made_late]
    crossing = [v for v in crossing if v not in cotangents]
    saved = [v for v in inputs if v in crossing]
    states = [v for v in joint.states if v in crossing and v not in joint.updates]  # others are overwritten by then
    residuals = [v for v in crossing if v not in saved and v not in states]
    forward = Graph(
        joint.name,
        inputs,
        joint.states,
        [op for op in joint.ops if op in early],
        [*results, *residuals],
        joint.updates,
        joint.stage,
    )
    backward = _renewed(
        f"{joint.name}.backward", [*cotangents, *saved, *residuals], states, late, gradients, joint.stage
    )
    return Halves(
        forward,
        backward,
        n_results,
        tuple(inputs.index(v) for v in saved),
        tuple(joint.states.index(v) for v in states),
    )


def _differentiated(graph: Graph, recorded: Sequence[int], leaves: Sequence[Value]) -> Graph:
    targets = [graph.results[i] for i in recorded]
    cotangents = [Value(v.type, None, 0, f"cotangent.{i}") for i, v in zip(recorded, targets, strict=True)]
    gradient = Op("gradient", [*targets, *cotangents, *leaves], [v.type for v in leaves], {"targets": len(targets)})
    joint = Graph(
        graph.name,
        [*graph.inputs, *cotangents],
        graph.states,
        [*graph.ops, gradient],
        [*graph.results, *gradient.results],
        graph.updates,
    )
    differentiated: Graph = import_module("graphc.passes.autodiff").Autodiff().run(joint)
    return differentiated


def _needed_for(block: Block, roots: Sequence[Value]) -> set[Op]:
    live = set(roots)
    found: set[Op] = set()
    for op in reversed(block.ops):
        if any(v in live for v in op.results):
            live.update(op.operands)
            found.add(op)
    return found


def _renewed(
    name: str, inputs: Sequence[Value], states: Sequence[Value], ops: Sequence[Op], results: Sequence[Value], stage: str
) -> Graph:
    """A graph of copies: a value is an argument here that is a result in the other half."""
    renewed: dict[Value, Value] = {}
    for i, value in enumerate([*inputs, *states]):
        renewed[value] = Value(value.type, None, 0, value.name or f"residual.{i}")
    copied = []
    for op in ops:
        copy = Op(
            op.name,
            [renewed[v] for v in op.operands],
            [v.type for v in op.results],
            op.attributes,
            op.regions,
            op.location,
        )
        copied.append(copy)
        for old, new in zip(op.results, copy.results, strict=True):
            new.name = old.name
            renewed[old] = new
    return Graph(
        name,
        [renewed[v] for v in inputs],
        [renewed[v] for v in states],
        copied,
        [renewed[v] for v in results],
        stage=stage,
    )
