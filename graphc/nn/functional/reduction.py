"""How losses reduce their elements, and what they check."""

from __future__ import annotations

from graphc.errors import AttributeValueError, ShapeError, fail
from graphc.tensors.tensor import Tensor

REDUCTIONS = ("none", "mean", "sum")


def reduce(elements: Tensor, reduction: str) -> Tensor:
    """The elements, their mean or their sum."""
    if reduction == "none":
        return elements
    return elements.mean() if reduction == "mean" else elements.sum()


def check_reduction(name: str, reduction: str, allowed: tuple[str, ...] = REDUCTIONS) -> None:
    """Raises AttributeValueError for a reduction that the loss does not know."""
    if reduction not in allowed:
        fail(AttributeValueError, f"{name}: reduction must be one of {', '.join(allowed)}, got {reduction!r}")


def check_same_shape(name: str, input: Tensor, target: Tensor) -> None:
    """Raises ShapeError where input and target differ in shape."""
    if input.shape != target.shape:
        fail(
            ShapeError,
            f"{name}: input {input._type} and target {target._type} must have the same shape; reshape or expand the "
            "target",
        )


def weighted(name: str, elements: Tensor, weight: Tensor | None, what: str = "weight") -> Tensor:
    """The elements times a weight that broadcasts to them. Raises ShapeError where it does not."""
    if weight is None:
        return elements
    trailing = elements.shape[elements.ndim - weight.ndim :] if weight.ndim <= elements.ndim else ()
    if len(trailing) != weight.ndim or any(n not in (1, m) for n, m in zip(weight.shape, trailing, strict=True)):
        fail(ShapeError, f"{name}: {what} {weight._type} does not broadcast to the elements {elements._type}")
    return elements * weight
