"""Calls of compiled functions on the eager tape: `loss.backward()` outside runs a second program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.compiler.binding import BoundStates, Group
from graphc.compiler.executors import build_executor
from graphc.compiler.options import ProgramOptions
from graphc.compiler.residuals import split
from graphc.dispatch import attach, edge_of, needs_grad, saved
from graphc.errors import AutogradError, fail
from graphc.runtime.executor import Executor
from graphc.tape import Node, Saved
from graphc.tensors.base import TensorBase
from graphc.tracing.capture import Captured

Array = np.ndarray[Any, Any]


class Backward:
    """The backward half of a compiled function. `forward` is the other half: it returns the residuals too."""

    def __init__(self, name: str, captured: Captured, bound: BoundStates, options: ProgramOptions):
        self._name = name
        self._options = options
        self._recorded = [i for i, recorded in enumerate(captured.recorded) if recorded]
        self._outputs = list(dict.fromkeys(captured.outputs[i] for i in self._recorded))
        self._places = [self._outputs.index(captured.outputs[i]) for i in self._recorded]
        self._leaves = [leaf for _, leaf in captured.leaves]
        self._halves = split(captured.graph, self._outputs, [value for value, _ in captured.leaves])
        self._states = [captured.states[i] for i in self._halves.states]
        self._group = bound.group
        self._memory = [bound.arrays[i] for i in self._halves.states]
        self._executor: Executor | None = None  # compiled when a backward pass is taken
        self.forward = self._halves.forward

    def record(self, tensors: Sequence[TensorBase], arguments: Sequence[Any], results: Sequence[Array]) -> None:
        """Put a call on the tape: `tensors` are what it returns."""
        leaves = [arguments[leaf] if isinstance(leaf, int) else leaf for leaf in self._leaves]
        inputs = [_kept(arguments[i]) for i in self._halves.saved]
        states = [saved(state.tensor) for state in self._states]
        residuals = list(results[self._halves.n_results :])

        def pull(cotangents: Sequence[Array | None]) -> Sequence[Array | None]:
            _require_intact(self._name, [*inputs, *states])
            return self._pull(cotangents, [x.array for x in inputs], residuals)

        edges = [edge_of(x) if needs_grad(x) else None for x in leaves]
        node = Node(self._name, {}, edges, [saved(x) for x in leaves], pull)
        attach(node, [tensors[i] for i in self._recorded])

    def _pull(
        self, cotangents: Sequence[Array | None], inputs: Sequence[Array], residuals: Sequence[Array]
    ) -> Sequence[Array]:
        summed: list[Array | None] = [None] * len(self._outputs)
        for place, cotangent in zip(self._places, cotangents, strict=True):
            known = summed[place]
            summed[place] = cotangent if known is None else known if cotangent is None else known + cotangent
        types = [v.type for v in self._halves.backward.inputs]
        seeds = [np.zeros(t.shape, t.dtype.numpy) if c is None else c for c, t in zip(summed, types, strict=False)]
        return self._group.run(self._run, [*seeds, *inputs, *residuals])

    def _run(self, group: Group, arrays: Sequence[Array]) -> Sequence[Array]:
        if self._executor is None:
            self._executor = build_executor(self._halves.backward, self._memory, self._options)
        return self._executor.run(arrays)


def _kept(argument: Any) -> Saved:
    """An argument as the backward program will need it; arrays of the caller's are copied, for they may change."""
    if isinstance(argument, TensorBase):
        return saved(argument)
    return saved(TensorBase.result_class(argument))


def _require_intact(name: str, values: Sequence[Saved]) -> None:
    for value in values:
        if not value.intact:
            fail(
                AutogradError,
                f"backward through the compiled function {name!r} needs a tensor of type {value.type} that was written "
                "in place since the call; clone() it before the write, or take the backward pass first",
            )
