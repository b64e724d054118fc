"""Limits on gradients between the backward pass and the optimizer's step."""

from __future__ import annotations

from collections.abc import Iterable

import graphc
from graphc.context import context
from graphc.errors import AutogradError, TracingError, fail
from graphc.tensors.tensor import Tensor


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients by one factor so that their norm, as of one vector, is at most `max_norm`; the norm they had,
    a scalar. Parameters without a gradient are left out. The factor is min(1, max_norm / (norm + 1e-6)), as in PyTorch.

    Raises, with `error_if_nonfinite`, AutogradError for a norm that is not finite, and TracingError in a trace."""
    if error_if_nonfinite and context.trace is not None:
        fail(TracingError, "clip_grad_norm_: error_if_nonfinite branches on the norm, which a trace does not know")
    grads = _grads(parameters)
    with graphc.no_grad():
        if not grads:
            return graphc.tensor(0.0)
        total = graphc.stack([grad.norm(norm_type) for grad in grads]).norm(norm_type)
        if error_if_nonfinite and not total.isfinite():
            fail(AutogradError, f"clip_grad_norm_: the norm of the gradients is {total.item()}, which cannot be scaled")
        factor = (max_norm / (total + 1e-6)).clamp(max=1.0)
        for grad in grads:
            grad.mul_(factor)
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clamp every element of the gradients to -clip_value ... clip_value."""
    with graphc.no_grad():
        for grad in _grads(parameters):
            grad.clamp_(-clip_value, clip_value)


def _grads(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [grad for grad in (p.grad for p in given) if grad is not None]
