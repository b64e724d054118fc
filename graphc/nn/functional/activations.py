"""Element-wise activations, and the softmax family. Each keeps the shape and dtype of its float input; `inplace` writes
the result over the input. What is composed of several ops raises DTypeError for integers."""

from __future__ import annotations

import math

import graphc
from graphc.errors import AttributeValueError, fail
from graphc.ir.types import DType
from graphc.nn.functional.precision import rounded_once
from graphc.promotion import require_dtype
from graphc.tensors.tensor import Tensor


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0), of any number type; NaN stays NaN, the gradient at 0 is 0."""
    return input.relu_() if inplace else graphc.relu(input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return graphc.sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return graphc.tanh(input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x) (Elfwing et al., 2017, arXiv:1702.03118)."""
    if not inplace:
        return _silu(input)
    return input.copy_(_silu(input.clone()))  # the backward pass needs what the input was


@rounded_once
def _silu(x: Tensor) -> Tensor:
    require_dtype("silu", x, "float")
    return x * graphc.sigmoid(x)


@rounded_once
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta, without overflow; x itself where beta x > threshold, as in PyTorch."""
    require_dtype("softplus", input, "float")
    scaled = input if beta == 1 else input * beta
    smooth = log1p_exp(scaled)
    return graphc.where(scaled > threshold, input, smooth if beta == 1 else smooth / beta)


def log1p_exp(x: Tensor) -> Tensor:
    """log(1 + exp(x)), without overflow: max(x, 0) + log1p(exp(-|x|))."""
    return graphc.maximum(x, 0.0) + graphc.log1p(graphc.exp(-graphc.abs(x)))


@rounded_once
def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), without underflow."""
    require_dtype("logsigmoid", input, "float")
    return -log1p_exp(-input)


@rounded_once
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x * Phi(x), Phi the normal distribution function (Hendrycks & Gimpel, 2016, arXiv:1606.08415).

    approximate="tanh" takes that paper's tanh formula instead of erf. Raises AttributeValueError for another word."""
    require_dtype("gelu", input, "float")
    if approximate not in ("none", "tanh"):
        fail(AttributeValueError, f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    if approximate == "none":
        return input * 0.5 * (1.0 + graphc.erf(input * math.sqrt(0.5)))
    inner = math.sqrt(2 / math.pi) * (input + 0.044715 * input * input * input)
    return input * 0.5 * (1.0 + graphc.tanh(inner))


def softmax(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """exp(x) over its sum along `dim`, shifted by the maximum so that it cannot overflow; computed in `dtype`, if
    given. Unlike PyTorch, `dim` must be given."""
    return input.softmax(dim, dtype=dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """log(softmax(x)), computed as x - max - log(sum(exp(x - max)))."""
    return input.log_softmax(dim, dtype=dtype)
