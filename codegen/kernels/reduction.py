"""Reduction kernels: several reductions of one space, with what comes before and after them."""

from __future__ import annotations

import math

from graphc.codegen.expression import Elements
from graphc.codegen.index import Index, ravel, unravel
from graphc.codegen.kernel import Kernel
from graphc.codegen.kernels.column_reduction import ColumnReduction
from graphc.codegen.kernels.iteration import Axis, join_axes, probe_variables
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
    """The kernel of a fused op of kind "reduction". Where the innermost axis is reduced, it goes row by row; where it
    is kept, by tiles of columns, so that the innermost loop has unit stride either way."""
    (region,) = op.regions
    params = parameters(region, slots)
    plan = plan_reduction(region)
    source = Source(signature(params), describe(op, slots))
    if math.prod(plan.kept_sizes) == 0:
        return Kernel(source.text(), params, 0)
    axes = _axes(plan, slots)
    elements = Elements(region, slots, source)
    scratch = Scratch(source, target.l2_bytes // 2)
    element_bytes = sum(v.type.dtype.itemsize for v in (*region.args, *region.results) if v.type.shape == plan.shape)
    emitter = ColumnReduction if _by_columns(plan, axes) else RowReduction
    grid = emitter(plan, elements, axes, scratch).emit(element_bytes)
    return Kernel(source.text(), params, grid.units, scratch.nbytes)


def _axes(plan: ReductionPlan, slots: tuple[int, ...]) -> list[Axis]:
    """The loops, found by a dry run."""
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
    return join_axes(plan.shape, trial.used, plan.space.axes)


def _by_columns(plan: ReductionPlan, axes: list[Axis]) -> bool:
    innermost = axes[-1] if axes else None
    if innermost is None or innermost.dims[0] in plan.space.axes:
        return False
    return innermost.size >= min(NARROW, math.prod(plan.reduced_sizes))
