"""Reductions along columns, where memory runs along a kept axis: a tile of columns at a time, accumulating in memory
that stays in the nearest cache, so that the innermost loop runs along the columns and is vector code."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from graphc.codegen.index import Index, unravel
from graphc.codegen.kernels.accumulator import Accumulator
from graphc.codegen.kernels.iteration import Grid, best_tile, elements_per_unit, split_rows
from graphc.codegen.kernels.passes import Passes, ReducedLoops, converted
from graphc.codegen.kernels.reduction_plan import Pass
from graphc.codegen.scalar_text import Expression
from graphc.ir.graph import Op, Value
from graphc.ir.types import DType

COLUMNS = (64, 256)  # the fewest and the most in a tile, where tiles are what makes units
WIDE = 1024  # the most where there are units without: whole rows are read fastest
ENOUGH_UNITS = 8  # for threads to share
BLOCK = 256  # how many rows of a sum are added up before they join the total


class ColumnReduction(Passes):
    """Emits the loops of one kernel. `_column` is the place in the tile, of `_width` columns, that the loops are at."""

    _first: Index
    _width: str
    _column: Index
    _tile: int

    def emit(self, element_bytes: int) -> Grid:
        """Write the body; returns its units: tiles of columns, for blocks of what is kept outside of them."""
        outer, inner = self.kept_axes[:-1], self.kept_axes[-1]
        rows = math.prod(a.size for a in outer)
        columns = elements_per_unit(element_bytes) // max(1, self.n_reduced)
        fewest, most = COLUMNS if rows < ENOUGH_UNITS else (WIDE, WIDE)
        self._tile = best_tile(inner.size, min(max(columns, fewest), most))
        tile_rows = best_tile(rows, max(1, columns // self._tile))
        grid = Grid(rows, inner.size, tile_rows, self._tile)
        with grid.unit(self.source) as (row_block, column_block):
            self._open_tile(column_block)
            with grid.row_loop(self.source, row_block, "row") as row:
                outer_variables = dict(zip(outer, split_rows(self.source, outer, row), strict=True))
                self.variables = {**outer_variables, inner: self._first}
                for sweep in self.plan.passes:
                    self._sweep(sweep)
                with self._columns():
                    self.store_reduced()
        return grid

    # --- the tile of columns

    def _open_tile(self, block: Index) -> None:
        size = self.kept_axes[-1].size
        self._first, self._width = block * self._tile, str(self._tile)
        if self._first.known is None:
            depth = self.source.depth
            self.source.line(f"first = {self._first.text}")
            if size % self._tile:
                self.source.line(f"width = minimum({self._tile}, {size} - first)")
                self._width = "width"
            self._first = Index.variable("first", 0, size - 1, depth)

    @contextmanager
    def _columns(self) -> Iterator[None]:
        """Loop over the columns of the tile."""
        inner = self.kept_axes[-1]
        before = self.variables[inner]
        with self.source.block(f"for j in range({self._width}):") as depth:
            self._column = Index.variable("j", 0, self._tile - 1, depth)
            self.variables[inner] = (self._first + self._column).within(0, inner.size - 1)
            yield
        self.variables[inner] = before

    # --- passes

    def _sweep(self, sweep: Pass) -> None:
        """One pass over the tile."""
        accumulators = {op: Accumulator(op) for op in sweep.reduces}
        in_blocks = any(a.is_rounded_sum for a in accumulators.values())
        loops = ReducedLoops.over(self.reduced_axes, BLOCK if in_blocks else None)
        cells = {op: [self._line(c.dtype, c.hint) for c in a.cells] for op, a in accumulators.items()}
        totals = {
            op: self._line(a.total_dtype, "total") for op, a in accumulators.items() if loops.level and a.is_rounded_sum
        }
        kept = self._kept(sweep)
        if accumulators:
            with self._columns():
                for op, a in accumulators.items():
                    if op in totals:
                        self._write(totals[op], a.total_dtype, self.elements.constant(0.0, a.total_dtype).text)
                    else:
                        self._start(a, cells[op])

        def begin_block() -> None:
            if totals:
                with self._columns():
                    for op in totals:
                        self._start(accumulators[op], cells[op])

        def end_block() -> None:
            if totals:
                with self._columns():
                    for op, total in totals.items():
                        a = accumulators[op]
                        partial = converted(self._read(cells[op][0], a.dtype).text, a.dtype, a.total_dtype)
                        self._write(total, a.total_dtype, f"{self._read(total, a.total_dtype).text} + {partial}")

        def body() -> None:
            with self._columns():
                self._body(sweep, accumulators, cells, kept)

        if self.n_reduced:
            self.nest(loops, body, begin_block, end_block)
        if totals:
            with self._columns():
                for op, total in totals.items():
                    a = accumulators[op]
                    self._write(
                        cells[op][0], a.dtype, converted(self._read(total, a.total_dtype).text, a.total_dtype, a.dtype)
                    )
        for op, a in accumulators.items():
            self._bind_result(op, cells[op][-1], a.cells[-1].dtype)
        for value, pointer in kept.items():
            self._bind_kept(value, pointer)
        self._spread(sweep)

    def _body(
        self, sweep: Pass, accumulators: dict[Op, Accumulator], cells: dict[Op, list[str]], kept: dict[Value, str]
    ) -> None:
        """What is done at each place."""
        index = self.full_index()
        computed = self.compute(sweep)
        for value, pointer in kept.items():
            if pointer:
                element = self.elements.of(value, index)
                self.elements.store_to(pointer, value.type.dtype.accumulator, self._kept_at(index), element)
        for x, (op, a) in zip(computed, accumulators.items(), strict=True):
            state = [self._read(p, c.dtype) for p, c in zip(cells[op], a.cells, strict=True)]
            advanced = a.advance(self.elements, state, x, self.position(index))
            for pointer, cell, text in zip(cells[op], a.cells, advanced, strict=True):
                self._write(pointer, cell.dtype, text)

    def _spread(self, sweep: Pass) -> None:
        """Compute what later passes read at every place, once for each column."""
        pointers = {}
        for value in sweep.spreads:
            assert value.op is not None
            pointers[value] = self._line(value.type.dtype, value.op.name)
        if not pointers:
            return
        with self._columns():
            computed = {v: self.elements.of(v, unravel(self.kept_place(), v.type.shape)) for v in pointers}
            for value, element in computed.items():
                self._write(pointers[value], value.type.dtype.accumulator, element.text)
        for value, pointer in pointers.items():
            self._bind_line(value, pointer)

    # --- lines of one value for each column

    def _line(self, dtype: DType, hint: str) -> str:
        pointer = self.scratch.take(dtype, self._tile, f"{hint}_line")
        assert pointer is not None
        return pointer

    def _read(self, pointer: str, dtype: DType) -> Expression:
        return self.elements.load_from(pointer, dtype, self._column, pointer.replace("_line", ""))

    def _write(self, pointer: str, dtype: DType, text: str) -> None:
        self.elements.store_to(pointer, dtype, self._column, Expression(text, dtype, self.source.depth))

    def _start(self, accumulator: Accumulator, cells: Sequence[str]) -> None:
        for pointer, cell in zip(cells, accumulator.cells, strict=True):
            self._write(pointer, cell.dtype, self.elements.constant(cell.initial, cell.dtype).text)

    # --- from pass to pass

    def _bind_result(self, op: Op, pointer: str, dtype: DType) -> None:
        def element(index: Sequence[Index]) -> Expression | None:
            return self.rounded(op, self._read(pointer, dtype)) if self.is_here(index, op.result) else None

        self.elements.bind(op.result, element, self.source.depth)

    def _bind_line(self, value: Value, pointer: str) -> None:
        def element(index: Sequence[Index]) -> Expression | None:
            if not self.is_here(index, value):
                return None
            return self.load_scratch(pointer, value, self._column, 0)

        self.elements.bind(value, element, self.source.depth)

    def _kept(self, sweep: Pass) -> dict[Value, str]:
        """Scratch memory for each value to keep, where there is room; "" for a result: that is in memory."""
        found: dict[Value, str] = {}
        for value in sweep.keeps:
            assert value.op is not None
            if value in self.plan.region.results:
                found[value] = ""
                continue
            count = self.n_reduced * self._tile
            rows = self.scratch.take(value.type.dtype, count, f"{value.op.name}_tile", required=False)
            if rows is not None:
                found[value] = rows
        return found

    def _kept_at(self, index: Sequence[Index]) -> Index:
        return self.reduced_place(index) * self._tile + self._column

    def _bind_kept(self, value: Value, pointer: str) -> None:
        depth = self.source.depth

        def element(index: Sequence[Index]) -> Expression | None:
            if not self.is_here(index, value):
                return None
            if not pointer:
                return self.elements.load_result(value, index, depth)
            return self.load_scratch(pointer, value, self._kept_at(index), depth)

        self.elements.bind(value, element, depth)
