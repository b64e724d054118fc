"""Random tensors. `generator` is the default one where it is not given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.context import context
from graphc.dispatch import apply, write
from graphc.dtypes import DEFAULT_FLOAT, DEFAULT_INT, as_dtype
from graphc.errors import AttributeValueError, TracingError, fail
from graphc.functions import pointwise
from graphc.functions.creation import require_device
from graphc.functions.dims import sizes_of
from graphc.functions.generator import Generator, default
from graphc.ir.types import DType, f32, f64, i64
from graphc.promotion import Number, cast, require_dtype
from graphc.tensors.base import wrap

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor


def _draw(name: str, shape: tuple[int, ...], dtype: DType, generator: Generator | None) -> Tensor:
    return (default() if generator is None else generator).draw(name, shape, dtype)


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    requires_grad: bool = False,
    device: object = None,
) -> Tensor:
    """Uniform in [0, 1)."""
    require_device(device)
    found = _draw("random_uniform", sizes_of("rand", size), as_dtype(dtype or DEFAULT_FLOAT), generator)
    return found.requires_grad_(requires_grad)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    requires_grad: bool = False,
    device: object = None,
) -> Tensor:
    """Standard normal."""
    require_device(device)
    found = _draw("random_normal", sizes_of("randn", size), as_dtype(dtype or DEFAULT_FLOAT), generator)
    return found.requires_grad_(requires_grad)


def rand_like(input: Tensor, *, dtype: DType | None = None, generator: Generator | None = None) -> Tensor:
    """Uniform in [0, 1), in the shape (and type) of `input`."""
    return rand(input._type.shape, dtype=dtype or input._type.dtype, generator=generator)


def randn_like(input: Tensor, *, dtype: DType | None = None, generator: Generator | None = None) -> Tensor:
    """Standard normal, in the shape (and type) of `input`."""
    return randn(input._type.shape, dtype=dtype or input._type.dtype, generator=generator)


def randint(
    low: int,
    high: int | Sequence[int],
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: object = None,
) -> Tensor:
    """Integers, uniform in low <= i < high; randint(high, size) starts at 0. Raises AttributeValueError for an empty
    range, and for one too wide for 53 random bits."""
    require_device(device)
    if isinstance(high, Sequence):
        first, last, shape = 0, low, tuple(high)
    elif size is not None:
        first, last, shape = low, high, tuple(size)
    else:
        fail(AttributeValueError, "randint: give the size, a tuple")
    if not 0 < last - first <= 2**53:
        fail(AttributeValueError, f"randint: the range from {first} to {last} must hold 1 to 2^53 integers")
    uniform = _draw("random_uniform", shape, f64, generator)
    steps = cast(pointwise.floor(pointwise.mul(uniform, float(last - first))), i64)
    return cast(pointwise.add(steps, first), as_dtype(dtype or DEFAULT_INT))


def randperm(n: int, *, generator: Generator | None = None, dtype: DType | None = None) -> Tensor:
    """The integers 0 to n - 1 in random order. Raises TracingError in a trace."""
    if context.trace is not None:
        fail(TracingError, "randperm cannot be traced; call it outside and pass the order as an argument")
    keys = _draw("random_uniform", (n,), f64, generator)
    return cast(wrap(np.argsort(keys._read("sort"), kind="stable").astype(np.int64, copy=False)), dtype or i64)


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that the element gives (or `p`), else 0, in the type of `input`."""
    require_dtype("bernoulli", input, "float")
    dtype = input._type.dtype
    uniform = _draw("random_uniform", input._type.shape, f64 if dtype == f64 else f32, generator)
    return cast(pointwise.lt(uniform, input.detach() if p is None else p), dtype)


def normal(
    mean: Number,
    std: Number,
    size: Sequence[int],
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
) -> Tensor:
    """Normal numbers of a mean and a standard deviation."""
    return pointwise.add(pointwise.mul(randn(size, generator=generator, dtype=dtype), std), mean)


# --- in place


def uniform_(self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers uniform in [from_, to)."""
    require_dtype("uniform_", self, "float")
    unit = _draw("random_uniform", self._type.shape, self._type.dtype, generator)
    write(self, pointwise.add(pointwise.mul(unit, to - from_), from_))
    return self


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers of a mean and a standard deviation."""
    require_dtype("normal_", self, "float")
    unit = _draw("random_normal", self._type.shape, self._type.dtype, generator)
    write(self, pointwise.add(pointwise.mul(unit, std), mean))
    return self


def bernoulli_(self: Tensor, p: float = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with ones with probability p, else zeros."""
    uniform = _draw("random_uniform", self._type.shape, f32, generator)
    write(self, cast(apply("lt", [uniform, pointwise.splat(p, f32, self._type.shape)]), self._type.dtype))
    return self
