"""Contraction kernels: sums of products with a prologue on either operand and an epilogue on the result.

The loops are those of Goto and van de Geijn (2008) and of BLIS (Van Zee and van de Geijn, 2015), less the outermost: a
unit of work is one block of the result. For each block of k the unit packs its part of the operands and adds the
products, register tile by register tile, to a tile in scratch memory; then the epilogue runs over that tile. The order
of summation depends on the shape and the target alone.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    source = Source(signature(params), describe(op))
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
        direct = self._row_of_result() if self._k else None
        self._row = direct or -(-self._tiling.n_block // self._tiling.lanes) * self._tiling.lanes
        self._direct = direct is not None
        if self._k:
            arguments = dict(zip(self._region.args, self._slots, strict=False))
            shared = (self._elements, self._roles, arguments, self.scratch, self._tiling)
            self._left, self._right = left_operand(*shared), right_operand(*shared)
            if not self._direct:
                self._tile = self.scratch.take(self._roles.accumulator, self._tiling.m_block * self._row, "tile")
        extents = (self._batches, self._m, self._n)
        with unit_loop(self._source, *extents, self._tiling) as (batch, rows, columns):
            if self._k:
                self._products(batch, rows, columns)
            if not self._direct:
                self._epilogue(batch, rows, columns)

    def _row_of_result(self) -> int | None:
        """The distance of the result's rows, where the products can be summed in the result itself: it is all that the
        kernel gives, has the accumulator's type, and whole vectors fill its rows."""
        roles, result = self._roles, self._roles.op.result
        if self._region.results != [result] or result.type.dtype != roles.accumulator or self._n % self._tiling.lanes:
            return None
        probes = [Index.variable(x, 0, n - 1, 1) for x, n in zip("bmn", (self._batches, self._m, self._n), strict=True)]
        place = ravel(roles.out_index(*probes), result.type.shape)
        row, column = stride(place, "m"), stride(place, "n")
        return (row or self._n) if row is not None and column == 1 else None

    # --- the sums of products

    def _products(self, batch: Index, rows: Span, columns: Span) -> None:
        blocks = n_blocks(self._k, self._tiling.k_block)
        with loop(self._source, "k_index", blocks) as k_index:
            k = span(self._source, "k", k_index, self._k, self._tiling.k_block, 1)
            self._right.prepare(batch, columns, k)
            self._left.prepare(batch, rows, k)
            self._source.comment(f"{origin(self._roles.op)} sum the products".strip())
            accumulate = "False" if blocks == 1 else f"{k_index.text} > 0"
            if columns.tiles.high > 0:
                with loop(self._source, "panel", columns.tiles) as panel:
                    self._panel(batch, rows, columns, k, panel, self._tiling.vectors, accumulate)
            if columns.has_edge is not False:
                with when(self._source, columns.has_edge):
                    self._panel(batch, rows, columns, k, columns.tiles, self._tiling.edge_vectors, accumulate)

    def _panel(
        self, batch: Index, rows: Span, columns: Span, k: Span, panel: Index, vectors: int, accumulate: str
    ) -> None:
        """One panel of the right operand against every register tile of rows."""

        def tiles(first: Index, height: int, count: Index) -> None:
            left = self._left.tile(batch, rows, first, k)
            right = self._right.tile(batch, columns, panel, k)
            target = self._target(batch, rows, columns, first, panel)
            self._source.line(
                f"micro_kernel({height}, {vectors}, {self._tiling.lanes}, {left}, {self._left.row}, {self._left.step}, "
                f"{right}, {self._right.step}, {target}, {self._row}, {count.text}, {k.size.text}, {accumulate})"
            )

        if rows.tiles.high > 0:
            tiles(Index.of(0), self._tiling.rows, rows.tiles)
        if rows.has_edge is not False:
            with when(self._source, rows.has_edge):
                tiles(rows.tiles, self._tiling.edge_rows, Index.of(1))

    def _target(self, batch: Index, rows: Span, columns: Span, number: Index, panel: Index) -> str:
        """The pointer to a register tile's place in the scratch tile or in the result."""
        i, j = number * self._tiling.rows, panel * self._tiling.panel
        if not self._direct:
            return pointer(self._tile, i * self._row + j)
        place = ravel(self._roles.out_index(batch, rows.at(i), columns.at(j)), self._roles.op.result.type.shape)
        return pointer(f"p{self._slots[len(self._region.args)]}", place)

    # --- what follows them

    def _epilogue(self, batch: Index, rows: Span, columns: Span) -> None:
        self._source.comment("compute and store the results")
        with loop(self._source, "i", rows.size) as i:
            m = let(self._source, "m", rows.at(i))
            with loop(self._source, "j", columns.size) as j:
                depth = self._source.depth
                self._elements.bind(self._roles.op.result, lambda at: self._total(i * self._row + j), depth)
                index = self._roles.out_index(batch, m, columns.at(j))
                computed = [self._elements.of(result, index) for result in self._region.results]
                for number, element in enumerate(computed):
                    self._elements.store(number, index, element)

    def _total(self, place: Index) -> Expression:
        """The sum of products, rounded to the contraction's own type."""
        elements, accumulator = self._elements, self._roles.accumulator
        if self._k == 0:
            return elements.constant(0, accumulator)
        read = Expression(f"{self._tile}[{place.text}]", accumulator, self._source.depth, atomic=False)
        total = elements.scalars.assign(read, accumulator, "total")
        dtype = self._roles.op.result.type.dtype
        return elements.apply(lambda s, x: x, [total], dtype, "contract") if dtype != accumulator else total
