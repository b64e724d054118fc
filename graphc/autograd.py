"""Backward passes: `tensor.backward()` and `graphc.autograd.grad`.

Eagerly, a backward pass takes the graph that the tape holds, differentiates it by the compiler's own pass, and
evaluates the new ops on the forward values that the tape kept. In a trace, it becomes a `gradient` op.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphc.context import context, enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from graphc.dispatch import edge_of, needs_grad
from graphc.errors import AutogradError, DTypeError, ShapeError, fail
from graphc.promotion import splat
from graphc.pullback import leaves_behind, pull_back
from graphc.tape import reachable, require_unreleased
from graphc.tensors.base import TensorBase

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor


def backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add the gradient of a tensor to `.grad` of the leaves it was computed from. A tensor of more than one element
    needs `gradient`, of its own type: the factor of each element. The graph is used up unless `retain_graph`; with
    `create_graph` the gradients can be differentiated themselves.

    Raises ShapeError for a tensor of several elements without `gradient`, AutogradError for one that does not require
    gradients, for a graph that is used up, and for values that were overwritten since.
    """
    cotangent = _cotangent("backward", self, gradient)
    if context.trace is not None:
        context.trace.backward(self, cotangent, create_graph)
        return
    _require_recorded("backward", self)
    nodes = reachable([n for n in [edge_of(self).node] if n is not None])
    require_unreleased(nodes)
    leaves = leaves_behind([self], nodes)
    found = pull_back([self], [cotangent], leaves, nodes, create_graph)
    for leaf, gradient in zip(leaves, found, strict=True):
        if gradient is not None:
            accumulate(leaf, gradient, create_graph)
    if not (create_graph if retain_graph is None else retain_graph):
        for node in nodes:
            node.release()


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs` with respect to `inputs`, each of the type of its input; `.grad` stays as it is.
    `grad_outputs` holds the factor of each output (ones for scalars). Raises as `backward` does, and AutogradError for
    an input that the outputs do not depend on, unless `allow_unused`, which gives None for it."""
    targets = [outputs] if isinstance(outputs, TensorBase) else list(outputs)
    wrt = [inputs] if isinstance(inputs, TensorBase) else list(inputs)
    given = [grad_outputs] if isinstance(grad_outputs, TensorBase) else list(grad_outputs or [None] * len(targets))
    cotangents = [_cotangent("grad", x, g) for x, g in zip(targets, given, strict=True)]
    for x in wrt:
        _require_float("grad with respect to", x)
        if not needs_grad(x):
            fail(AutogradError, f"grad: an input of type {x._type} does not require gradients; call requires_grad_()")
    if context.trace is not None:
        found: Sequence[Tensor | None] = context.trace.gradients(targets, cotangents, wrt, create_graph)
    else:
        for x in targets:
            _require_recorded("grad", x)
        nodes = reachable([n for n in (edge_of(x).node for x in targets) if n is not None])
        require_unreleased(nodes)
        found = pull_back(targets, cotangents, wrt, nodes, create_graph)
        if not (create_graph if retain_graph is None else retain_graph):
            for node in nodes:
                node.release()
    for x, g in zip(wrt, found, strict=True):
        if g is None and not allow_unused:
            fail(
                AutogradError,
                f"grad: the outputs do not depend on an input of type {x._type}; pass allow_unused=True to get None",
            )
    return tuple(found)


def leaves(tensors: Sequence[TensorBase]) -> list[TensorBase]:
    """The leaves that require gradients and that the tensors were computed from."""
    if context.trace is not None:
        return context.trace.leaves(tensors)
    recorded = [x for x in tensors if needs_grad(x)]
    return leaves_behind(recorded, reachable([n for n in (edge_of(x).node for x in recorded) if n is not None]))


def accumulate(leaf: TensorBase, gradient: Tensor, create_graph: bool = False) -> None:
    """Add to `.grad`."""
    known = leaf.grad
    if known is None:
        leaf.grad = gradient
    elif create_graph:
        leaf.grad = known + gradient
    else:
        with no_grad():
            known.add_(gradient)


def _cotangent(name: str, x: Tensor, given: Tensor | None) -> Tensor:
    _require_float(f"{name} of", x)
    if given is None:
        if x._type.size != 1:
            fail(
                ShapeError,
                f"{name}: a tensor of shape {x._type.shape} has {x._type.size} elements; reduce it to one first (for "
                f"instance with .sum() or .mean()), or pass the gradient of each element",
            )
        with no_grad():
            return splat(1, x._type.dtype, x._type.shape)
    if given._type != x._type:
        fail(ShapeError, f"{name}: the gradient has type {given._type}, its tensor {x._type}; they must be equal")
    return given


def _require_float(what: str, x: Tensor) -> None:
    if not x._type.dtype.is_float:
        fail(DTypeError, f"{what} a tensor of type {x._type}: only floats have gradients; cast it with .float() first")


def _require_recorded(name: str, x: Tensor) -> None:
    if not needs_grad(x):
        fail(
            AutogradError,
            f"{name}: a tensor of type {x._type} does not require gradients: it was not computed from tensors that do, "
            "or was computed under no_grad",
        )


__all__ = ["accumulate", "backward", "enable_grad", "grad", "is_grad_enabled", "leaves", "no_grad", "set_grad_enabled"]
