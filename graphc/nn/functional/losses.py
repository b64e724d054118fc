"""Losses between float tensors of one shape. Element formulas, gradients and reductions are PyTorch's; where it would
broadcast input and target against each other, with a warning, these raise ShapeError.

reduction: "none" keeps the elements, "mean" and "sum" reduce them to a tensor without dimensions. All raise ShapeError
and DTypeError for tensors that do not fit, AttributeValueError for options out of range.
"""

from __future__ import annotations

import graphc
from graphc.errors import AttributeValueError, ShapeError, fail
from graphc.nn.functional.activations import log1p_exp
from graphc.nn.functional.precision import rounded_once
from graphc.nn.functional.reduction import REDUCTIONS, check_reduction, check_same_shape, reduce, weighted
from graphc.promotion import require_dtype
from graphc.tensors.tensor import Tensor

_FLAT = 1e-12  # p (1 - p) below which binary cross-entropy takes its derivative as that of 1e-12


@rounded_once
def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """(input - target)^2."""
    _check("mse_loss", input, target, reduction)
    difference = input - target
    return reduce(difference * difference, reduction)


@rounded_once
def l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """|input - target|."""
    _check("l1_loss", input, target, reduction)
    return reduce(graphc.abs(input - target), reduction)


@rounded_once
def smooth_l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d^2 / (2 beta) where d = |input - target| < beta, else d - beta / 2 (Girshick, 2015, arXiv:1504.08083); beta = 0
    is the L1 loss."""
    _check("smooth_l1_loss", input, target, reduction)
    if beta < 0:
        fail(AttributeValueError, f"smooth_l1_loss: beta must not be negative, got {beta}")
    distance = graphc.abs(input - target)
    if beta > 0:
        small = distance < beta
        near = graphc.where(small, distance, 0.0)  # an infinite distance has no square to differentiate
        distance = graphc.where(small, 0.5 * near * near / beta, distance - 0.5 * beta)
    return reduce(distance, reduction)


@rounded_once
def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """-(t log p + (1 - t) log(1 - p)) for probabilities p, times `weight`, which broadcasts to them. As in PyTorch,
    each logarithm is at least -100, and the derivative is (p - t) / max(p (1 - p), 1e-12). A p outside [0, 1] gives
    NaN."""
    _check("binary_cross_entropy", input, target, reduction)
    spread = input * (1.0 - input)
    inside = spread > _FLAT
    p = graphc.where(inside, input, 0.5)
    smooth = _cross_entropy(target, graphc.log(p), graphc.log(1.0 - p))
    # Elsewhere the value is that of bounded logarithms, and a parabola that adds 0 to it has the derivative.
    fixed = input.detach()
    value = _cross_entropy(target, _bounded_log(fixed), _bounded_log(1.0 - fixed))
    parabola = (input - target.detach()) * (input - target.detach()) * (0.5 / _FLAT)
    flat = value + (parabola - parabola.detach())
    elements = graphc.where(inside, smooth, flat)
    return reduce(weighted("binary_cross_entropy", elements, weight), reduction)


def _cross_entropy(target: Tensor, log_p: Tensor, log_inverse: Tensor) -> Tensor:
    return -(target * log_p + (1.0 - target) * log_inverse)


def _bounded_log(p: Tensor) -> Tensor:
    return graphc.maximum(graphc.log(p), -100.0)


@rounded_once
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of sigmoid(input), computed from the logits so that it neither overflows nor loses
    precision. `weight` scales the elements, `pos_weight` their positive terms; both broadcast to them."""
    name = "binary_cross_entropy_with_logits"
    _check(name, input, target, reduction)
    negative_log = log1p_exp(-input)  # -log(sigmoid(x))
    if pos_weight is not None:
        negative_log = negative_log * (1.0 + weighted(name, target, pos_weight - 1.0, "pos_weight"))
    elements = (1.0 - target) * input + negative_log
    return reduce(weighted(name, elements, weight), reduction)


@rounded_once
def kl_div(input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """target * (log(target) - input), where `input` holds log-probabilities, and `target` too if `log_target`; an
    element whose target is 0 counts 0. "batchmean" divides the sum by the first extent, which is the mathematical
    definition; "mean" divides by the number of elements."""
    _check("kl_div", input, target, reduction, (*REDUCTIONS, "batchmean"))
    if log_target:
        elements = graphc.exp(target) * (target - input)
    else:
        zero = target == 0.0
        entropy = graphc.where(zero, 0.0, target * graphc.log(graphc.where(zero, 1.0, target)))
        elements = entropy - target * input
    if reduction != "batchmean":
        return reduce(elements, reduction)
    if not input.ndim:
        fail(ShapeError, f"kl_div: reduction 'batchmean' needs a batch dimension, got input {input._type}")
    return elements.sum() / input.shape[0]


def _check(name: str, input: Tensor, target: Tensor, reduction: str, allowed: tuple[str, ...] = REDUCTIONS) -> None:
    check_reduction(name, reduction, allowed)
    check_same_shape(name, input, target)
    require_dtype(f"{name}: input", input, "float")
