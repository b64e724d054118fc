"""Losses between tensors of one shape. Element formulas and reductions are PyTorch's."""

from __future__ import annotations

import graphc
from graphc.errors import ShapeError, fail
from graphc.nn.functional.activations import softplus
from graphc.nn.functional.reduction import check_reduction, reduce
from graphc.tensors.tensor import Tensor


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(input - target)^2."""
    _same_shape("mse_loss", input, target)
    difference = input - target
    return reduce("mse_loss", difference * difference, reduction)


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """|input - target|."""
    _same_shape("l1_loss", input, target)
    return reduce("l1_loss", graphc.abs(input - target), reduction)


def smooth_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d^2 / (2 beta) where d = |input - target| < beta, else d - beta / 2 (Girshick, 2015, arXiv:1504.08083).

    Raises ValueError for a negative beta; beta=0 is the L1 loss."""
    _same_shape("smooth_l1_loss", input, target)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction)
    distance = graphc.abs(input - target)
    elements = graphc.where(distance < beta, distance * distance * (0.5 / beta), distance - 0.5 * beta)
    return reduce("smooth_l1_loss", elements, reduction)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """-(t log p + (1 - t) log(1 - p)) for probabilities p in [0, 1]; each logarithm is at least -100, as in PyTorch,
    and its derivative at most 1e12."""
    _same_shape("binary_cross_entropy", input, target)
    elements = -(target * _bounded_log(input) + (1.0 - target) * _bounded_log(1.0 - input))
    return reduce("binary_cross_entropy", elements if weight is None else elements * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of sigmoid(input), computed from the logits so that it neither overflows nor loses
    precision. `pos_weight` scales the positive term."""
    _same_shape("binary_cross_entropy_with_logits", input, target)
    log_inverse = softplus(-input)  # -log(sigmoid(x))
    if pos_weight is None:
        elements = (1.0 - target) * input + log_inverse
    else:
        elements = (1.0 - target) * input + (1.0 + (pos_weight - 1.0) * target) * log_inverse
    if weight is not None:
        elements = elements * weight
    return reduce("binary_cross_entropy_with_logits", elements, reduction)


def kl_div(input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """target * (log(target) - input), where `input` holds log-probabilities, and `target` too if `log_target`; an
    element whose target is 0 counts 0. "batchmean" divides the sum by the first extent, which is the mathematical
    definition; "mean" divides by the number of elements."""
    _same_shape("kl_div", input, target)
    if log_target:
        elements = graphc.exp(target) * (target - input)
    else:
        positive = target > 0.0
        safe = graphc.where(positive, target, graphc.ones_like(target))
        entropy = graphc.where(positive, target * graphc.log(safe), graphc.zeros_like(target))
        elements = entropy - target * input
    if reduction == "batchmean":
        return elements.sum() / input.shape[0]
    check_reduction("kl_div", reduction, ("none", "mean", "sum", "batchmean"))
    return reduce("kl_div", elements, reduction)


def _bounded_log(p: Tensor) -> Tensor:
    """max(log(p), -100), with the derivative of log at max(p, 1e-12)."""
    floor = p + (graphc.maximum(p, graphc.full_like(p, 1e-12)) - p).detach()
    surrogate = graphc.log(floor)
    exact = graphc.maximum(graphc.log(p.detach()), graphc.full_like(p, -100.0))
    return surrogate + (exact - surrogate).detach()


def _same_shape(name: str, input: Tensor, target: Tensor) -> None:
    if tuple(input.shape) != tuple(target.shape):
        fail(
            ShapeError,
            f"{name}: input {input._type} and target {target._type} must have the same shape; reshape or expand the "
            "target",
        )
