"""Reductions along rows, where memory runs along a reduced axis: row after row, accumulating in variables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from graphc.codegen.index import Index
from graphc.codegen.kernels.accumulator import Accumulator, Extremum
from graphc.codegen.kernels.iteration import Grid, best_tile, elements_per_unit, split_rows
from graphc.codegen.kernels.one_hot import place_of_term
from graphc.codegen.kernels.passes import Passes, ReducedLoops, converted
from graphc.codegen.kernels.reduction_plan import Pass
from graphc.codegen.scalar_text import Expression
from graphc.ir.graph import Op, Value
from graphc.ir.kernel_facts import can_fault, ops_behind
from graphc.ir.ops.arithmetic import highest
from graphc.ir.types import i64

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
        """One pass over a row, if there is anything to do at each of its places."""
        single = {op: place for op in sweep.reduces if (place := self._place_of_term(op)) is not None}
        sweep = replace(sweep, reduces=[op for op in sweep.reduces if op not in single])
        accumulators = {op: (Accumulator if Accumulator(op).rule.combine else Extremum)(op) for op in sweep.reduces}
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
        for value, pointer in kept.items():
            self._bind_kept(value, pointer)
        for op, a in accumulators.items():
            result = Expression(cells[op][-1], a.cells[-1].dtype, self.source.depth)
            self._bind_result(op, self._position_of(a, result) if isinstance(a, Extremum) else result)
        for op, place in single.items():
            self._bind_result(op, self._only_term(op, place))

    def _place_of_term(self, op: Op) -> Value | None:
        """Where along the row the only term of a sum is; None if there may be several, or others can fault."""
        place = place_of_term(op) if self.n_reduced and len(self.reduced_axes) == 1 else None
        if place is None or any(map(can_fault, ops_behind(op.operands[0]) - ops_behind(place))):
            return None
        return place

    def _only_term(self, op: Op, place: Value) -> Expression:
        """The element, at a place of the row, of which all others are zero; zero where the place is not in the row."""
        (axis,) = self.reduced_axes
        before = dict(self.variables)
        self.variables[axis] = Index.of(0)
        wanted = self.elements.of(place, self.full_index())
        at = wanted.index
        if at is None or at.low < 0 or at.high >= axis.size:
            # Moved into the row; the element is not the term then, so it is zero like the others.
            depth = max(wanted.depth, self.source.guard_depth)
            name = self.source.fresh("term_at")
            text = converted(wanted.text, wanted.dtype, i64)
            self.source.line(f"{name} = maximum(0, minimum({text}, {axis.size - 1}))", depth=depth)
            at = Index.variable(name, 0, axis.size - 1, depth)
        self.variables[axis] = at
        found = self.elements.of(op.operands[0], self.full_index())
        self.variables = before
        return replace(found, dtype=found.dtype.accumulator)

    def _position_of(self, accumulator: Extremum, best: Expression) -> Expression:
        """The first position of the element that an op looks for."""
        dtype, depth = accumulator.position_dtype, self.source.depth
        least = self.source.fresh(f"{accumulator.op.name}_at")
        self.source.line(f"{least} = {self.elements.constant(highest(dtype), dtype).text}")

        def body() -> None:
            index = self.full_index()
            x = self.elements.of(accumulator.op.operands[0], index)
            after = accumulator.least_position(self.elements, best, x, self.position(index), least)
            self.source.line(f"{least} = {after}")

        self.nest(ReducedLoops.over(self.reduced_axes, None), body, lambda: None, lambda: None)
        return self.elements.scalars.assign(Expression(f"cast_i64({least})", i64, depth), i64, accumulator.op.name)

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
