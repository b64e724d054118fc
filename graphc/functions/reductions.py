"""Reductions. `dim` is one dimension, several, or None for all; `keepdim` keeps them with size 1."""

from __future__ import annotations

import builtins
import math
from typing import TYPE_CHECKING, NamedTuple

from graphc.dispatch import apply
from graphc.errors import AttributeValueError, DTypeError, fail
from graphc.functions import pointwise
from graphc.functions.dims import Dims, dim_of, dims_of
from graphc.ir.types import DType, bool_, f32, i64
from graphc.promotion import Number, cast, require_dtype

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor


class ValuesAndIndices(NamedTuple):
    """Extreme values along a dimension, and where they stand."""

    values: Tensor
    indices: Tensor


def _reduce(name: str, x: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    axes = dims_of(name, dim, x._type.rank)
    return apply(name, [x], axes=axes, keepdims=keepdim)


def _widened(x: Tensor) -> Tensor:
    return x if x._type.dtype.is_float else cast(x, i64)


def sum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The sum; integers and bools are summed as int64."""
    return _reduce("sum", _widened(input) if dtype is None else cast(input, dtype), dim, keepdim)


def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The product; integers and bools are multiplied as int64."""
    return _reduce("prod", _widened(input) if dtype is None else cast(input, dtype), dim, keepdim)


def mean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The mean. Raises DTypeError for integers and bools."""
    x = input if dtype is None else cast(input, dtype)
    if not x._type.dtype.is_float:
        fail(DTypeError, f"mean takes a tensor of a float type, got {x._type}; cast it with .float() first")
    wide, narrow = _wide(x)
    count = _count(x, dims_of("mean", dim, x._type.rank))
    return cast(_scaled(_reduce("sum", wide, dim, keepdim), count), narrow)


def _wide(x: Tensor) -> tuple[Tensor, DType]:
    """Half precisions are worked on in f32 and rounded once, at the end."""
    dtype = x._type.dtype
    return cast(x, dtype.accumulator), dtype


def _scaled(total: Tensor, count: float) -> Tensor:
    return pointwise.div(total, count)


def _count(x: Tensor, axes: tuple[int, ...]) -> int:
    return math.prod(x._type.shape[a] for a in axes)


def amax(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The largest element; NaN if there is one. Equal elements share the gradient."""
    return _extremum("max", input, dim, keepdim)


def amin(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The smallest element; NaN if there is one. Equal elements share the gradient."""
    return _extremum("min", input, dim, keepdim)


def _extremum(name: str, x: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    if x._type.dtype.is_bool:
        return _reduce("any" if name == "max" else "all", x, dim, keepdim)
    return _reduce(name, x, dim, keepdim)


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index (int64) of the first largest element along `dim`, or in the flattened tensor."""
    return _arg("argmax", input, dim, keepdim)


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index (int64) of the first smallest element along `dim`, or in the flattened tensor."""
    return _arg("argmin", input, dim, keepdim)


def _arg(name: str, x: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    require_dtype(name, x, "number")
    rank = x._type.rank
    if dim is None or rank == 0:
        flat = apply("reshape", [x], shape=(x._type.size,))
        found = apply(name, [flat], axes=(0,), keepdims=False)
        return apply("reshape", [found], shape=(1,) * rank) if keepdim and rank else found
    return apply(name, [x], axes=(dim_of(name, dim, rank),), keepdims=keepdim)


def max(input: Tensor, dim: Tensor | Number | None = None, keepdim: bool = False) -> Tensor | ValuesAndIndices:
    """max(x): the largest element. max(x, dim): the largest along `dim` and its index. max(x, y): the larger of both,
    element by element."""
    return _max_or_min("max", input, dim, keepdim)


def min(input: Tensor, dim: Tensor | Number | None = None, keepdim: bool = False) -> Tensor | ValuesAndIndices:
    """min(x): the smallest element. min(x, dim): the smallest along `dim` and its index. min(x, y): the smaller of
    both, element by element."""
    return _max_or_min("min", input, dim, keepdim)


def _max_or_min(name: str, x: Tensor, dim: Tensor | Number | None, keepdim: bool) -> Tensor | ValuesAndIndices:
    if dim is None:
        return _extremum(name, x, None, False)
    if not isinstance(dim, int):
        return pointwise.maximum(x, dim) if name == "max" else pointwise.minimum(x, dim)
    if x._type.rank == 0:
        dim_of(name, dim, 0)
        return ValuesAndIndices(pointwise.clone(x), cast(pointwise.isnan(x), i64) * 0)
    axis = dim_of(name, dim, x._type.rank)
    indices = _arg("arg" + name, x, axis, True)
    values = apply("gather", [x, indices], axis=axis)
    if keepdim:
        return ValuesAndIndices(values, indices)
    shape = x._type.shape[:axis] + x._type.shape[axis + 1 :]
    return ValuesAndIndices(apply("reshape", [values], shape=shape), apply("reshape", [indices], shape=shape))


def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether any element is nonzero."""
    return _reduce("any", cast(input, bool_), dim, keepdim)


def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether every element is nonzero."""
    return _reduce("all", cast(input, bool_), dim, keepdim)


def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """The number (int64) of elements that are not zero."""
    return _reduce("sum", cast(cast(input, bool_), i64), dim, False)


def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """log(sum(exp(input))), without overflow."""
    x = input if input._type.dtype.is_float else cast(input, f32)
    wide, narrow = _wide(x)
    axes = dims_of("logsumexp", dim, x._type.rank)
    if _count(x, axes) == 0:
        return cast(pointwise.log(_reduce("sum", pointwise.exp(wide), axes, keepdim)), narrow)
    top = _reduce("max", wide.detach(), axes, True)
    top = pointwise.where(pointwise.isfinite(top), top, 0.0)  # infinities would give inf - inf
    total = _reduce("sum", pointwise.exp(pointwise.sub(wide, top)), axes, keepdim)
    if not keepdim:
        top = apply("reshape", [top], shape=total._type.shape)
    return cast(pointwise.add(pointwise.log(total), top), narrow)


def var(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Number | None = None,
) -> Tensor:
    """The variance: squared deviations from the mean, summed and divided by n - correction (1 by default; `unbiased`
    stands for correction 1 or 0). Raises DTypeError for integers."""
    require_dtype("var", input, "float")
    wide, narrow = _wide(input)
    return cast(_variance("var", wide, dim, _correction(unbiased, correction), keepdim), narrow)


def std(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Number | None = None,
) -> Tensor:
    """The standard deviation: the square root of the variance."""
    require_dtype("std", input, "float")
    wide, narrow = _wide(input)
    return cast(pointwise.sqrt(_variance("std", wide, dim, _correction(unbiased, correction), keepdim)), narrow)


def _correction(unbiased: bool | None, correction: Number | None) -> Number:
    if correction is not None:
        return correction
    return 1 if unbiased is None or unbiased else 0


def _variance(name: str, x: Tensor, dim: Dims, correction: Number, keepdim: bool) -> Tensor:
    axes = dims_of(name, dim, x._type.rank)
    count = _count(x, axes)
    center = _scaled(_reduce("sum", x, axes, True), count)
    total = _reduce("sum", pointwise.square(pointwise.sub(x, center)), axes, keepdim)
    return _scaled(total, float(builtins.max(count - correction, 0)))


def norm(input: Tensor, p: float | str = 2, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The vector norm of order p over `dim`: (sum |x|^p)^(1/p); the largest |x| for p = inf. Raises DTypeError for
    integers."""
    require_dtype("norm", input, "float")
    if isinstance(p, str) and p != "fro":
        fail(AttributeValueError, f"norm: order {p!r} is not supported; use a number or 'fro'")
    order = 2.0 if isinstance(p, str) else float(p)
    wide, narrow = _wide(input)
    if order == 2:
        found = _root(_reduce("sum", pointwise.square(wide), dim, keepdim))
    elif math.isinf(order):
        found = _reduce("max" if order > 0 else "min", pointwise.abs(wide), dim, keepdim)
    elif order == 0:
        found = _reduce("sum", cast(pointwise.ne(wide, 0), wide._type.dtype), dim, keepdim)
    else:
        powers = pointwise.pow(pointwise.abs(wide), order)
        found = pointwise.pow(_reduce("sum", powers, dim, keepdim), 1 / order)
    return cast(found, narrow)


def _root(x: Tensor) -> Tensor:
    """The square root, with gradient 0 at 0."""
    zero = pointwise.eq(x, 0)
    return pointwise.where(zero, 0.0, pointwise.sqrt(pointwise.where(zero, 1.0, x)))


# --- softmax


def softmax(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """exp(input) scaled to sum to 1 along `dim`."""
    wide, narrow = _wide(_float(input, dtype))
    axis = _axis("softmax", dim, wide)
    e = pointwise.exp(_below_maximum(wide, axis))
    return cast(pointwise.div(e, _reduce("sum", e, axis, True)), narrow)


def log_softmax(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """log(softmax(input, dim)), accurate for small probabilities."""
    wide, narrow = _wide(_float(input, dtype))
    axis = _axis("log_softmax", dim, wide)
    shifted = _below_maximum(wide, axis)
    total = _reduce("sum", pointwise.exp(shifted), axis, True)
    return cast(pointwise.sub(shifted, pointwise.log(total)), narrow)


def _float(x: Tensor, dtype: DType | None) -> Tensor:
    if dtype is not None:
        return cast(x, dtype)
    require_dtype("softmax", x, "float")
    return x


def _axis(name: str, dim: int, x: Tensor) -> tuple[int, ...]:
    return (dim_of(name, dim, x._type.rank),) if x._type.rank else ()


def _below_maximum(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """x minus its largest element along the axes. Softmax does not depend on what is subtracted, so no gradient need
    flow through the maximum."""
    if _count(x, axes) == 0:
        return x
    return pointwise.sub(x, apply("max", [x.detach()], axes=axes, keepdims=True))
