"""Scatter kernels: a copy of the base, into which updates are accumulated one after another.

Work is split along one axis on which a place and what is added there agree, so units share no element, and each element
receives its updates in their row-major order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.codegen.expression import Elements
from graphc.codegen.index import Index, ravel
from graphc.codegen.kernel import Kernel
from graphc.codegen.kernels.iteration import best_tile, elements_per_unit, tile_loop
from graphc.codegen.kernels.scratch import Scratch
from graphc.codegen.kernels.signature import describe, parameters, signature
from graphc.codegen.scalar_text import HALVES, Expression
from graphc.codegen.source import Source
from graphc.ir.graph import Op
from graphc.ir.opdef import Access, lookup
from graphc.ir.target import Target

WIDE_TILE = 64  # elements of the innermost axis that a unit takes at least


def emit_scatter(op: Op, slots: tuple[int, ...], target: Target) -> Kernel:
    """The kernel of a fused op of kind "scatter"."""
    (region,) = op.regions
    params = parameters(region, slots)
    (scatter,) = [inner for inner in region.ops if lookup(inner.name).kind == "scatter"]
    source = Source(signature(params), describe(op, slots))
    base, updates = scatter.operands[0].type, scatter.operands[2].type
    if base.size == 0:
        units = min(1, updates.size)  # updates of nothing are out of range
        if units:
            source.line("raise_fault(fault)")
        return Kernel(source.text(), params, units)
    in_place = region.args and slots[-1] in (
        s for v, s in zip(region.args, slots, strict=False) if v is scatter.operands[0]
    )
    emitter = _Scatter(scatter, Elements(region, slots, source), bool(in_place), f"p{slots[-1]}")
    units = emitter.emit()
    return Kernel(source.text(), params, units, emitter.scratch.nbytes)


class _Scatter:
    """Emits the loops of one kernel."""

    def __init__(self, op: Op, elements: Elements, in_place: bool, result: str):
        self.op = op
        self.elements = elements
        self.source = elements.source
        self.scratch = Scratch(self.source, 0)
        self._in_place = in_place
        self._result = result
        self._base, _, self._updates = (v.type for v in op.operands)
        self._axis = _accesses(op, [Index.of(0)] * self._updates.rank)[1].index.index(None)
        self._split = self._split_dim()
        self._tile = self._tile_size()

    def emit(self) -> int:
        """Write the body; returns the number of units."""
        dtype = self._base.dtype
        units = 1 if self._split is None else -(-self._base.shape[self._split] // self._tile)
        with self.source.block("for unit in range(lo, hi):") as depth:
            unit = Index.variable("unit", 0, units - 1, depth)
            if dtype in HALVES:
                # Sums of half precisions are carried in f32 and rounded once.
                self._pointer = self._sums()
                self._over_base(unit, lambda at: self._store(at, self.elements.of(self.op.operands[0], at)))
                self._over_updates(unit, self._accumulate)
                self._over_base(unit, self._round)
            else:
                self._pointer = self._result
                if not self._in_place:
                    self._over_base(unit, lambda at: self._store(at, self.elements.of(self.op.operands[0], at)))
                self._over_updates(unit, self._accumulate)
        return units

    # --- the axis that is split

    def _split_dim(self) -> int | None:
        """The dimension of the base to split: the last one longer than 1 on which base and updates agree."""
        dims = [d for d, n in enumerate(self._base.shape) if d != self._axis and n > 1]
        return dims[-1] if dims else None

    def _tile_size(self) -> int:
        if self._split is None:
            return 1
        size = self._base.shape[self._split]
        per_element = (self._base.size + self._updates.size) // size
        wanted = max(1, elements_per_unit(2 * self._base.dtype.itemsize) // max(1, per_element))
        if self._split == self._base.rank - 1:
            wanted = max(wanted, WIDE_TILE)
        return best_tile(size, wanted)

    # --- loops

    def _over_base(self, unit: Index, body: Callable[[Sequence[Index]], None]) -> None:
        """Every place of the base that belongs to the unit."""
        self._loops(unit, "b", self._base.shape, self._split, body)

    def _over_updates(self, unit: Index, body: Callable[[Sequence[Index]], None]) -> None:
        """Every update whose place belongs to the unit, in row-major order."""
        self._loops(unit, "u", self._updates.shape, self._update_split(), body)

    def _update_split(self) -> int | None:
        """The dimension of the updates that the split dimension of the base goes with."""
        if self._split is None:
            return None
        probes = [Index.variable(f"u{d}", 0, 1, 0) for d in range(self._updates.rank)]
        place = _accesses(self.op, probes)[1].index[self._split]
        return next(d for d, probe in enumerate(probes) if probe.same(place))

    def _loops(
        self,
        unit: Index,
        prefix: str,
        shape: Sequence[int],
        split: int | None,
        body: Callable[[Sequence[Index]], None],
        at: tuple[Index, ...] = (),
    ) -> None:
        dim = len(at)
        if dim == len(shape):
            body(at)
            return
        if shape[dim] == 0:
            return
        block, tile = (unit, self._tile) if dim == split else (Index.of(0), shape[dim])
        with tile_loop(self.source, f"{prefix}{dim}", block, tile, shape[dim]) as variable:
            self._loops(unit, prefix, shape, split, body, (*at, variable))

    # --- what is done at a place

    def _accumulate(self, at: Sequence[Index]) -> None:
        indices, data = _accesses(self.op, at)
        index_element = self.elements.of(self.op.operands[1], indices.index)
        place = self.elements.checked_index(index_element, self._base.shape[self._axis])
        target = [place if i is None else i for i in data.index]
        update = self.elements.of(self.op.operands[2], at)
        dtype, linear = self._base.dtype.accumulator, self._place(target)
        before = self.elements.load_from(self._pointer, dtype, linear, "before", self.source.depth)
        after = self.elements.apply(lambda s, a, b: s.call("add", a, b), (before, update), dtype, "after")
        self.elements.store_to(self._pointer, dtype, linear, after)

    def _store(self, at: Sequence[Index], element: Expression) -> None:
        self.elements.store_to(self._pointer, self._base.dtype.accumulator, self._place(at), element)

    def _round(self, at: Sequence[Index]) -> None:
        total = self.elements.load_from(
            self._pointer, self._base.dtype.accumulator, self._place(at), "total", self.source.depth
        )
        self.elements.store_to(self._result, self._base.dtype, ravel(at, self._base.shape), total)

    def _place(self, at: Sequence[Index]) -> Index:
        """Where the sum for a place of the base is: in the result, or in the unit's part of it in scratch memory."""
        if self._pointer == self._result:
            return ravel(at, self._base.shape)
        shape = [self._tile if d == self._split else n for d, n in enumerate(self._base.shape)]
        return ravel([i % self._tile if d == self._split else i for d, i in enumerate(at)], shape)

    def _sums(self) -> str:
        split = 1 if self._split is None else self._base.shape[self._split]
        pointer = self.scratch.take(self._base.dtype, self._base.size // split * self._tile, "sums")
        assert pointer is not None
        return pointer


def _accesses(op: Op, at: Sequence[Index]) -> Sequence[Access]:
    record = lookup(op.name)
    assert record.index_map is not None
    return record.index_map(op, tuple(at))
