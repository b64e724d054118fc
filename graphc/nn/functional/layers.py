"""Functions behind layers: linear, dropout, layer normalisation, one-hot."""

from __future__ import annotations

from collections.abc import Sequence

import graphc
from graphc.errors import ShapeError, fail
from graphc.tensors.tensor import Tensor


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b. input [..., in], weight [out, in], bias [out] -> [..., out]. Raises ShapeError where they disagree."""
    if weight.ndim != 2 or input.ndim == 0 or input.shape[-1] != weight.shape[1]:
        fail(
            ShapeError,
            f"linear: input {input._type} does not fit weight {weight._type}; the last dimension of the input must be "
            "the weight's second (in_features)",
        )
    output = input @ weight.t()
    return output if bias is None else output + bias


def dropout(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Zero each element with probability `p` and scale the rest by 1 / (1 - p); the input itself when not training
    (Srivastava et al., 2014). Raises ValueError for p outside [0, 1]."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p must be between 0 and 1, got {p}")
    if not training or p == 0.0:
        return input
    if p == 1.0:
        return input * 0.0
    kept = graphc.rand(*input.shape, dtype=input.dtype) >= p
    return graphc.where(kept, input * (1.0 / (1.0 - p)), graphc.zeros_like(input))


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) over the trailing dimensions, which must be `normalized_shape`; then times `weight`
    and plus `bias` of that shape (Ba, Kiros & Hinton, 2016, arXiv:1607.06450). The variance is the biased one."""
    shape = tuple(normalized_shape)
    if not shape or tuple(input.shape[-len(shape) :]) != shape:
        fail(
            ShapeError,
            f"layer_norm: input {input._type} does not end in normalized_shape {list(shape)}; normalise over the "
            "trailing dimensions",
        )
    dims = tuple(range(input.ndim - len(shape), input.ndim))
    centered = input - input.mean(dims, keepdim=True)
    variance = (centered * centered).mean(dims, keepdim=True)
    output = centered * graphc.rsqrt(variance + eps)
    if weight is not None:
        output = output * weight
    return output if bias is None else output + bias


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """int64 [...] -> int64 [..., num_classes], 1 where the last coordinate equals the index. Raises OutOfRangeError for
    an index outside 0..num_classes-1; num_classes=-1 (one more than the largest index) works eagerly only."""
    return graphc.one_hot(tensor, num_classes)
