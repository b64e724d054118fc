"""Functions that change the shape or the order of elements. Those named as views in PyTorch show the same memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphc.dispatch import apply
from graphc.errors import AttributeValueError, DTypeError, ShapeError, fail
from graphc.functions.dims import dim_of, dims_of, sizes_of
from graphc.functions.pointwise import where
from graphc.ir.types import DType, i64
from graphc.promotion import Number, broadcast_to, cast, number_of, promote_types, splat

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor

# --- reshape


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in row-major order in another shape; one size may be -1. Raises ShapeError, naming both
    shapes, where the number of elements differs."""
    return _reshape("reshape", input, sizes_of("reshape", shape))


def view(input: Tensor, *shape: Any) -> Tensor:
    """As reshape, but of the same memory: raises ShapeError where the elements would have to be copied. A dtype in
    place of a shape reinterprets nothing; use to()."""
    if len(shape) == 1 and isinstance(shape[0], DType):
        fail(DTypeError, "view(dtype) is not supported; to(dtype) converts the elements")
    found = _reshape("view", input, sizes_of("view", shape))
    if found._base is None and input._type.size:
        fail(
            ShapeError, f"view: a tensor of shape {input._type.shape} with gaps or transposed in memory; use reshape()"
        )
    return found


def _reshape(name: str, x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    shape = _infer_size(name, x._type.shape, sizes)
    return apply("reshape", [x], shape=shape)


def _infer_size(name: str, shape: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[int, ...]:
    total = math.prod(shape)
    if sizes.count(-1) > 1 or any(n < -1 for n in sizes):
        fail(ShapeError, f"{name}: {sizes} is not a shape; one size at most may be -1")
    known = math.prod(n for n in sizes if n != -1)
    if -1 in sizes:
        if known == 0 or total % known:
            fail(ShapeError, f"{name}: a tensor of shape {shape} ({total} elements) cannot become {sizes}")
        sizes = tuple(total // known if n == -1 else n for n in sizes)
    elif known != total:
        fail(ShapeError, f"{name}: a tensor of shape {shape} ({total} elements) cannot become {sizes}")
    return sizes


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """`input` in the shape of `other`."""
    return view(input, other._type.shape)


reshape_as = view_as


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions start_dim to end_dim as one."""
    shape = input._type.shape
    if not shape:
        return _reshape("flatten", input, (1,))
    first, last = dim_of("flatten", start_dim, len(shape)), dim_of("flatten", end_dim, len(shape))
    if first > last:
        fail(AttributeValueError, f"flatten: start_dim {start_dim} lies behind end_dim {end_dim}")
    return _reshape("flatten", input, (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One dimension as several; one of their sizes may be -1."""
    shape = input._type.shape
    at = dim_of("unflatten", dim, len(shape))
    found = _infer_size("unflatten", (shape[at],), tuple(sizes))
    return _reshape("unflatten", input, (*shape[:at], *found, *shape[at + 1 :]))


def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Without the dimensions of size 1, or without those listed that have size 1."""
    shape = input._type.shape
    gone = dims_of("squeeze", dim, len(shape)) if shape else ()
    return apply("reshape", [input], shape=tuple(n for i, n in enumerate(shape) if i not in gone or n != 1))


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a dimension of size 1 before `dim`."""
    shape = input._type.shape
    at = dim_of("unsqueeze", dim, len(shape) + 1)
    return apply("reshape", [input], shape=(*shape[:at], 1, *shape[at:]))


# --- transpose


def permute(input: Tensor, *dims: Any) -> Tensor:
    """The dimensions in another order."""
    order = sizes_of("permute", dims)
    rank = input._type.rank
    perm = tuple(dim_of("permute", d, rank) for d in order)
    if sorted(perm) != list(range(rank)):
        fail(AttributeValueError, f"permute: {order} is not an order of the {rank} dimensions of {input._type}")
    return apply("transpose", [input], perm=perm)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions swapped."""
    rank = input._type.rank
    a, b = dim_of("transpose", dim0, rank), dim_of("transpose", dim1, rank)
    perm = list(range(rank))
    if rank:
        perm[a], perm[b] = b, a
    return apply("transpose", [input], perm=tuple(perm))


swapaxes = transpose


def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Dimensions moved to other places; the rest keep their order."""
    rank = input._type.rank
    origin = [dim_of("movedim", d, rank) for d in ([source] if isinstance(source, int) else source)]
    target = [dim_of("movedim", d, rank) for d in ([destination] if isinstance(destination, int) else destination)]
    if len(origin) != len(target) or len(set(origin)) != len(origin) or len(set(target)) != len(target):
        fail(AttributeValueError, f"movedim: cannot move {source} to {destination}")
    rest = iter(d for d in range(rank) if d not in origin)
    moved = dict(zip(target, origin, strict=True))
    return apply("transpose", [input], perm=tuple(moved[i] if i in moved else next(rest) for i in range(rank)))


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; a vector stays. Raises ShapeError for more than two dimensions."""
    if input._type.rank > 2:
        fail(ShapeError, f"t takes at most two dimensions, got {input._type}; use transpose or mT")
    return transpose(input, 0, 1) if input._type.rank == 2 else input


# --- expand


def expand(input: Tensor, *sizes: Any) -> Tensor:
    """Dimensions of size 1 repeated without copying; -1 keeps a size, new dimensions come first."""
    wanted = sizes_of("expand", sizes)
    own = input._type.shape
    first = len(wanted) - len(own)
    shape = tuple(own[i - first] if n == -1 and i >= first else n for i, n in enumerate(wanted))
    fits = first >= 0 and all(n >= 0 for n in shape)
    if not fits or any(m not in (1, n) for m, n in zip(own, shape[first:], strict=True)):
        fail(ShapeError, f"expand: a tensor of shape {own} cannot be expanded to {wanted}")
    return broadcast_to(input, shape)


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """Expanded to the shape of `other`."""
    return expand(input, other._type.shape)


def repeat(input: Tensor, *repeats: Any) -> Tensor:
    """The whole tensor repeated along each dimension; new dimensions come first."""
    times = sizes_of("repeat", repeats)
    own = input._type.shape
    if len(times) < len(own):
        fail(ShapeError, f"repeat: {times} has fewer entries than the {len(own)} dimensions of {input._type}")
    padded = (1,) * (len(times) - len(own)) + own
    split = apply("reshape", [input], shape=tuple(n for size in padded for n in (1, size)))
    spread = broadcast_to(split, tuple(n for count, size in zip(times, padded, strict=True) for n in (count, size)))
    return apply("reshape", [spread], shape=tuple(c * n for c, n in zip(times, padded, strict=True)))


def tile(input: Tensor, *dims: Any) -> Tensor:
    """As repeat; missing entries are 1, in front."""
    times = sizes_of("tile", dims)
    return repeat(input, (1,) * (input._type.rank - len(times)) + times)


def repeat_interleave(input: Tensor, repeats: int, dim: int | None = None) -> Tensor:
    """Each element along `dim` (of the flattened tensor: None) repeated on the spot."""
    x = _reshape("repeat_interleave", input, (-1,)) if dim is None else input
    shape = x._type.shape
    at = 0 if dim is None else dim_of("repeat_interleave", dim, len(shape))
    split = apply("reshape", [x], shape=(*shape[: at + 1], 1, *shape[at + 1 :]))
    spread = broadcast_to(split, (*shape[: at + 1], repeats, *shape[at + 1 :]))
    return apply("reshape", [spread], shape=(*shape[:at], shape[at] * repeats, *shape[at + 1 :]))


# --- parts


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`length` elements from `start` along `dim`."""
    at = dim_of("narrow", dim, input._type.rank)
    size = input._type.shape[at]
    first = start + size if start < 0 else start
    if not 0 <= first <= first + length <= size:
        fail(ShapeError, f"narrow: {length} elements from {start} do not lie in dimension {dim} of {input._type}")
    return take_range(input, at, first, first + length)


def take_range(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """Elements start <= i < stop along an axis."""
    shape = x._type.shape
    starts, stops = [0] * len(shape), list(shape)
    starts[axis], stops[axis] = start, stop
    return apply("slice", [x], start=tuple(starts), stop=tuple(stops), step=(1,) * len(shape))


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """One element along `dim`, which goes. Raises ShapeError for an index outside."""
    at = dim_of("select", dim, input._type.rank)
    taken = narrow(input, at, index, 1)
    shape = input._type.shape
    return apply("reshape", [taken], shape=shape[:at] + shape[at + 1 :])


def split(tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of a size (the last one may be smaller), or of the sizes listed, along `dim`."""
    at = dim_of("split", dim, tensor._type.rank)
    size = tensor._type.shape[at]
    given = split_size_or_sections
    if isinstance(given, int):
        if given <= 0:
            fail(AttributeValueError, f"split: the size must be positive, got {given}")
        sections = [min(given, size - i) for i in range(0, size, given)] or [0]
    else:
        sections = list(given)
        if sum(sections) != size:
            fail(ShapeError, f"split: sizes {sections} do not add up to {size}, dimension {dim} of {tensor._type}")
    starts = [sum(sections[:i]) for i in range(len(sections))]
    return tuple(take_range(tensor, at, s, s + n) for s, n in zip(starts, sections, strict=True))


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` pieces of equal size along `dim`; the last one may be smaller."""
    if chunks <= 0:
        fail(AttributeValueError, f"chunk: the number of pieces must be positive, got {chunks}")
    at = dim_of("chunk", dim, input._type.rank)
    return split(input, max(-(-input._type.shape[at] // chunks), 1), at)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The elements along `dim`, one tensor each."""
    at = dim_of("unbind", dim, input._type.rank)
    return tuple(select(input, at, i) for i in range(input._type.shape[at]))


def diagonal(input: Tensor) -> Tensor:
    """The diagonal of a matrix."""
    if input._type.rank != 2:
        fail(ShapeError, f"diagonal takes a matrix, got {input._type}")
    rows, columns = input._type.shape
    n = min(rows, columns)
    flat = apply("reshape", [input], shape=(rows * columns,))
    stop = (n - 1) * (columns + 1) + 1 if n else 0
    return apply("slice", [flat], start=(0,), stop=(stop,), step=(columns + 1,))


# --- putting together


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors one after the other along `dim`, in the promoted element type."""
    found = _promoted("cat", tensors)
    shaped = [x for x in found if x._type.shape != (0,)] or found[:1]  # as PyTorch: an empty vector fits anything
    rank = shaped[0]._type.rank
    if rank == 0:
        fail(ShapeError, "cat: tensors without dimensions cannot be concatenated; use stack")
    at = dim_of("cat", dim, rank)
    for x in shaped[1:]:
        if x._type.rank != rank or any(
            m != n for i, (m, n) in enumerate(zip(x._type.shape, shaped[0]._type.shape, strict=True)) if i != at
        ):
            listed = ", ".join(str(x._type.shape) for x in shaped)
            fail(ShapeError, f"cat: shapes {listed} differ in more than dimension {at}")
    return apply("concat", shaped, axis=at)


concat = concatenate = cat


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new dimension."""
    found = _promoted("stack", tensors)
    shape = found[0]._type.shape
    for x in found:
        if x._type.shape != shape:
            fail(ShapeError, f"stack: shapes {shape} and {x._type.shape} differ")
    at = dim_of("stack", dim, len(shape) + 1)
    return apply("concat", [unsqueeze(x, at) for x in found], axis=at)


def _promoted(name: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    if not tensors:
        fail(AttributeValueError, f"{name}: give at least one tensor")
    dtype = tensors[0]._type.dtype
    for x in tensors[1:]:
        dtype = promote_types(dtype, x._type.dtype)
    return [cast(x, dtype) for x in tensors]


# --- moving elements


def flip(input: Tensor, *dims: Any) -> Tensor:
    """Elements in reverse order along the dimensions."""
    given = sizes_of("flip", dims)
    return apply("flip", [input], axes=dims_of("flip", given, input._type.rank) if given else ())


def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """Elements moved on by `shifts` along the dimensions; what leaves at the end enters at the start."""
    if dims is None:
        if not isinstance(shifts, int):
            fail(AttributeValueError, "roll: give dims for several shifts")
        flat = roll(_reshape("roll", input, (-1,)), shifts, 0)
        return apply("reshape", [flat], shape=input._type.shape)
    amounts = [shifts] if isinstance(shifts, int) else list(shifts)
    axes = [dims] if isinstance(dims, int) else list(dims)
    found = input
    for amount, dim in zip(amounts, axes, strict=True):
        at = dim_of("roll", dim, input._type.rank)
        size = input._type.shape[at]
        cut = -amount % size if size else 0
        if cut:
            found = apply("concat", [take_range(found, at, cut, size), take_range(found, at, 0, cut)], axis=at)
    return found if found is not input else input.clone()


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of matrices, up to a diagonal; 0 above."""
    return _triangle("tril", input, diagonal)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of matrices, from a diagonal on; 0 below."""
    return _triangle("triu", input, diagonal)


def _triangle(name: str, x: Tensor, diagonal: int) -> Tensor:
    shape = x._type.shape
    if len(shape) < 2:
        fail(ShapeError, f"{name} takes at least two dimensions, got {x._type}")
    rows = apply("iota", [], dtype=i64, shape=shape, axis=len(shape) - 2)
    columns = apply("iota", [], dtype=i64, shape=shape, axis=len(shape) - 1)
    keep = apply("le" if name == "tril" else "ge", [columns, rows + diagonal])
    return where(keep, x, splat(0, x._type.dtype, shape))


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: Number = 0) -> Tensor:
    """`value` added before and after: `pad` holds two counts for the last dimension, then for the one before, and so
    on; negative counts take elements away. Raises AttributeValueError for modes other than "constant"."""
    if mode != "constant":
        fail(AttributeValueError, f"pad: mode {mode!r} is not supported; use 'constant'")
    shape, rank = input._type.shape, input._type.rank
    if len(pad) % 2 or len(pad) > 2 * rank:
        fail(
            ShapeError, f"pad: {len(pad)} counts do not fit {input._type}; give two for each dimension, the last first"
        )
    before, after = [0] * rank, [0] * rank
    for i in range(len(pad) // 2):
        before[rank - 1 - i], after[rank - 1 - i] = pad[2 * i], pad[2 * i + 1]
    found = input
    if any(n < 0 for n in pad):
        start = tuple(max(-n, 0) for n in before)
        stop = tuple(n + min(a, 0) for n, a in zip(shape, after, strict=True))
        if any(a > b for a, b in zip(start, stop, strict=True)):
            fail(ShapeError, f"pad: {tuple(pad)} takes more away than {input._type} has")
        found = apply("slice", [found], start=start, stop=stop, step=(1,) * rank)
    low, high = tuple(max(n, 0) for n in before), tuple(max(n, 0) for n in after)
    number = number_of(value, input._type.dtype)
    return apply("pad", [found], low=low, high=high, interior=(0,) * rank, value=number)
