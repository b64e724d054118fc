"""Contraction kernels: sums of products with a prologue on either operand and an epilogue on the result.

The loops are those of Goto and van de Geijn (2008) and of BLIS (Van Zee and van de Geijn, 2015), less the outermost: a
unit of work is one block of the result. For each block of k the unit packs its part of the operands and adds the
products, register tile by register tile, to a tile in scratch memory; then the epilogue runs over that tile. The order
of summation depends on the shape and the target alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from graphc.codegen.expression import Elements, Expression, origin
from graphc.codegen.index import Index, ravel
from graphc.codegen.kernel import Kernel
from graphc.codegen.kernels.contraction_loops import (
    Span,
    let,
    loop,
    n_blocks,
    pointer,
    span,
    unit_loop,
    when,
)
from graphc.codegen.kernels.contraction_packing import left_operand, right_operand
from graphc.codegen.kernels.contraction_plan import Roles, cost_of, roles_of, stride
from graphc.codegen.kernels.contraction_tiles import Tiling, choose_tiling
from graphc.codegen.kernels.scratch import Scratch
from graphc.codegen.kernels.signature import describe, parameters, signature
from graphc.codegen.source import Source
from graphc.ir.graph import Op
from graphc.ir.opdef import lookup
from graphc.ir.target import Target


def emit_contraction(op: Op, slots: tuple[int, ...], target: Target) -> Kernel:
    """The kernel of a fused op of kind "contraction". Its region holds one contract op on operands that pointwise,
    generate and layout ops compute from the arguments; pointwise ops may follow it."""
    (region,) = op.regions
    (contract,) = [inner for inner in region.ops if lookup(inner.name).kind == "contract"]
    params = parameters(region, slots)
    source = Source(signature(params), describe(op, slots))
    if contract.result.type.size == 0:
        return Kernel(source.text(), params, 0)
    roles = roles_of(contract)
    tiling = tiling_of(roles, target)
    emitter = _Emitter(op, slots, roles, tiling, source)
    emitter.write()
    return Kernel(source.text(), params, emitter.units, emitter.scratch.nbytes)


def tiling_of(roles: Roles, target: Target) -> Tiling:
    """How the contraction is cut."""
    batch, m, n, k = (roles.extent(x) for x in (roles.batch, roles.left.own, roles.right.own, roles.k))
    left, right = cost_of(roles.left.value), cost_of(roles.right.value)
    return choose_tiling(target, roles.accumulator.itemsize, batch, m, n, max(1, k), left > max(1, right))


class _InResult:
    """Sums of products that are kept in the result itself, rows `row` elements apart."""

    def __init__(self, roles: Roles, parameter: str, row: int):
        self._roles = roles
        self._parameter = parameter
        self.row = row

    def pointer(self, batch: Index, rows: Span, columns: Span, i: Index, j: Index) -> str:
        index = self._roles.out_index(batch, rows.at(i), columns.at(j))
        return pointer(self._parameter, ravel(index, self._roles.op.result.type.shape))


class _InScratch:
    """Sums of products that are kept in scratch memory until the epilogue has read them."""

    def __init__(self, roles: Roles, scratch: Scratch, tiling: Tiling):
        self.row = -(-tiling.n_block // tiling.lanes) * tiling.lanes
        self.buffer = scratch.take(roles.accumulator, tiling.m_block * self.row, "tile")

    def pointer(self, batch: Index, rows: Span, columns: Span, i: Index, j: Index) -> str:
        return pointer(self.buffer, i * self.row + j)


class _Emitter:
    """Writes one kernel."""

    def __init__(self, op: Op, slots: Sequence[int], roles: Roles, tiling: Tiling, source: Source):
        (region,) = op.regions
        self._roles = roles
        self._tiling = tiling
        self._source = source
        self._region = region
        self._slots = slots
        self._elements = Elements(region, slots, source)
        self._batches, self._m, self._n, self._k = (
            roles.extent(letters) for letters in (roles.batch, roles.left.own, roles.right.own, roles.k)
        )
        self.scratch = Scratch(source)

    @property
    def units(self) -> int:
        return self._batches * n_blocks(self._m, self._tiling.m_block) * n_blocks(self._n, self._tiling.n_block)

    def write(self) -> None:
        with unit_loop(self._source, self._batches, self._m, self._n, self._tiling) as (batch, rows, columns):
            if self._k == 0:
                zero = self._elements.constant(0, self._roles.accumulator)
                self._epilogue(batch, rows, columns, lambda i, j: zero)
                return
            sums = self._sums()
            self._products(batch, rows, columns, sums)
            if isinstance(sums, _InScratch):
                self._epilogue(batch, rows, columns, lambda i, j: self._total(sums.buffer, i * sums.row + j))

    def _sums(self) -> _InResult | _InScratch:
        """Where to sum: in the result itself, if that is all that the kernel gives, has the accumulator's type, and its
        rows are whole vectors."""
        roles, result = self._roles, self._roles.op.result
        if self._region.results == [result] and result.type.dtype == roles.accumulator:
            extents = zip("bmn", (self._batches, self._m, self._n), strict=True)
            probes = [Index.variable(name, 0, extent - 1, 1) for name, extent in extents]
            place = ravel(roles.out_index(*probes), result.type.shape)
            row, column = stride(place, "m"), stride(place, "n")
            if row is not None and column == 1 and self._n % self._tiling.lanes == 0:
                return _InResult(roles, f"p{self._slots[-1]}", row)
        return _InScratch(roles, self.scratch, self._tiling)

    # --- the sums of products

    def _products(self, batch: Index, rows: Span, columns: Span, sums: _InResult | _InScratch) -> None:
        """Go through the blocks of k: pack a block of both operands, multiply."""
        arguments = dict(zip(self._region.args, self._slots, strict=False))
        shared = (self._elements, self._roles, arguments, self.scratch, self._tiling)
        left, right = left_operand(*shared), right_operand(*shared)
        blocks = n_blocks(self._k, self._tiling.k_block)
        with loop(self._source, "k_index", blocks) as k_index:
            k = span(self._source, "k", k_index, self._k, self._tiling.k_block, 1)
            right.prepare(batch, columns, k)
            left.prepare(batch, rows, k)
            self._source.comment(f"{origin(self._roles.op)} sum the products".strip())
            accumulate = "False" if blocks == 1 else f"{k_index.text} > 0"

            def multiply(panel: Index, vectors: int, first: Index, height: int, tiles: Index) -> None:
                target = sums.pointer(batch, rows, columns, first * self._tiling.rows, panel * self._tiling.panel)
                self._source.line(
                    f"micro_kernel({height}, {vectors}, {self._tiling.lanes}, "
                    f"{left.tile(batch, rows, first, k)}, {left.row}, {left.step}, "
                    f"{right.tile(batch, columns, panel, k)}, {right.step}, "
                    f"{target}, {sums.row}, {tiles.text}, {k.size.text}, {accumulate})"
                )

            for panel, vectors in self._parts(columns, "panel", self._tiling.vectors, self._tiling.edge_vectors):
                if rows.tiles.high > 0:
                    multiply(panel, vectors, Index.of(0), self._tiling.rows, rows.tiles)
                if rows.has_edge is not False:
                    with when(self._source, rows.has_edge):
                        multiply(panel, vectors, rows.tiles, self._tiling.edge_rows, Index.of(1))

    def _parts(self, columns: Span, name: str, whole: int, edge: int) -> Iterator[tuple[Index, int]]:
        """Open a loop over the whole panels of a block, then the place of its last, smaller one; yields the number of
        the panel and its vectors."""
        if columns.tiles.high > 0:
            with loop(self._source, name, columns.tiles) as panel:
                yield panel, whole
        if columns.has_edge is not False:
            with when(self._source, columns.has_edge):
                yield columns.tiles, edge

    # --- what follows them

    def _epilogue(self, batch: Index, rows: Span, columns: Span, total: Callable[[Index, Index], Expression]) -> None:
        """Compute each result's element from the sum, then store them all: a result may take an operand's place."""
        self._source.comment("compute and store the results")
        with loop(self._source, "i", rows.size) as i:
            m = let(self._source, "m", rows.at(i))
            with loop(self._source, "j", columns.size) as j:
                self._elements.bind(self._roles.op.result, lambda at: total(i, j), self._source.depth)
                index = self._roles.out_index(batch, m, columns.at(j))
                computed = [self._elements.of(result, index) for result in self._region.results]
                for number, element in enumerate(computed):
                    self._elements.store(number, index, element)

    def _total(self, buffer: str, place: Index) -> Expression:
        """The sum of products, rounded to the contraction's own type."""
        elements, accumulator = self._elements, self._roles.accumulator
        read = Expression(f"{buffer}[{place.text}]", accumulator, self._source.depth, atomic=False)
        total = elements.scalars.assign(read, accumulator, "total")
        dtype = self._roles.op.result.type.dtype
        return elements.apply(lambda s, x: x, [total], dtype, "contract") if dtype != accumulator else total
