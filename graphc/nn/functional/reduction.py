"""How losses reduce their elements."""

from __future__ import annotations

from graphc.tensors.tensor import Tensor


def reduce(name: str, elements: Tensor, reduction: str) -> Tensor:
    """ "none", "mean" or "sum" of the elements. Raises ValueError for another word."""
    if reduction == "mean":
        return elements.mean()
    if reduction == "sum":
        return elements.sum()
    check_reduction(name, reduction)
    return elements


def check_reduction(name: str, reduction: str, allowed: tuple[str, ...] = ("none", "mean", "sum")) -> None:
    """Raises ValueError for a reduction that the loss does not know."""
    if reduction not in allowed:
        raise ValueError(f"{name}: reduction must be one of {', '.join(allowed)}, got {reduction!r}")
