"""Gradients in a trace: leaves and their versions, `backward`, and what becomes of `.grad`.

A leaf's value is cut off from what it was computed from: the parameters that an optimizer has just written are leaves
as they were before. So the value that a leaf has after a write is passed through `stop_gradient` when it is next used,
and the gradient is taken with respect to that.

`.grad` stays out of memory where it can: a gradient that the trace made is state only where it was added to one that
existed before the call, or was asked for (`keep_grads`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from graphc.context import context, no_grad
from graphc.dispatch import needs_grad
from graphc.errors import AutogradError, DifferentiationError, fail
from graphc.functions.creation import zeros_like
from graphc.ir.graph import Op, Value
from graphc.tensors.base import TensorBase
from graphc.tracing.elided import ElidedGrad

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor
    from graphc.tracing.trace import Trace


class Leaf(NamedTuple):
    """A leaf, and how often its memory had been written when it had the value."""

    tensor: TensorBase
    version: int


class Sum(NamedTuple):
    """A gradient added to zeros that stand for a `.grad` that was None."""

    zeros: Value
    addend: Value
    op: Op


@dataclass
class Grad:
    """What a trace did to one tensor's `.grad`.

    before: what it found, where it looked: None, or what was there; UNSEEN where it never looked.
    now: what it left. Where it added to a gradient that was not kept, that stays as it is: nobody can read it.
    sum: where it found None, and added: what to undo if None is left as well.
    """

    tensor: TensorBase
    before: TensorBase | ElidedGrad | str | None
    now: Tensor | ElidedGrad | None
    sum: Sum | None = None


UNSEEN = "unseen"


class Gradients:
    """The part of a trace that deals with gradients."""

    def __init__(self, trace: Trace):
        self.trace = trace
        self.grads: dict[int, Grad] = {}
        self.consumed: list[Value] = []
        self.leaves: dict[Value, Leaf] = {}

    def leaf_value(self, x: TensorBase) -> Value:
        """The value of a leaf that requires gradients, to differentiate with respect to."""
        storage = self.trace.storage_of(x)
        value = self.trace.value_of(x)
        if value in self.leaves:
            return value
        cut = value.op is not None and value.op.name == "stop_gradient" and value is storage.first
        if value.op is not None and not cut:
            value = self.trace.emit("stop_gradient", [value], {})[0]
            storage.renew(x._steps, value)
        self.leaves[value] = Leaf(x, storage.version)
        self.trace.taint(value)
        return value

    # --- differentiation

    def backward(self, target: TensorBase, cotangent: TensorBase, create_graph: bool) -> None:
        """Add the gradient of `target` to `.grad` of its leaves."""
        cone = self._cone([self._target("backward", target)])
        leaves = [value for value in self.leaves if value in cone]
        self._require_one_version(leaves)
        self.consumed.append(self.trace.value_of(target))
        found = self._emit([target], [cotangent], leaves, create_graph)
        for value, gradient in zip(leaves, found, strict=True):
            leaf = self.leaves[value].tensor
            if leaf._array is not None and leaf._node is not None:
                fail(
                    DifferentiationError,
                    f"backward() reaches {self.trace.argument_name(leaf)!r}, which was computed outside the compiled "
                    "function from tensors that require gradients; detach() it, or call backward() outside",
                )
            self.trace.value_of(gradient).name = f"{self.trace.argument_name(leaf)}.grad"
            self._accumulate(leaf, gradient, create_graph)

    def gradients(
        self,
        targets: Sequence[TensorBase],
        cotangents: Sequence[TensorBase],
        wrt: Sequence[TensorBase],
        create_graph: bool,
    ) -> list[Tensor | None]:
        """The gradient by each tensor of `wrt`; None where the targets do not depend on it."""
        cone = self._cone([self._target("grad", x) for x in targets])
        leaves = [value for value in self.leaves if value in cone]
        self._require_one_version(leaves)
        values = [self._wrt(x, leaves) for x in wrt]
        reached = list(dict.fromkeys(v for v in values if v in cone))
        found = dict(zip(reached, self._emit(targets, cotangents, reached, create_graph), strict=True))
        return [found.get(v) for v in values]

    def leaves_behind(self, tensors: Sequence[TensorBase]) -> list[TensorBase]:
        """The leaves that require gradients and that the tensors were computed from."""
        cone = self._cone([self.trace.value_of(x) for x in tensors if needs_grad(x)])
        return [leaf.tensor for value, leaf in self.leaves.items() if value in cone]

    def _target(self, name: str, x: TensorBase) -> Value:
        if not needs_grad(x):
            fail(
                AutogradError,
                f"{name}: a tensor of type {x._type} does not require gradients: it was not computed from tensors that "
                "do, or was computed under no_grad",
            )
        return self.trace.operand(x)

    def _wrt(self, x: TensorBase, leaves: Sequence[Value]) -> Value:
        for value in leaves:
            if self.leaves[value].tensor is x:
                return value
        return self.trace.operand(x)

    def _emit(
        self, targets: Sequence[TensorBase], cotangents: Sequence[TensorBase], wrt: Sequence[Value], create_graph: bool
    ) -> list[Tensor]:
        if not wrt:
            return []
        trace = self.trace
        values = [trace.operand(x) for x in targets]
        seeds = [trace.operand(x) if create_graph else trace.value_of(x) for x in cotangents]
        found = trace.emit("gradient", [*values, *seeds, *wrt], {"targets": len(values)})
        return [trace.wrap(value, create_graph and context.grad_enabled) for value in found]

    def _cone(self, targets: Sequence[Value]) -> set[Value]:
        """Every value that the targets depend on differentiably."""
        seen: set[Value] = set()
        stack = list(targets)
        while stack:
            value = stack.pop()
            if value in seen or not self.trace.is_tainted(value):
                continue
            seen.add(value)
            if value.op is not None and value not in self.leaves:
                stack.extend(value.op.operands)
        return seen

    def _require_one_version(self, leaves: Sequence[Value]) -> None:
        known: dict[int, int] = {}
        for value in leaves:
            tensor, version = self.leaves[value]
            if known.setdefault(id(tensor), version) != version:
                fail(
                    DifferentiationError,
                    f"the loss depends on two versions of {self.trace.argument_name(tensor)!r}, from before and "
                    "after an in-place write; compute it from one of them",
                )

    # --- .grad

    def get(self, x: TensorBase) -> Tensor | None:
        """`x.grad`."""
        known = self.grads.get(id(x))
        if known is None:
            known = self.grads[id(x)] = Grad(x, x._grad, x._grad)
        return known.now.read() if isinstance(known.now, ElidedGrad) else known.now

    def set(self, x: TensorBase, grad: Tensor | None) -> None:
        """`x.grad = grad`."""
        known = self.grads.get(id(x))
        if known is None:
            known = self.grads[id(x)] = Grad(x, UNSEEN, None)
        known.now = grad

    def _accumulate(self, x: TensorBase, gradient: Tensor, create_graph: bool) -> None:
        known = self.grads.get(id(x))
        if known is None and x._array is not None and x._grad is None:
            self._add_to_zeros(x, gradient)
            return
        if known is None:
            known = self.grads[id(x)] = Grad(x, x._grad, x._grad)
        now = known.now
        if isinstance(now, ElidedGrad):
            return
        if now is None:
            self.set(x, gradient)
        elif create_graph:
            self.set(x, now + gradient)
        else:
            with no_grad():
                now.add_(gradient)

    def _add_to_zeros(self, x: TensorBase, gradient: Tensor) -> None:
        """`.grad` is None now, but exists from the second call on, unless the trace clears it in the end: make it a
        state that starts at zero."""
        trace = self.trace
        grad = trace.outside(lambda: zeros_like(x.detach()))
        grad._storage.label = (x, "grad")
        with no_grad():
            zeros, addend = trace.value_of(grad), trace.value_of(gradient)
            grad.add_(gradient)
        op = trace.value_of(grad).op
        assert op is not None
        self.grads[id(x)] = Grad(x, None, grad, Sum(zeros, addend, op))
