"""Losses over classes: negative log-likelihood and cross-entropy.

The picked log-probability is a masked sum over the class dimension rather than a gather, so that forward and backward
of cross-entropy each fuse into one pass over the rows.
"""

from __future__ import annotations

import graphc
from graphc.dispatch import apply
from graphc.errors import DTypeError, ShapeError, fail
from graphc.nn.functional.activations import log_softmax
from graphc.nn.functional.reduction import check_reduction, reduce
from graphc.tensors.tensor import Tensor


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-input[n, target[n]], times weight[target[n]]; "mean" divides by the sum of the weights.

    input: log-probabilities [C], [N, C] or [N, C, d1, ...]; target: integers of that shape without C; weight [C].
    Targets equal to `ignore_index` count nothing. Raises ShapeError, DTypeError, and OutOfRangeError for a target that
    is not a class.
    """
    check_reduction("nll_loss", reduction)
    classes = _class_dim("nll_loss", input, target, weight)
    picked = _Picked(input.shape[classes], target, weight, ignore_index, classes, input)
    losses = -picked.of(input)
    if reduction == "none":
        return losses
    total = losses.sum()
    return total if reduction == "sum" else total / picked.weights().sum()


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """nll_loss of log_softmax(input); or, where `target` has the shape of `input`, the cross-entropy against those
    class probabilities.

    label_smoothing mixes the target with the uniform distribution (Szegedy et al., 2015, arXiv:1512.00567).
    Raises as `nll_loss` does, and ValueError for a label_smoothing outside [0, 1].
    """
    check_reduction("cross_entropy", reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"cross_entropy: label_smoothing must be between 0 and 1, got {label_smoothing}")
    if tuple(input.shape) == tuple(target.shape) and target.is_floating_point():
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    classes = _class_dim("cross_entropy", input, target, weight)
    logp = log_softmax(input, classes)
    if label_smoothing == 0.0:
        return nll_loss(logp, target, weight, ignore_index, reduction)
    count = input.shape[classes]
    picked = _Picked(count, target, weight, ignore_index, classes, input)
    scaled = logp if weight is None else logp * _along(weight, classes, logp)
    uniform = graphc.where(picked.ignored, 0.0, -scaled.sum(classes))
    losses = (1.0 - label_smoothing) * -picked.of(logp) + (label_smoothing / count) * uniform
    if reduction == "none":
        return losses
    total = losses.sum()
    return total if reduction == "sum" else total / picked.weights().sum()


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float
) -> Tensor:
    classes = 0 if input.ndim == 1 else 1
    count = input.shape[classes]
    if label_smoothing > 0.0:
        target = target * (1.0 - label_smoothing) + label_smoothing / count
    elements = log_softmax(input, classes) * target
    if weight is not None:
        elements = elements * _along(weight, classes, elements)
    losses = -elements.sum(classes)
    if reduction == "mean":  # over samples and positions, never over classes
        return losses.sum() / max(input.numel() // count, 1)
    return reduce("cross_entropy", losses, reduction)


class _Picked:
    """Which class each target picks."""

    def __init__(
        self, count: int, target: Tensor, weight: Tensor | None, ignore_index: int, classes: int, like: Tensor
    ):
        self.classes = classes
        self.ignored = target == ignore_index
        index = graphc.where(self.ignored, 0, target)
        checked = apply("check_index", [index], low=0, high=count)
        shape = [1] * like.ndim
        shape[classes] = count
        numbers = graphc.arange(count, dtype=target.dtype).reshape(*shape)
        valid = graphc.logical_not(self.ignored).unsqueeze(classes)
        self.mask = (checked.unsqueeze(classes) == numbers) & valid
        self.weight = None if weight is None else _along(weight, classes, like)
        self.dtype = like.dtype

    def of(self, logp: Tensor) -> Tensor:
        """The picked (and weighted) elements, summed out of the class dimension; 0 for ignored targets."""
        scaled = logp if self.weight is None else logp * self.weight
        return graphc.where(self.mask, scaled, 0.0).sum(self.classes)

    def weights(self) -> Tensor:
        """The weight of every target: of its class, or 1; 0 for ignored targets."""
        if self.weight is None:
            return graphc.logical_not(self.ignored).to(self.dtype)
        return graphc.where(self.mask, self.weight, 0.0).sum(self.classes)


def _along(weight: Tensor, classes: int, like: Tensor) -> Tensor:
    shape = [1] * like.ndim
    shape[classes] = weight.shape[0]
    return weight.reshape(*shape)


def _class_dim(name: str, input: Tensor, target: Tensor, weight: Tensor | None) -> int:
    if not input.is_floating_point():
        fail(DTypeError, f"{name}: input must be of a float type, got {input._type}")
    if not target.dtype.is_integer:
        fail(
            DTypeError,
            f"{name}: target must hold class indices of an integer type (or, for cross_entropy, probabilities of the "
            f"input's shape), got {target._type} with input {input._type}; use target.long()",
        )
    if input.ndim == 0:
        fail(ShapeError, f"{name}: input must have a class dimension, got {input._type}")
    classes = 0 if input.ndim == 1 else 1
    expected = (*input.shape[:classes], *input.shape[classes + 1 :])
    if tuple(target.shape) != expected:
        fail(
            ShapeError,
            f"{name}: input {input._type} needs a target of shape {list(expected)}, got {target._type}",
        )
    if weight is not None and tuple(weight.shape) != (input.shape[classes],):
        fail(ShapeError, f"{name}: weight must have shape [{input.shape[classes]}], one per class, got {weight._type}")
    return classes
