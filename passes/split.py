"""Cuts long sums into slabs, so that several threads can share one.

A kernel is shared out by the elements of its result. A sum over a long axis that leaves few elements would be the work
of one thread; cut into slabs of the axis, each slab is an element of its own, and a second, small sum adds them up. How
an axis is cut depends on the shapes alone, so the result has the same bits for any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Op, Value
from graphc.ir.opdef import lookup
from graphc.ir.types import f32
from graphc.passes.algebra.table import ints
from graphc.passes.contract_layout import fresh_letters, letters_of
from graphc.passes.preconditions import refuse_gradients
from graphc.passes.rewriter import rewrite

# Of a reduction: elements, about 10 us of one core; and how many it keeps at most. Where the last axis is reduced, each
# kept element is work for a unit; where it is kept, several make one, and short rows are slow to add up.
_LONG_ROWS = 1 << 17
_FEW_ROWS = 8
_LONG_COLUMNS = 1 << 15
_FEW_COLUMNS = 64
_LARGE = 1 << 20  # elements; of that many, whole rows had better be read, in slabs, than a few columns of every row
_MANY_COLUMNS = 1 << 13
_SLAB = 1 << 14  # elements of a slab at least
_MOST_SLABS = 64

# Of a contraction: multiplications, or bytes to be read, about 30 us of one core.
_LONG_CONTRACTION = 1 << 22
_TILE = 32  # rows and columns of the result that one unit takes at least
_ENOUGH_UNITS = 8
_UNITS = 16  # that a split aims at
_LEAST_DEPTH = 256  # steps of k in a slab

# How two parts of a reduction become one.
_JOIN = {
    "sum": "add",
    "prod": "mul",
    "max": "maximum",
    "min": "minimum",
    "any": "bitwise_or",
    "all": "bitwise_and",
}


@dataclass(frozen=True)
class Split:
    """Before: an `optimized` graph.

    After: no contraction or reduction of one long sum for few elements, but the sum, over a leading axis of slabs, of
    such sums. What an axis has beyond equal slabs is added last. Half precisions are summed in f32 throughout, as
    before. Sums may round differently.
    """

    name: str = "split"

    def run(self, graph: Graph) -> Graph:
        refuse_gradients(graph, self.name)
        return rewrite(graph, _visit)


def _visit(b: Builder, op: Op, operands: tuple[Value, ...]) -> Sequence[Value] | None:
    if op.name in _JOIN:
        return _reduction(b, op, *operands)
    return _contraction(b, op, *operands) if lookup(op.name).kind == "contract" else None


def _reduction(b: Builder, op: Op, x: Value) -> Sequence[Value] | None:
    axes = ints(op, "axes")
    size, kept = x.type.size, op.result.type.size
    columns = x.type.rank - 1 not in axes
    long, few = (_LONG_COLUMNS, _FEW_COLUMNS) if columns else (_LONG_ROWS, _FEW_ROWS)
    if columns and size >= _LARGE:
        few = _MANY_COLUMNS
    if not axes or op.attributes["keepdims"] or size < long or not 0 < kept < few:
        return None
    axis = max(axes, key=lambda a: x.type.shape[a])
    slabs = _slabs(x.type.shape[axis], min(_MOST_SLABS, size // _SLAB))
    if slabs < 2:
        return None

    def reduced(part: Value, over: Sequence[int]) -> Value:
        return b.emit(op.name, [part], {"axes": tuple(over), "keepdims": False}).result

    def whole(part: Value) -> Value:
        return reduced(part, axes)

    def in_slabs(part: Value) -> Value:
        # The new axis stands before the one that is cut, so that the elements keep their order in memory.
        cut = _with_slabs(b, part, axis, slabs)
        partial = reduced(cut, [a + (a >= axis) for a in axes])
        return reduced(partial, [axis - sum(a < axis for a in axes)])

    main, rest = _parts(b, _widened(b, x), axis, slabs)
    joined = in_slabs(main) if rest is None else b.emit(_JOIN[op.name], [in_slabs(main), whole(rest)]).result
    return [_narrowed(b, joined, op)]


def _contraction(b: Builder, op: Op, x: Value, y: Value) -> Sequence[Value] | None:
    at = letters_of(op)
    sizes = {**dict(zip(at.a, x.type.shape, strict=True)), **dict(zip(at.b, y.type.shape, strict=True))}
    batch, m, n, k = (math.prod(sizes[letter] for letter in letters) for letters in (at.batch, at.m, at.n, at.k))
    units = batch * -(-m // _TILE) * -(-n // _TILE)
    work = max(batch * m * n * k, x.type.nbytes + y.type.nbytes)
    letters = fresh_letters(at, 1)
    if not 0 < units < _ENOUGH_UNITS or work < _LONG_CONTRACTION or not at.k or letters is None:
        return None
    letter = max(at.k, key=lambda k_letter: sizes[k_letter])
    slabs = _slabs(sizes[letter], min(-(-_UNITS // units), k // _LEAST_DEPTH))
    if slabs < 2:
        return None
    sides = [(_parts(b, _widened(b, value), spec.index(letter), slabs), spec) for value, spec in ((x, at.a), (y, at.b))]
    cut = [_with_slabs(b, main, spec.index(letter), slabs) for (main, _), spec in sides]
    specs = [spec.replace(letter, letters + letter) for _, spec in sides]
    partial = b.contract(*cut, spec=f"{specs[0]},{specs[1]}->{letters}{at.out}")
    total = b.sum(partial, axes=(0,), keepdims=False)
    rests = [rest for (_, rest), _ in sides if rest is not None]
    if rests:
        total = b.add(total, b.contract(*rests, spec=str(op.attributes["spec"])))
    return [_narrowed(b, total, op)]


def _slabs(extent: int, wanted: int) -> int:
    """Into how many slabs to cut an axis: about `wanted`, preferably with nothing left over."""
    wanted = min(wanted, extent // 2)
    for slabs in range(wanted, wanted // 2, -1):
        if extent % slabs == 0:
            return slabs
    return wanted


def _parts(b: Builder, x: Value, axis: int, slabs: int) -> tuple[Value, Value | None]:
    """What of x makes whole slabs along an axis, and what is left, if anything."""
    extent = x.type.shape[axis]
    end = extent - extent % slabs
    return (x, None) if end == extent else (_range(b, x, axis, 0, end), _range(b, x, axis, end, extent))


def _range(b: Builder, x: Value, axis: int, start: int, stop: int) -> Value:
    starts, stops = [0] * x.type.rank, list(x.type.shape)
    starts[axis], stops[axis] = start, stop
    return b.slice(x, start=tuple(starts), stop=tuple(stops), step=(1,) * x.type.rank)


def _with_slabs(b: Builder, x: Value, axis: int, slabs: int) -> Value:
    shape = x.type.shape
    return b.reshape(x, shape=(*shape[:axis], slabs, shape[axis] // slabs, *shape[axis + 1 :]))


def _widened(b: Builder, x: Value) -> Value:
    half = x.type.dtype.is_float and x.type.dtype.itemsize == 2
    return b.cast(x, dtype=f32) if half else x


def _narrowed(b: Builder, x: Value, op: Op) -> Value:
    return x if x.type == op.result.type else b.cast(x, dtype=op.result.type.dtype)
