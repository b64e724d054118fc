"""Element-wise activations, and the softmax family. Each keeps the shape and dtype of its float input."""

from __future__ import annotations

import math

import graphc
from graphc.tensors.tensor import Tensor


def relu(input: Tensor) -> Tensor:
    """max(x, 0); NaN stays NaN, the gradient at 0 is 0."""
    return graphc.relu(input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return graphc.sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return graphc.tanh(input)


def silu(input: Tensor) -> Tensor:
    """x * sigmoid(x) (Elfwing et al., 2017, arXiv:1702.03118)."""
    return input * graphc.sigmoid(input)


def softplus(input: Tensor) -> Tensor:
    """log(1 + exp(x)), without overflow."""
    return graphc.maximum(input, graphc.zeros_like(input)) + graphc.log1p(graphc.exp(-graphc.abs(input)))


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), without underflow."""
    return -softplus(-input)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x * Phi(x), Phi the normal distribution function (Hendrycks & Gimpel, 2016, arXiv:1606.08415).

    approximate="tanh" takes that paper's tanh formula instead of erf. Raises ValueError for another word."""
    if approximate == "none":
        return input * 0.5 * (1.0 + graphc.erf(input * math.sqrt(0.5)))
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (input + 0.044715 * input * input * input)
        return input * 0.5 * (1.0 + graphc.tanh(inner))
    raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")


def softmax(input: Tensor, dim: int) -> Tensor:
    """exp(x) over its sum along `dim`, shifted by the maximum so that it cannot overflow."""
    return input.softmax(dim)


def log_softmax(input: Tensor, dim: int) -> Tensor:
    """log(softmax(x)), computed as x - max - log(sum(exp(x - max)))."""
    return input.log_softmax(dim)
