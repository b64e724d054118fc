"""One compiled version of a function: what it relies on, its program, and how a call of it goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.autograd import accumulate
from graphc.compiler.binding import BoundStates, Group
from graphc.compiler.differentiable import Backward
from graphc.compiler.executors import build_executor
from graphc.compiler.options import DEFAULT, ProgramOptions
from graphc.epoch import epoch, grad_epoch
from graphc.errors import AutogradError, StateError, TracingError, fail
from graphc.ir.types import type_of
from graphc.pytree import unflatten
from graphc.tensors.base import TensorBase, elements, wrap
from graphc.tensors.storage import Clock
from graphc.tracing.capture import Captured, GradRule
from graphc.tracing.elided import ElidedGrad
from graphc.tracing.guards import difference, same_value, snapshot

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor

Array = np.ndarray[Any, Any]
STALE: Any = object()


class Entry:
    """A traced and compiled version of `name`, for one signature and one set of Python values."""

    def __init__(self, name: str, captured: Captured, options: ProgramOptions = DEFAULT):
        self.name = name
        self.captured = captured
        self._bound = BoundStates([state.storage for state in captured.states])
        self._backward: Backward | None = None
        graph = captured.graph
        if any(captured.recorded):
            self._backward = Backward(name, captured, self._bound, options)
            graph = self._backward.forward
        self._executor = build_executor(graph, self._bound.arrays, options, captured.seconds)
        self._scalars = [reading.getter for reading in captured.scalars]
        self._guards = [(reading.getter, reading.value) for reading in captured.guards]
        self._types = [v.type for v in captured.graph.results]
        self._single = captured.structure is None
        self._plain = not (captured.written or captured.input_grads or captured.effects or self._backward)
        self._changes_arguments = bool(captured.written or captured.input_grads)
        self._clock = Clock()
        self._epoch = self._grad_epoch = -1
        if captured.graph.updates:
            places = {v: i for i, v in enumerate(captured.graph.states)}
            for argument in captured.graph.updates:
                storage = captured.states[places[argument]].storage
                storage.clocks = (*storage.clocks, self._clock)

    # --- whether it still holds

    def stale(self) -> str | None:
        """Why this version does not fit any more; None where it does. Raises StateError for a state that changed its
        shape."""
        for reading in self.captured.guards:
            if reading.changed:
                return f"{reading.name} changed from {reading.value!r}"
        for view in self.captured.modules:
            now = snapshot(view.module)
            if now != view.seen:
                self._require_shapes()
                return f"{view.label}: {difference(view.seen, now)}"
        for state in self.captured.states:
            if not state.intact:
                self._require_shapes()
                return "a state tensor got other memory, or was frozen or unfrozen"
        if not self._bound.intact:
            return "a state tensor got other memory"
        if not all(map(_fits, self.captured.grad_rules)):
            return "a gradient exists that did not exist when it was compiled, or the other way round"
        return None

    def _require_shapes(self) -> None:
        for state, argument in zip(self.captured.states, self.captured.graph.states, strict=True):
            now = state.tensor._storage
            if now is not state.storage and tuple(now.array.shape) != argument.type.shape:
                raise StateError(
                    f"{argument.name} was {argument.type} when {self.name!r} was compiled, and is {type_of(now.array)} "
                    f"now; call {self.name}.reset() to compile it anew"
                )

    def _guards_hold(self) -> bool:
        try:
            for getter, value in self._guards:
                found = getter()
                if found is not value and not same_value(found, value):
                    return False
        except (AttributeError, KeyError, IndexError, TypeError, ValueError):
            return False
        return True

    # --- a call

    def call(self, arguments: Sequence[Any], first: bool = False) -> Any:
        """Run on tensors or arrays of exactly the signature's types; `STALE` where this version does not fit. `first`:
        right after the trace, which may itself have changed what the next call will look at."""
        results = self._bound.group.run(self._run, arguments, first)
        if results is STALE:
            return STALE
        if self._plain and self._single:
            return wrap(results[0], self._types[0])
        return self._finish(arguments, results)

    def _run(self, group: Group, arguments: Sequence[Any], first: bool) -> Any:
        """The arrays that a call gives, or `STALE`; `group` is held."""
        bound = self._bound
        moved = epoch.value != self._epoch
        if moved and not first and self.stale() is not None:
            return STALE
        if not moved and not self._guards_hold():
            return STALE
        if self._changes_arguments:
            self._require_changeable(arguments)
        rules = self.captured.grad_rules
        turn = bool(rules) and (grad_epoch.value != self._grad_epoch or group.last is not self)
        if turn:
            if not all(map(_fits, rules)):
                return STALE
            self._prepare_grads()
        arrays: list[Array | float] = [elements(x) if isinstance(x, TensorBase) else x for x in arguments]
        arrays += [float(getter()) for getter in self._scalars]
        bound.load()
        results = self._executor.run(arrays)
        bound.store()
        self._clock.value += 1
        if moved and not first:
            self._epoch = epoch.value
        if turn:
            for rule in rules:
                rule.tensor._grad = rule.leaves
            self._grad_epoch = grad_epoch.value
            group.last = self
        return results

    def _require_changeable(self, arguments: Sequence[Any]) -> None:
        """Before anything has run: whether the arguments that it writes in place, or differentiates by, allow that."""
        for written, _ in self.captured.written:
            x = arguments[written]
            array = _memory(x)
            name = self.captured.graph.inputs[written].name
            if not array.flags.writeable:
                fail(TracingError, f"{self.name!r} writes in place to {name!r}, whose memory is read-only; clone() it")
            others = [_memory(y) for i, y in enumerate(arguments) if i != written]
            if self._bound.overlap(array) or any(np.shares_memory(array, other) for other in others):
                fail(
                    TracingError,
                    f"{self.name!r} writes in place to {name!r}, which shares memory with another argument, or with a "
                    "tensor that the function reaches by itself: a program takes each memory once; clone() one of them",
                )
        for reached, _ in self.captured.input_grads:
            leaf = arguments[reached]
            if isinstance(leaf._grad, ElidedGrad):
                leaf._grad.read()
            if not leaf.is_leaf:
                fail(
                    AutogradError,
                    f"backward() inside {self.name!r} reaches an argument that was computed from tensors that require "
                    "gradients; detach() it, or call backward() outside",
                )

    def _finish(self, arguments: Sequence[Any], results: list[Array]) -> Any:
        captured = self.captured
        for module, name, value in captured.effects:
            setattr(module, name, value)
        seen: set[int] = set()
        tensors: list[Tensor] = []
        for i in captured.outputs:
            array = results[i].copy() if i in seen else results[i]
            seen.add(i)
            tensors.append(wrap(array, self._types[i]))
        if self._backward is not None:
            self._backward.record(tensors, arguments, results)
        for argument, result in captured.written:
            _write_argument(arguments[argument], results[result])
        for argument, result in captured.input_grads:
            accumulate(arguments[argument], wrap(results[result]))
        leaves: Iterator[Tensor] = iter(tensors)
        return unflatten(captured.structure, lambda: next(leaves))

    def _prepare_grads(self) -> None:
        for rule in self.captured.grad_rules:
            needs, found = rule.needs, rule.tensor._grad
            if isinstance(needs, TensorBase) and found is not needs:
                assert needs._array is not None
                if found is None:
                    needs._array.fill(0)
                else:
                    np.copyto(needs._array, found._array)
                needs._storage.note_write()


def _fits(rule: GradRule) -> bool:
    found = rule.tensor._grad
    if rule.needs is None:
        return found is None
    if isinstance(rule.needs, TensorBase) and found is not rule.needs:
        return rule.fresh if found is None else isinstance(found, TensorBase) and found._type == rule.needs._type
    if isinstance(rule.needs, ElidedGrad):
        return isinstance(found, ElidedGrad)
    return True


def _memory(argument: Any) -> Array:
    array: Array = elements(argument) if isinstance(argument, TensorBase) else argument
    return array


def _write_argument(argument: Any, array: Array) -> None:
    if isinstance(argument, TensorBase):
        assert argument._array is not None
        np.copyto(argument._array, array)
        argument._storage.note_write()
    else:
        np.copyto(argument, array)
