"""Initialisation in place, under PyTorch's names; each returns the tensor it filled. Where `generator` is not given,
numbers come from the default generator, so `graphc.manual_seed` decides them.

Sources: Glorot & Bengio, 2010 (xavier); He et al., 2015, arXiv:1502.01852 (kaiming); Saxe et al., 2013,
arXiv:1312.6120 (orthogonal). All raise AttributeValueError for options and shapes that do not fit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import graphc
from graphc.errors import AttributeValueError, fail
from graphc.functions.generator import Generator
from graphc.tensors.tensor import Tensor

_LINEAR = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity asks for larger weights; `param` is the slope of "leaky_relu"."""
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    gains = {**dict.fromkeys(_LINEAR, 1.0), "sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4}
    if nonlinearity not in gains:
        known = ", ".join((*gains, "leaky_relu"))
        fail(AttributeValueError, f"calculate_gain: unknown nonlinearity {nonlinearity!r}; known are {known}")
    return gains[nonlinearity]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform in [a, b)."""
    with graphc.no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with the given mean and standard deviation."""
    with graphc.no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Normal, with what lies outside [a, b] drawn again."""
    if not a < b or std <= 0:
        fail(AttributeValueError, f"trunc_normal_: needs a < b and std > 0, got a={a}, b={b}, std={std}")
    count = tensor.numel()
    kept = np.empty(0)
    while kept.size < count:
        kept = np.concatenate([kept, _truncated(max(count - kept.size, 64), mean, std, a, b, generator)])
    found = kept[:count].reshape(tuple(tensor.shape)).astype(tensor.dtype.numpy)
    with graphc.no_grad():
        return tensor.copy_(graphc.from_numpy(found)).clamp_(a, b)


def _truncated(
    tries: int, mean: float, std: float, a: float, b: float, generator: Generator | None
) -> np.ndarray[Any, Any]:
    """Some of the numbers that a truncated normal distribution gives in so many tries, by rejection: from the normal
    distribution where enough of it lies inside, else from the uniform one."""
    low, high = (math.erf((x - mean) / (std * math.sqrt(2.0))) / 2 for x in (a, b))
    if high - low > 0.3:
        drawn = graphc.randn(tries, dtype=graphc.float64, generator=generator).numpy() * std + mean
        return drawn[(drawn >= a) & (drawn <= b)]
    drawn, accept = graphc.rand(2, tries, dtype=graphc.float64, generator=generator).numpy()
    drawn = a + (b - a) * drawn
    peak = min(max(mean, a), b)
    density = np.exp((((peak - mean) / std) ** 2 - ((drawn - mean) / std) ** 2) / 2)
    return drawn[accept <= density]


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Every element `val`."""
    with graphc.no_grad():
        return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """Every element 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Every element 1."""
    return constant_(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix; takes matrices only."""
    if tensor.ndim != 2:
        fail(AttributeValueError, f"eye_: the tensor must have two dimensions, got {tensor._type}")
    with graphc.no_grad():
        return tensor.copy_(graphc.eye(*tensor.shape, dtype=tensor.dtype))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform in +-gain * sqrt(6 / (fan_in + fan_out))."""
    bound = gain * math.sqrt(6.0 / sum(_fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with standard deviation gain * sqrt(2 / (fan_in + fan_out))."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_fans("xavier_normal_", tensor))), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform in +-gain * sqrt(3 / fan); `a` is the slope of "leaky_relu"."""
    if tensor.numel() == 0:
        return tensor
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3.0 / _fan("kaiming_uniform_", tensor, mode))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan); `a` is the slope of "leaky_relu"."""
    if tensor.numel() == 0:
        return tensor
    std = calculate_gain(nonlinearity, a) / math.sqrt(_fan("kaiming_normal_", tensor, mode))
    return normal_(tensor, 0.0, std, generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """A (semi-)orthogonal matrix of the first dimension by all others, times gain. Needs two dimensions or more."""
    if tensor.ndim < 2:
        fail(AttributeValueError, f"orthogonal_: the tensor needs two dimensions or more, got {tensor._type}")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    drawn = graphc.randn(max(rows, columns), min(rows, columns), dtype=graphc.float64, generator=generator).numpy()
    q, r = np.linalg.qr(drawn)
    q = q * np.sign(np.diag(r))  # makes the distribution uniform
    matrix = (q if rows >= columns else q.T) * gain
    with graphc.no_grad():
        return tensor.copy_(graphc.from_numpy(matrix.reshape(tuple(tensor.shape))))


def _fan(name: str, tensor: Tensor, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        fail(AttributeValueError, f"{name}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    return _fans(name, tensor)[mode == "fan_out"]


def _fans(name: str, tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight [out, in, ...receptive field]."""
    if tensor.ndim < 2:
        fail(AttributeValueError, f"{name}: fans need two dimensions or more, got {tensor._type}")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field
