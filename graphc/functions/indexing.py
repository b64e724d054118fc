"""Reading and adding at integer positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphc.context import context
from graphc.dispatch import apply
from graphc.errors import DTypeError, OutOfRangeError, ShapeError, TracingError, fail
from graphc.functions.dims import dim_of
from graphc.ir.types import i64
from graphc.promotion import broadcast_shapes, broadcast_to, cast
from graphc.tensors.base import wrap

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor


def _require_indices(name: str, index: Tensor) -> None:
    if not index._type.dtype.is_integer:
        fail(DTypeError, f"{name}: indices must be integers, got {index._type}; cast them with .long()")


def require_within(what: str, index: Tensor, low: int, high: int, besides: str = "") -> Tensor:
    """`index` itself. Raises OutOfRangeError that begins with `what` for an element outside low <= x < high; a program
    names the line only."""
    try:
        return apply("check_index", [index], low=low, high=high)
    except OutOfRangeError as error:
        fail(OutOfRangeError, f"{what} {error.message.removeprefix('check_index: ')}{besides}")


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """out[i][j][k] = input[index[i][j][k]][j][k] for dim = 0, and so on; indices count from 0."""
    _require_indices("gather", index)
    return apply("gather", [input, index], axis=dim_of("gather", dim, input._type.rank))


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """As gather, with the other dimensions broadcast; of the flattened tensor where `dim` is None."""
    _require_indices("take_along_dim", indices)
    if dim is None:
        flat = apply("reshape", [input], shape=(input._type.size,))
        return apply("gather", [flat, apply("reshape", [indices], shape=(indices._type.size,))], axis=0)
    at = dim_of("take_along_dim", dim, input._type.rank)
    own, other = list(input._type.shape), list(indices._type.shape)
    if len(own) != len(other):
        fail(ShapeError, f"take_along_dim: {input._type} and indices {indices._type} differ in dimensions")
    own[at] = other[at] = 1
    shape = list(broadcast_shapes(own, other, name="take_along_dim"))
    shape[at] = input._type.shape[at]
    x = broadcast_to(input, tuple(shape))
    shape[at] = indices._type.shape[at]
    return apply("gather", [x, broadcast_to(indices, tuple(shape))], axis=at)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The elements along `dim` at the indices in a vector. Raises OutOfRangeError for one outside."""
    _require_indices("index_select", index)
    if index._type.rank > 1:
        fail(ShapeError, f"index_select: the indices must be a vector, got {index._type}")
    at = dim_of("index_select", dim, input._type.rank)
    return apply("take", [input, apply("reshape", [index], shape=(index._type.size,))], axis=at)


def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements of the flattened tensor at the indices."""
    _require_indices("take", index)
    return apply("take", [apply("reshape", [input], shape=(input._type.size,)), index], axis=0)


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """out[index[i][j]][j] += src[i][j] for dim = 0, and so on, from a copy of `input`. Raises ShapeError unless the
    index has the shape of `src`, DTypeError unless input and src agree."""
    _require_indices("scatter_add", index)
    at = dim_of("scatter_add", dim, input._type.rank)
    if src._type.shape != index._type.shape:  # PyTorch uses the corner of src that the index covers
        if src._type.rank != index._type.rank or any(
            m < n for m, n in zip(src._type.shape, index._type.shape, strict=True)
        ):
            fail(ShapeError, f"scatter_add: the index {index._type} must not exceed src {src._type}")
        rank = src._type.rank
        src = apply("slice", [src], start=(0,) * rank, stop=index._type.shape, step=(1,) * rank)
    return apply("scatter_add", [input, index, src], axis=at)


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """`input` with alpha * source[i] added at index[i] along `dim`."""
    _require_indices("index_add", index)
    at = dim_of("index_add", dim, input._type.rank)
    return apply("index_add", [input, index, source if alpha == 1 else source * alpha], axis=at)


def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """An int64 tensor with a last dimension of `num_classes`, 1 at the element's own class. Raises TracingError for
    num_classes = -1 (the largest element plus one) in a trace, and OutOfRangeError for a class outside."""
    _require_indices("one_hot", input)
    if num_classes == -1:
        if context.trace is not None:
            fail(TracingError, "one_hot: num_classes depends on the elements, which a trace does not know; give it")
        classes = input._read("read the number of classes of")
        num_classes = int(classes.max()) + 1 if classes.size else 0
    shape = (*input._type.shape, num_classes)
    checked = require_within("one_hot: the class", cast(input, i64), 0, num_classes)
    spread = broadcast_to(apply("reshape", [checked], shape=(*input._type.shape, 1)), shape)
    return cast(apply("eq", [spread, apply("iota", [], dtype=i64, shape=shape, axis=len(shape) - 1)]), i64)


def nonzero(input: Tensor) -> Tensor:
    """The indices of the elements that are not zero, one row each. Raises TracingError in a trace: the shape depends
    on the elements."""
    array = input._read("take nonzero() of", "its shape would depend on the elements: use graphc.where with a mask")
    return wrap(np.argwhere(array).astype(np.int64, copy=False))
