"""Sums of products by register tiles: the loops around the micro-kernel within a unit of work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from graphc.codegen.expression import Elements, origin
from graphc.codegen.index import Index
from graphc.codegen.kernels.contraction_loops import Span, loop, n_blocks, parts, span, when
from graphc.codegen.kernels.contraction_packing import left_operand, right_operand
from graphc.codegen.kernels.contraction_plan import Roles
from graphc.codegen.kernels.contraction_sums import InResult, InScratch, Sums, in_result
from graphc.codegen.kernels.contraction_tiles import Tiling
from graphc.codegen.kernels.scratch import Scratch
from graphc.ir.graph import Value


class TileProducts:
    """For each block of k: pack what the unit needs of the right operand, then, part by part, of the left one, and
    multiply them tile by tile."""

    def __init__(self, elements: Elements, roles: Roles, slots: Mapping[Value, int], scratch: Scratch, tiling: Tiling):
        self.tiling = tiling
        self._source = elements.source
        self._roles = roles
        self._scratch = scratch
        self._shared = (elements, roles, slots, scratch, tiling)

    def sums(self, result: str | None) -> Sums:
        """Where to sum: in the parameter `result`, if its rows are whole vectors."""
        n = self._roles.extent(self._roles.right.own)
        if result is not None and n % self.tiling.lanes == 0:
            found = in_result(self._roles, result)
            if found is not None and found.column == 1:
                return found
        columns = -(-self.tiling.n_block // self.tiling.lanes) * self.tiling.lanes
        return InScratch(self._roles, self._scratch, self.tiling.m_block, columns)

    def write(self, batch: Index, rows: Span, columns: Span, sums: InResult | InScratch) -> None:
        """Write the loops of one unit."""
        source, tiling = self._source, self.tiling
        left, right = left_operand(*self._shared), right_operand(*self._shared)
        extent = self._roles.extent(self._roles.k)
        blocks = n_blocks(extent, tiling.k_block)
        with loop(source, "k_index", blocks) as k_index:
            k = span(source, "k", k_index, extent, tiling.k_block, 1)
            right.prepare(batch, columns, k)
            accumulate = "False" if blocks == 1 else f"{k_index.text} > 0"
            with parts(source, rows, tiling.m_part, tiling.rows) as (part, before):
                left.prepare(batch, part, k)
                source.comment(f"{origin(self._roles.op)} sum the products".strip())

                def multiply(panel: Index, vectors: int, first: Index, height: int, tiles: Index) -> None:
                    target = sums.pointer(batch, rows, columns, before + first * tiling.rows, panel * tiling.panel)
                    source.line(
                        f"micro_kernel({height}, {vectors}, {tiling.lanes}, "
                        f"{left.tile(batch, part, first, k)}, {left.row}, {left.step}, {left.next}, "
                        f"{right.tile(batch, columns, panel, k)}, {right.step}, "
                        f"{target}, {sums.row}, {tiles.text}, {k.size.text}, {accumulate})"
                    )

                for panel, vectors in self._panels(columns):
                    if part.tiles.high > 0:
                        multiply(panel, vectors, Index.of(0), tiling.rows, part.tiles)
                    if part.has_edge is not False:
                        with when(source, part.has_edge):
                            multiply(panel, vectors, part.tiles, tiling.edge_rows, Index.of(1))

    def _panels(self, columns: Span) -> Iterator[tuple[Index, int]]:
        """Open a loop over the whole panels of a block, then the place of its last, smaller one; yields the number of
        the panel and its vectors."""
        if columns.tiles.high > 0:
            with loop(self._source, "panel", columns.tiles) as panel:
                yield panel, self.tiling.vectors
        if columns.has_edge is not False:
            with when(self._source, columns.has_edge):
                yield columns.tiles, self.tiling.edge_vectors
