"""x[...] and x[...] = y, with NumPy's rules as PyTorch has them."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphc.context import context
from graphc.dispatch import apply, write
from graphc.errors import AttributeValueError, DTypeError, OutOfRangeError, ShapeError, TracingError, fail
from graphc.functions.indexing import require_within
from graphc.functions.pointwise import where
from graphc.ir.types import i64
from graphc.promotion import Operand, as_number, broadcast_shapes, broadcast_to, cast, embed, splat
from graphc.tensors.base import TensorBase, wrap

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor


class _Parsed(NamedTuple):
    """An index taken apart: the strided part, the shape it leaves, and the tensors that index its dimensions."""

    start: tuple[int, ...]
    stop: tuple[int, ...]
    step: tuple[int, ...]
    shape: tuple[int, ...]
    tensors: list[tuple[int, Tensor]]


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index]: integers, slices with positive steps, None, Ellipsis, integer tensors, and (eagerly) masks. Raises
    OutOfRangeError for an index outside, TracingError for a mask in a trace."""
    parsed = _parse(x, index)
    return _gather(_strided(x, parsed), parsed.tensors)


def setitem(x: Tensor, index: Any, value: Operand) -> None:
    """x[index] = value; the value is broadcast and cast. In a trace, and where gradients are recorded, integer
    tensors cannot be written at."""
    mask = _whole_mask(x, index)
    if mask is not None and (not isinstance(value, TensorBase) or value._type.rank == 0):
        _write_masked(x, mask, value)
        return
    parsed = _parse(x, index)
    part = _strided(x, parsed)
    if parsed.tensors:
        _write_at(x, part, parsed.tensors, value)
        return
    write(part, _fitted(value, part._type.shape, part))


def _write_masked(x: Tensor, mask: Tensor, value: Operand) -> None:
    shape = mask._type.shape + (1,) * (x._type.rank - mask._type.rank)
    spread = broadcast_to(apply("reshape", [mask], shape=shape), x._type.shape)
    write(x, where(spread, _fitted(value, x._type.shape, x), x))


def _fitted(value: Operand, shape: tuple[int, ...], like: Tensor) -> Tensor:
    dtype = like._type.dtype
    if isinstance(value, np.ndarray):
        value = wrap(value)
    if not isinstance(value, TensorBase):
        return splat(as_number(value), dtype, shape)
    own = value._type.shape
    while len(own) > len(shape) and own[0] == 1:
        own = own[1:]
    if own != value._type.shape:
        value = apply("reshape", [value], shape=own)
    if len(own) > len(shape) or any(m not in (1, n) for m, n in zip(reversed(own), reversed(shape), strict=False)):
        fail(ShapeError, f"assignment: a value of shape {value._type.shape} does not fit the part of shape {shape}")
    return broadcast_to(cast(value, dtype), shape)


def _write_at(x: Tensor, part: Tensor, tensors: list[tuple[int, Tensor]], value: Operand) -> None:
    if context.trace is not None:
        fail(
            TracingError,
            "assignment at integer tensors cannot be traced, because the same place may be named twice; use "
            "graphc.where with a mask, or index_add",
        )
    if context.grad_enabled and (part.requires_grad or (isinstance(value, TensorBase) and value.requires_grad)):
        fail(TracingError, "assignment at integer tensors is not differentiable; use graphc.where, or index_add")
    at: list[Any] = [slice(None)] * part._type.rank
    for axis, index in tensors:
        at[axis] = index._read("index with")
    array = part._read("assign to")
    new = array.copy()
    found = value._read("assign") if isinstance(value, TensorBase) else value
    try:
        new[tuple(at)] = found
    except IndexError as error:
        fail(OutOfRangeError, f"assignment: {error}")
    except ValueError as error:
        fail(ShapeError, f"assignment: {error}")
    write(part, wrap(new))


# --- taking an index apart


def _whole_mask(x: Tensor, index: Any) -> Tensor | None:
    """The mask, if the index is one mask over the leading dimensions."""
    if not isinstance(index, TensorBase) or not index._type.dtype.is_bool or index._type.rank == 0:
        return None
    if index._type.shape != x._type.shape[: index._type.rank]:
        fail(ShapeError, f"index: a mask of shape {index._type.shape} does not fit a tensor of shape {x._type.shape}")
    return index  # type: ignore[return-value]


def _parse(x: Tensor, index: Any) -> _Parsed:
    items = _expanded(x, index)
    own = x._type.shape
    start, stop, step, shape = [], [], [], []
    tensors: list[tuple[int, Tensor]] = []
    axis = 0
    for item in items:
        if item is None:
            shape.append(1)
            continue
        size = own[axis]
        axis += 1
        if isinstance(item, slice):
            first, last, stride = _slice_of(item, size)
            shape.append(len(range(first, last, stride)))
        elif isinstance(item, TensorBase):
            first, last, stride = 0, size, 1
            tensors.append((len(shape), item))  # type: ignore[arg-type]
            shape.append(size)
        else:
            first = _integer(item, size, axis - 1, own)
            last, stride = first + 1, 1
        start.append(first)
        stop.append(last)
        step.append(stride)
    return _Parsed(tuple(start), tuple(stop), tuple(step), tuple(shape), tensors)


