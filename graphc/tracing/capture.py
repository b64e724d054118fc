"""Runs a function under a trace, and makes the graph."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from graphc.context import context, no_grad
from graphc.dispatch import needs_grad
from graphc.functions.creation import zeros_like
from graphc.ir.graph import Graph, Value
from graphc.ir.types import TensorType
from graphc.nn.module import Module
from graphc.tensors.base import TensorBase
from graphc.tensors.storage import Storage
from graphc.tracing.elided import ElidedGrad
from graphc.tracing.gradients import UNSEEN, Grad
from graphc.tracing.guards import Reading, Reads, snapshot
from graphc.tracing.names import state_names
from graphc.tracing.trace import Trace

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor


@dataclass(frozen=True)
class InputType:
    """What a tensor argument is: its type, its name, and whether it requires gradients."""

    type: TensorType
    name: str
    requires_grad: bool = False


class StateRef(NamedTuple):
    """A state: its memory, the tensor through which the trace met it, and whether that required gradients."""

    storage: Storage
    tensor: TensorBase
    requires_grad: bool

    @property
    def intact(self) -> bool:
        """Whether the tensor still shows that memory, and still is, or is not, trained."""
        return self.tensor._storage is self.storage and self.tensor._requires_grad == self.requires_grad


@dataclass(frozen=True)
class GradRule:
    """What a compiled function does to `.grad` of one tensor.

    needs: what must be there before a call: a tensor (whose memory is state), None, a gradient that was not kept, or
    `UNSEEN` for anything.
    fresh: needs is a tensor, and zeros will do where `.grad` is None.
    leaves: what is there afterwards: a tensor, None, or an ElidedGrad.
    """

    tensor: TensorBase
    needs: TensorBase | ElidedGrad | str | None
    fresh: bool
    leaves: TensorBase | ElidedGrad | None


@dataclass(frozen=True)
class ModuleView:
    """A module that the trace may have read, and what it found."""

    label: str
    module: Module
    seen: dict[str, Any]


@dataclass
class Captured:
    """A traced function.

    graph: inputs are the tensor arguments, then the scalars.
    states: what each state of the graph is.
    outputs: for each tensor of the result, which result of the graph it is.
    recorded: for each of them, whether it requires gradients that a backward pass could still take.
    written, input_grads: arguments that were written in place, or got a gradient, with the result that holds it.
    leaves: the values that stand for leaves: which input, or the tensor that is state.
    seconds: what the trace took.
    """

    graph: Graph
    states: list[StateRef]
    scalars: list[Reading]
    guards: list[Reading]
    modules: list[ModuleView]
    grad_rules: list[GradRule]
    effects: list[tuple[Any, str, Any]]
    structure: Any
    outputs: list[int]
    recorded: list[bool]
    written: list[tuple[int, int]]
    input_grads: list[tuple[int, int]]
    leaves: list[tuple[Value, int | TensorBase]]
    roll_back: Callable[[], None]
    seconds: float = 0.0


def capture(
    function: Callable[[Sequence[Tensor]], Any],
    reads: Reads,
    name: str,
    inputs: Sequence[InputType],
    take_apart: Callable[[Any, list[Any]], Any],
    keep_grads: bool = False,
) -> Captured:
    """Trace `function`, which is given one traced tensor per input. `reads` tells what its code refers to;
    `take_apart` flattens its result. Whatever it raises is passed on, with everything as it was before."""
    start = time.perf_counter()
    modules: dict[int, ModuleView] = {}

    def visit(module: Module, label: str = "") -> None:
        if id(module) not in modules:
            modules[id(module)] = ModuleView(label or type(module).__name__, module, snapshot(module))

    for label, root in reads.modules.items():
        for path, module in root.named_modules():
            visit(module, f"{label}.{path}" if path else label)
    trace = Trace(name, state_names(reads), visit)
    context.trace = trace
    enabled = context.grad_enabled
    try:
        arguments = [trace.add_input(x.type, x.name, x.requires_grad) for x in inputs]
        result = function(arguments)
        trace.require_switched_back()
        with no_grad():
            captured = _Finish(trace, arguments, keep_grads).captured(result, take_apart, reads, list(modules.values()))
        captured.seconds = time.perf_counter() - start
        return captured
    except BaseException:
        context.trace = None
        trace.roll_back()
        raise
    finally:
        context.trace = None
        context.grad_enabled = enabled


class _Finish:
    """Makes a graph of what a trace holds at the end."""

    def __init__(self, trace: Trace, arguments: Sequence[Tensor], keep_grads: bool):
        self._trace = trace
        self._arguments = arguments
        self._keep_grads = keep_grads
        self._replaced: dict[Value, Value] = {}
        self._results: list[Value] = []
        self._dropped: set[Value] = set()

    def captured(
        self, result: Any, take_apart: Callable[[Any, list[Any]], Any], reads: Reads, modules: list[ModuleView]
    ) -> Captured:
        trace = self._trace
        leaves: list[Any] = []
        structure = take_apart(result, leaves)
        consumed = self._behind(trace.gradients_.consumed)
        rules = [self._rule(grad) for grad in trace.gradients_.grads.values() if grad.tensor._array is not None]
        tensors = [x if isinstance(x, TensorBase) else None for x in leaves]
        outputs = [self._result(x) for x in tensors if x is not None]
        recorded = [needs_grad(x) and trace.value_of(x) not in consumed for x in tensors if x is not None]
        written = [
            (i, self._result(x)) for i, x in enumerate(self._arguments) if x._storage.value is not trace.inputs[i]
        ]
        input_grads = [
            (i, self._result(grad.now))
            for i, x in enumerate(self._arguments)
            if (grad := trace.gradients_.grads.get(id(x))) is not None and isinstance(grad.now, TensorBase)
        ]
        self._replace()
        graph, states = self._graph()
        return Captured(
            graph,
            states,
            trace.scalars,
            [*reads.besides([scalar.getter for scalar in trace.scalars]), *trace.guards],
            modules,
            rules,
            trace.changed_attributes(),
            structure,
            outputs,
            recorded,
            written,
            input_grads,
            self._leaves(),
            trace.roll_back,
        )

    def _leaves(self) -> list[tuple[Value, int | TensorBase]]:
        arguments = {id(x): i for i, x in enumerate(self._arguments)}
        found = self._trace.gradients_.leaves
        return [(value, arguments.get(id(leaf.tensor), leaf.tensor)) for value, leaf in found.items()]

    def _result(self, x: TensorBase) -> int:
        """The number of the graph's result that is the value of `x`."""
        value = self._trace.value_of(x)
        if value not in self._results:
            self._results.append(value)
        return self._results.index(value)

    def _rule(self, grad: Grad) -> GradRule:
        now = grad.now
        if now is None:
            if grad.sum is not None:
                self._replaced[grad.sum.op.result] = grad.sum.addend
                self._dropped.add(grad.sum.zeros)
            return GradRule(grad.tensor, grad.before, False, None)
        if isinstance(now, ElidedGrad):
            if self._keep_grads:
                now.read()
            return GradRule(grad.tensor, now, False, now)
        if now._array is not None:
            needs = now if grad.sum is not None else grad.before
            return GradRule(grad.tensor, needs, grad.sum is not None, now)
        if not self._keep_grads:
            return GradRule(grad.tensor, grad.before, False, ElidedGrad(self._trace.name))
        kept = self._trace.outside(lambda: zeros_like(grad.tensor.detach()))
        kept._storage.label = (grad.tensor, "grad")
        self._trace.write(kept, now)
        return GradRule(grad.tensor, UNSEEN if grad.before is None else grad.before, False, kept)

    def _replace(self) -> None:
        for value in self._replaced:
            assert value.op is not None
            self._trace.block.ops.remove(value.op)
        for op in self._trace.block.ops:
            op.operands = tuple(self._replaced.get(v, v) for v in op.operands)
        self._results = [self._replaced.get(v, v) for v in self._results]

    def _graph(self) -> tuple[Graph, list[StateRef]]:
        trace = self._trace
        updates = {}
        for state in trace.states:
            value = self._replaced.get(state.held.value, state.held.value)
            if value is not state.argument and state.argument not in self._dropped:
                updates[state.argument] = value
        used = {v for op in trace.block.ops for v in op.operands} | {*self._results, *updates, *updates.values()}
        states = [state for state in trace.states if state.argument in used]
        graph = Graph(
            trace.name,
            [*trace.inputs, *trace.scalar_values],
            [state.argument for state in states],
            trace.block.ops,
            self._results,
            updates,
        )
        return graph, [StateRef(s.tensor._storage, s.tensor, s.requires_grad) for s in states]

    def _behind(self, values: Sequence[Value]) -> set[Value]:
        seen: set[Value] = set()
        stack = list(values)
        while stack:
            value = stack.pop()
            if value not in seen:
                seen.add(value)
                if value.op is not None:
                    stack.extend(value.op.operands)
        return seen
