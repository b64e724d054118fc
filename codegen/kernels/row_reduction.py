"""Reductions along rows, where memory runs along a reduced axis: row after row, accumulating in variables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphc.codegen.index import Index
from graphc.codegen.kernels.accumulator import Accumulator
from graphc.codegen.kernels.iteration import Grid, best_tile, elements_per_unit, split_rows
from graphc.codegen.kernels.passes import Passes, ReducedLoops, converted
from graphc.codegen.kernels.reduction_plan import Pass
from graphc.codegen.scalar_text import Expression
from graphc.ir.graph import Op, Value

BLOCK = 4096  # how many elements of a sum are added up before they join the total; vector lanes divide it further


class RowReduction(Passes):
    """Emits the loops of one kernel."""

    def emit(self, element_bytes: int) -> Grid:
        """Write the body; returns its units, which are blocks of rows."""
        rows = math.prod(a.size for a in self.kept_axes)
        tile = best_tile(rows, max(1, elements_per_unit(element_bytes) // max(1, self.n_reduced)))
        grid = Grid(rows, 1, tile, 1)
        with grid.unit(self.source) as (block, _), grid.row_loop(self.source, block, "row") as row:
            self.variables = dict(zip(self.kept_axes, split_rows(self.source, self.kept_axes, row), strict=True))
            for sweep in self.plan.passes:
                self._sweep(sweep)
            self.store_reduced()
        return grid

    def _sweep(self, sweep: Pass) -> None:
        """One pass over a row."""
        accumulators = {op: Accumulator(op) for op in sweep.reduces}
        in_blocks = any(a.is_rounded_sum for a in accumulators.values())
        loops = ReducedLoops.over(self.reduced_axes, BLOCK if in_blocks else None)
        cells = {op: [self.source.fresh(c.hint) for c in a.cells] for op, a in accumulators.items()}
        totals = {op: self.source.fresh("total") for op, a in accumulators.items() if loops.level and a.is_rounded_sum}
        for op, a in accumulators.items():
            if op in totals:
                self.source.line(f"{totals[op]} = {self.elements.constant(0.0, a.total_dtype).text}")
            else:
                self._start(a, cells[op])
        kept = self._kept(sweep)

        def begin_block() -> None:
            for op in totals:
                self._start(accumulators[op], cells[op])

        def end_block() -> None:
            for op, total in totals.items():
                partial = converted(cells[op][0], accumulators[op].dtype, accumulators[op].total_dtype)
                self.source.line(f"{total} = {total} + {partial}")

        if self.n_reduced:
            self.nest(loops, lambda: self._body(sweep, accumulators, cells, kept), begin_block, end_block)
        for op, total in totals.items():
            self.source.line(
                f"{cells[op][0]} = {converted(total, accumulators[op].total_dtype, accumulators[op].dtype)}"
            )
        for op, a in accumulators.items():
            self._bind_result(op, Expression(cells[op][-1], a.cells[-1].dtype, self.source.depth))
        for value, pointer in kept.items():
            self._bind_kept(value, pointer)

    def _start(self, accumulator: Accumulator, cells: Sequence[str]) -> None:
        for name, cell in zip(cells, accumulator.cells, strict=True):
            self.source.line(f"{name} = {self.elements.constant(cell.initial, cell.dtype).text}")

    def _body(
        self, sweep: Pass, accumulators: dict[Op, Accumulator], cells: dict[Op, list[str]], kept: dict[Value, str]
    ) -> None:
        """What is done at each place of a row."""
        index = self.full_index()
        computed = self.compute(sweep)
        for value, pointer in kept.items():
            if pointer:
                element = self.elements.of(value, index)
                self.elements.store_to(pointer, value.type.dtype.accumulator, self.reduced_place(index), element)
        for x, (op, a) in zip(computed, accumulators.items(), strict=True):
            state = [Expression(n, c.dtype, self.source.depth) for n, c in zip(cells[op], a.cells, strict=True)]
            advanced = a.advance(self.elements, state, x, self.position(index))
            for name, text in zip(cells[op], advanced, strict=True):
                self.source.line(f"{name} = {text}")

    # --- from pass to pass

    def _bind_result(self, op: Op, acc: Expression) -> None:
        result = self.rounded(op, acc)
        self.elements.bind(op.result, lambda index: result if self.is_here(index, op.result) else None, result.depth)

    def _kept(self, sweep: Pass) -> dict[Value, str]:
        """A row of scratch memory for each value to keep, where there is room; "" for a result: that is in memory."""
        found: dict[Value, str] = {}
        for value in sweep.keeps:
            assert value.op is not None
            if value in self.plan.region.results:
                found[value] = ""
                continue
            row = self.scratch.take(value.type.dtype, self.n_reduced, f"{value.op.name}_row", required=False)
            if row is not None:
                found[value] = row
        return found

    def _bind_kept(self, value: Value, pointer: str) -> None:
        depth = self.source.depth

        def element(index: Sequence[Index]) -> Expression | None:
            if not self.is_here(index, value):
                return None
            if not pointer:
                return self.elements.load_result(value, index, depth)
            return self.load_scratch(pointer, value, self.reduced_place(index), depth)

        self.elements.bind(value, element, depth)
