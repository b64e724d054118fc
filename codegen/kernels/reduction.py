"""Reduction kernels: several reductions of one space, with what comes before and after them."""

from __future__ import annotations

import math

from graphc.codegen.expression import Elements
from graphc.codegen.index import Index, ravel, unravel
from graphc.codegen.kernel import Kernel
from graphc.codegen.kernels.column_reduction import ColumnReduction
from graphc.codegen.kernels.iteration import Axis, best_last, join_axes, probe_variables, unit_strides
from graphc.codegen.kernels.reduction_plan import ReductionPlan, plan_reduction
from graphc.codegen.kernels.row_reduction import RowReduction
from graphc.codegen.kernels.scratch import Scratch
from graphc.codegen.kernels.signature import describe, parameters, signature
from graphc.codegen.scalar_text import Expression
from graphc.codegen.source import Source
from graphc.ir.graph import Op
from graphc.ir.target import Target

NARROW = 8  # with fewer kept columns than this side by side, columns are reduced as rows are


def emit_reduction(op: Op, slots: tuple[int, ...], target: Target) -> Kernel:
    """The kernel of a fused op of kind "reduction". Where memory runs along a reduced axis, it goes row by row; where
    along a kept one, by tiles of columns; so the innermost loop has unit stride either way."""
    (region,) = op.regions
    params = parameters(region, slots)
    plan = plan_reduction(region)
    source = Source(signature(params), describe(op, slots))
    if math.prod(plan.kept_sizes) == 0:
        return Kernel(source.text(), params, 0)
    kept, reduced, by_columns = _axes(plan, slots)
    elements = Elements(region, slots, source)
    scratch = Scratch(source, target.l2_bytes // 2)
    full_size = plan.space.full.size
    element_bytes = sum(v.type.dtype.itemsize for v in (*region.args, *region.results) if v.type.size == full_size)
    emitter = ColumnReduction if by_columns else RowReduction
    grid = emitter(plan, elements, kept, reduced, scratch).emit(element_bytes)
    return Kernel(source.text(), params, grid.units, scratch.nbytes)


def _axes(plan: ReductionPlan, slots: tuple[int, ...]) -> tuple[list[Axis], list[Axis], bool]:
    """The loops over the kept and over the reduced axes, outermost first, and whether to go by columns: where more is
    read or written along the last kept axis than along the last reduced one."""
    trial = _dry_run(plan, slots)
    axes = join_axes(plan.shape, trial.used, plan.space.axes)
    # What has one element for each row or for each column hardly counts.
    names = [{f"d{d}" for d in dims if plan.shape[d] > 1} for dims in (plan.space.kept, plan.space.axes)]
    places = [p for p in trial.places if all(not group or group & p.terms.keys() for group in names)]
    kept = best_last([a for a in axes if a.dims[0] in plan.space.kept], places)
    reduced = best_last([a for a in axes if a.dims[0] in plan.space.axes], places)
    if not kept or kept[-1].size < min(NARROW, math.prod(plan.reduced_sizes)):
        return kept, reduced, False
    along_kept = unit_strides(kept[-1], places)
    along_reduced = unit_strides(reduced[-1], places) if reduced else 0
    if along_kept == along_reduced:
        return kept, reduced, axes[-1] in kept
    return kept, reduced, along_kept > along_reduced


def _dry_run(plan: ReductionPlan, slots: tuple[int, ...]) -> Elements:
    """The emitter after going over the space once, each dimension a loop of its own."""
    trial = Elements(plan.region, slots, Source("trial"))
    index = probe_variables(trial.source, plan.shape)
    kept = ravel([index[d] for d in plan.space.kept], plan.kept_sizes)
    for sweep in plan.passes:
        for op in sweep.reduces:
            trial.of(op.operands[0], index)
            dtype = op.result.type.dtype
            trial.bind(op.result, lambda at, dtype=dtype: Expression("0", dtype, 0), 0)  # type: ignore[misc]
        for number in sweep.stores:
            trial.store(number, index, trial.of(plan.region.results[number], index))
    for number in plan.reduced_results:
        at: tuple[Index, ...] = unravel(kept, plan.region.results[number].type.shape)
        trial.store(number, at, trial.of(plan.region.results[number], at))
    return trial
