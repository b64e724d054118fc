"""Loop kernels: every element of the results is computed on its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphc.codegen.expression import Elements
from graphc.codegen.index import Index
from graphc.codegen.kernel import Kernel
from graphc.codegen.kernels.iteration import (
    Axis,
    best_last,
    flat_grid,
    index_over,
    join_axes,
    nested_grid,
    probe_variables,
    split_rows,
    unit_strides,
)
from graphc.codegen.kernels.signature import describe, parameters, signature
from graphc.codegen.source import Source
from graphc.ir.graph import Op
from graphc.ir.target import Target


def emit_loop(op: Op, slots: tuple[int, ...], target: Target) -> Kernel:
    """The kernel of a fused op of kind "loop". Neighbouring axes that every access treats as one become one loop; the
    innermost loop runs along the axis with the most unit-stride accesses."""
    (region,) = op.regions
    params = parameters(region, slots)
    shape = region.results[0].type.shape
    source = Source(signature(params), describe(op, slots))
    if math.prod(shape) == 0:
        return Kernel(source.text(), params, 0)
    axes, transposed = _plan(op, slots, shape)
    *outer, inner = axes
    rows = math.prod(a.size for a in outer)
    element_bytes = sum(v.type.dtype.itemsize for v in (*region.args, *region.results))
    if outer:
        grid = nested_grid(rows, inner.size, element_bytes, transposed)
    else:
        grid = flat_grid(inner.size, element_bytes)
    elements = Elements(region, slots, source)
    with (
        grid.unit(source) as (row_block, column_block),
        grid.row_loop(source, row_block, "row") as row,
    ):
        variables = split_rows(source, outer, row)
        with grid.column_loop(source, column_block, "j" if outer else "i") as column:
            _store_all(elements, index_over(shape, axes, [*variables, column]))
    return Kernel(source.text(), params, grid.units)


def _store_all(elements: Elements, index: Sequence[Index]) -> None:
    """Compute every result's element, then store them all: a result may take the place of an operand."""
    computed = [elements.of(result, index) for result in elements.region.results]
    for number, element in enumerate(computed):
        elements.store(number, index, element)


def _plan(op: Op, slots: tuple[int, ...], shape: Sequence[int]) -> tuple[list[Axis], bool]:
    """The loops, outermost first, and whether some operand is read across them."""
    (region,) = op.regions
    trial = Elements(region, slots, Source("trial"))
    _store_all(trial, probe_variables(trial.source, shape))
    axes = best_last(join_axes(shape, trial.used) or [Axis((), 1)], trial.places)
    inner = f"d{axes[-1].dims[-1]}" if axes[-1].dims else ""
    strided = any(
        abs(place.coefficient(inner)) > 1 and any(unit_strides(a, [place]) for a in axes) for place in trial.places
    )
    return axes, strided