def _expanded(x: Tensor, index: Any) -> list[Any]:
    """One item per dimension, besides None: arrays and lists became tensors, masks the indices where they hold."""
    items: list[Any] = []
    for item in index if isinstance(index, tuple) else (index,):
        items.extend(_item(item))
    rank = x._type.rank
    used = sum(1 for item in items if item is not None and item is not Ellipsis)
    if sum(1 for item in items if item is Ellipsis) > 1:
        fail(AttributeValueError, "index: '...' appears twice")
    if used > rank:
        fail(OutOfRangeError, f"index: {used} indices for a tensor of shape {x._type.shape}")
    rest = [slice(None)] * (rank - used)
    at = next((i for i, item in enumerate(items) if item is Ellipsis), len(items))
    return items[:at] + rest + items[at + 1 :]


def _item(item: Any) -> Sequence[Any]:
    if item is None or item is Ellipsis or isinstance(item, slice):
        return [item]
    if isinstance(item, (bool, np.bool_)):
        fail(DTypeError, "index: a single bool is not supported; use graphc.where")
    if isinstance(item, (list, range)):
        item = embed(np.asarray(item, np.bool_ if item and isinstance(item[0], bool) else np.int64))
    elif isinstance(item, np.ndarray):
        item = embed(item)
    if not isinstance(item, TensorBase):
        return [item]
    dtype = item._type.dtype
    if dtype.is_bool:
        return _indices_of(item)
    if not dtype.is_integer:
        fail(DTypeError, f"index: tensors of indices must be integers or bools, got {item._type}")
    return [item]


def _indices_of(mask: TensorBase) -> list[Tensor]:
    array = mask._read(
        "select with a mask of", "the shape would depend on the mask: use graphc.where or masked_fill instead"
    )
    if array.ndim == 0:
        fail(DTypeError, "index: a mask without dimensions is not supported; use graphc.where")
    return [wrap(found) for found in np.nonzero(array)]


def _slice_of(item: slice, size: int) -> tuple[int, int, int]:
    try:
        bounds = [None if v is None else operator.index(v) for v in (item.start, item.stop, item.step)]
    except TypeError:
        fail(DTypeError, f"index: slice bounds must be integers, got {item}")
    if bounds[2] is not None and bounds[2] <= 0:
        fail(AttributeValueError, f"index: the step of a slice must be positive, got {item.step}; use flip")
    first, last, step = slice(*bounds).indices(size)
    return first, max(first, last), step


def _integer(item: Any, size: int, axis: int, shape: tuple[int, ...]) -> int:
    try:
        at = operator.index(item)
    except TypeError:
        fail(DTypeError, f"index: {type(item).__name__} is not an index; use integers, slices, None or tensors")
    if not -size <= at < size:
        fail(OutOfRangeError, f"index: {at} lies outside dimension {axis} of a tensor of shape {shape}")
    return at % size


# --- reading


def _strided(x: Tensor, parsed: _Parsed) -> Tensor:
    """The view that integers, slices and None make."""
    found = x
    if any(parsed.start) or parsed.stop != x._type.shape or any(s != 1 for s in parsed.step):
        found = apply("slice", [x], start=parsed.start, stop=parsed.stop, step=parsed.step)
    if found is x or found._type.shape != parsed.shape:
        found = apply("reshape", [found], shape=parsed.shape)
    return found


def _gather(x: Tensor, tensors: list[tuple[int, Tensor]]) -> Tensor:
    """x indexed by tensors along some of its dimensions. The result's dimensions stand where the first index stood;
    in front, where indices are not adjacent."""
    if not tensors:
        return x
    axes = [axis for axis, _ in tensors]
    sizes = [x._type.shape[axis] for axis in axes]
    shape = broadcast_shapes(*(index._type.shape for _, index in tensors), name="index")
    if len(tensors) == 1:
        return apply("take", [x, _wrapped(tensors[0][1], sizes[0])], axis=axes[0])
    if axes != list(range(axes[0], axes[0] + len(axes))):
        rest = [d for d in range(x._type.rank) if d not in axes]
        x = apply("transpose", [x], perm=(*axes, *rest))
        axes = list(range(len(axes)))
    flat: Tensor | None = None
    for (_, index), size in zip(tensors, sizes, strict=True):
        checked = broadcast_to(apply("check_index", [_wrapped(index, size)], low=0, high=size), shape)
        flat = checked if flat is None else flat * size + checked
    assert flat is not None
    own = x._type.shape
    joined = apply("reshape", [x], shape=(*own[: axes[0]], math.prod(sizes), *own[axes[-1] + 1 :]))
    return apply("take", [joined, flat], axis=axes[0])


def _wrapped(index: Tensor, size: int) -> Tensor:
    """Negative indices count from the end."""
    wide = cast(index, i64)
    if index._type.dtype.kind == "uint":
        return wide
    if wide._array is not None and context.trace is None:
        require_within("index:", wide, -size, size)
        if not (wide._array < 0).any():
            return wide
    return where(wide < 0, wide + size, wide)
