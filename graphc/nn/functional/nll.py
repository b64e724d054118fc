"""Losses over classes: negative log-likelihood and cross-entropy.

The picked log-probability is a masked sum over the class dimension rather than a gather, so that forward and backward
of cross-entropy each fuse into one pass over the rows.
"""

from __future__ import annotations

import graphc
from graphc.errors import AttributeValueError, DTypeError, ShapeError, fail
from graphc.functions.indexing import require_within
from graphc.nn.functional.activations import log_softmax
from graphc.nn.functional.precision import rounded_once
from graphc.nn.functional.reduction import check_reduction, reduce
from graphc.promotion import require_dtype
from graphc.tensors.tensor import Tensor


@rounded_once
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-input[n, target[n]], times weight[target[n]]; "mean" divides by the sum of the weights.

    input: log-probabilities [C], [N, C] or [N, C, d1, ...]; target: integers of that shape without C; weight [C].
    Targets equal to `ignore_index` count nothing; the mean over none is NaN. Raises ShapeError, DTypeError,
    AttributeValueError, and OutOfRangeError for a target that is not a class.
    """
    return _nll("nll_loss", input, target, weight, ignore_index, reduction, 0.0)


@rounded_once
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """nll_loss of log_softmax(input); or, where `target` has the shape of `input`, the cross-entropy against those
    class probabilities, whose "mean" is over samples and positions.

    label_smoothing mixes the target with the uniform distribution (Szegedy et al., 2015, arXiv:1512.00567).
    Raises as `nll_loss` does, and AttributeValueError for a label_smoothing outside [0, 1].
    """
    name = "cross_entropy"
    if not 0.0 <= label_smoothing <= 1.0:
        fail(AttributeValueError, f"{name}: label_smoothing must be between 0 and 1, got {label_smoothing}")
    if input.shape == target.shape and target.is_floating_point():
        if ignore_index >= 0:
            fail(AttributeValueError, f"{name}: ignore_index={ignore_index} has no meaning for class probabilities")
        return _soft(name, input, target, weight, reduction, label_smoothing)
    classes = _class_dim(name, input, target, weight)
    logp = log_softmax(input, classes)
    return _nll(name, logp, target, weight, ignore_index, reduction, label_smoothing)


def _nll(
    name: str,
    logp: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> Tensor:
    check_reduction(name, reduction)
    classes = _class_dim(name, logp, target, weight)
    index = target.long()
    ignored = index == ignore_index
    mask = _mask(name, index, ignored, logp, classes, ignore_index)
    scale = None if weight is None else _along(weight, classes, logp)
    scaled = logp if scale is None else logp * scale
    losses = -graphc.where(mask, scaled, 0.0).sum(classes)
    if label_smoothing > 0.0:
        uniform = graphc.where(ignored, 0.0, -scaled.sum(classes))
        losses = (1.0 - label_smoothing) * losses + (label_smoothing / logp.shape[classes]) * uniform
    if reduction != "mean":
        return reduce(losses, reduction)
    if scale is None:
        return losses.sum() / graphc.logical_not(ignored).to(logp.dtype).sum()
    return losses.sum() / graphc.where(mask, scale, 0.0).sum()


def _mask(name: str, index: Tensor, ignored: Tensor, logp: Tensor, classes: int, ignore_index: int) -> Tensor:
    """True at the class that each target picks; nowhere for ignored targets."""
    count = logp.shape[classes]
    targets = graphc.where(ignored, 0, index)
    checked = require_within(f"{name}: the target", targets, 0, count, f", or be ignore_index={ignore_index}")
    numbers = _along(graphc.arange(count), classes, logp)
    return (checked.unsqueeze(classes) == numbers) & graphc.logical_not(ignored).unsqueeze(classes)


def _soft(
    name: str, input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float
) -> Tensor:
    check_reduction(name, reduction)
    classes = _checked_classes(name, input, weight)
    count = input.shape[classes]
    if label_smoothing > 0.0:
        target = target * (1.0 - label_smoothing) + label_smoothing / count
    elements = log_softmax(input, classes) * target
    if weight is not None:
        elements = elements * _along(weight, classes, elements)
    losses = -elements.sum(classes)
    if reduction == "mean":
        return losses.sum() / losses.numel()
    return reduce(losses, reduction)


def _along(vector: Tensor, dim: int, like: Tensor) -> Tensor:
    """A vector as a tensor of the dimensions of `like`, along `dim`."""
    shape = [1] * like.ndim
    shape[dim] = vector.shape[0]
    return vector.reshape(*shape)


def _checked_classes(name: str, input: Tensor, weight: Tensor | None) -> int:
    """The class dimension."""
    require_dtype(f"{name}: input", input, "float")
    if input.ndim == 0:
        fail(ShapeError, f"{name}: input must have a class dimension, got {input._type}")
    classes = 0 if input.ndim == 1 else 1
    if weight is not None and tuple(weight.shape) != (input.shape[classes],):
        fail(ShapeError, f"{name}: weight must have shape [{input.shape[classes]}], one per class, got {weight._type}")
    return classes


def _class_dim(name: str, input: Tensor, target: Tensor, weight: Tensor | None) -> int:
    """The class dimension, where target holds class indices."""
    classes = _checked_classes(name, input, weight)
    expected = (*input.shape[:classes], *input.shape[classes + 1 :])
    if not target.dtype.is_integer:
        soft = "" if name == "nll_loss" else f", or probabilities of the shape {list(input.shape)}"
        fail(
            DTypeError,
            f"{name}: target must hold class indices, integers of shape {list(expected)}{soft}; got {target._type}; "
            "convert it with .long()",
        )
    if tuple(target.shape) != expected:
        fail(ShapeError, f"{name}: input {input._type} needs a target of shape {list(expected)}, got {target._type}")
    return classes
