"""Functions behind layers: linear, dropout, layer normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import graphc
from graphc.errors import AttributeValueError, DTypeError, ShapeError, fail
from graphc.ir.types import bf16, f16, f32
from graphc.nn.functional.precision import rounded_once
from graphc.promotion import require_dtype
from graphc.tensors.tensor import Tensor


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b. input [..., in], weight [out, in], bias [out] -> [..., out], all of one dtype. Raises ShapeError and
    DTypeError where they disagree."""
    if weight.ndim != 2 or input.ndim == 0 or input.shape[-1] != weight.shape[1]:
        fail(
            ShapeError,
            f"linear: input {input._type} does not fit weight {weight._type}; the last dimension of the input must be "
            "the weight's second (in_features)",
        )
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        fail(
            ShapeError,
            f"linear: bias {bias._type} does not fit weight {weight._type}; it must have shape [{weight.shape[0]}] "
            "(out_features)",
        )
    if input.dtype != weight.dtype or (bias is not None and bias.dtype != weight.dtype):
        found = f"input {input._type}, weight {weight._type}" + ("" if bias is None else f", bias {bias._type}")
        fail(DTypeError, f"linear: element types differ: {found}; convert the input or the module with .to(dtype)")
    output = input @ weight.t()
    return output if bias is None else output + bias


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero each element with probability `p` and scale the rest by 1 / (1 - p); the input itself when not training
    (Srivastava et al., 2014). Draws from the default generator. Raises AttributeValueError for p outside [0, 1],
    DTypeError for integers."""
    if not 0.0 <= p <= 1.0:
        fail(AttributeValueError, f"dropout: p must be between 0 and 1, got {p}")
    require_dtype("dropout", input, "float")
    if not training or p == 0.0:
        return input
    found = _dropped(input, p)
    return input.copy_(found) if inplace else found


def _dropped(x: Tensor, p: float) -> Tensor:
    if p == 1.0:
        return x * 0.0
    wide = f32 if x.dtype in (bf16, f16) else x.dtype  # half precisions would round the probability
    kept = graphc.rand(tuple(x.shape), dtype=wide) >= p
    return graphc.where(kept, x * (1.0 / (1.0 - p)), 0.0)


@rounded_once
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) over the trailing dimensions, which must be `normalized_shape`; then times `weight`
    and plus `bias` of that shape (Ba, Kiros & Hinton, 2016, arXiv:1607.06450). The variance is the biased one.

    Raises ShapeError where the shapes disagree, DTypeError for integers."""
    shape = tuple(normalized_shape)
    if not shape or tuple(input.shape[-len(shape) :]) != shape:
        fail(
            ShapeError,
            f"layer_norm: input {input._type} does not end in normalized_shape {list(shape)}; normalise over the "
            "trailing dimensions",
        )
    require_dtype("layer_norm", input, "float")
    for name, x in (("weight", weight), ("bias", bias)):
        if x is not None and tuple(x.shape) != shape:
            fail(ShapeError, f"layer_norm: {name} {x._type} must have the shape {list(shape)} of normalized_shape")
    dims = tuple(range(input.ndim - len(shape), input.ndim))
    centered = input - input.mean(dims, keepdim=True)
    variance = (centered * centered).mean(dims, keepdim=True)
    output = centered * graphc.rsqrt(variance + eps)
    if weight is not None:
        output = output * weight
    return output if bias is None else output + bias
