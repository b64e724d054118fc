"""Loop kernels: every element of the results is computed on its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphc.codegen.expression import Elements
from graphc.codegen.index import Index
from graphc.codegen.kernel import Kernel
from graphc.codegen.kernels.iteration import (
    Axis,
    flat_grid,
    index_over,
    join_axes,
    nested_grid,
    probe_variables,
    split_rows,
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
    axes, inner, transposed = _plan(op, slots, shape)
    outer = [a for a in axes if a is not inner]
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
        outer_variables = dict(zip(outer, split_rows(source, outer, row), strict=True))
        with grid.column_loop(source, column_block, "i" if not outer else "j") as column:
            variables = [column if a is inner else outer_variables[a] for a in axes]
            _store_all(elements, index_over(shape, axes, variables))
    return Kernel(source.text(), params, grid.units)


def _store_all(elements: Elements, index: Sequence[Index]) -> None:
    """Compute every result's element, then store them all: a result may take the place of an operand."""
    computed = [elements.of(result, index) for result in elements.region.results]
    for number, element in enumerate(computed):
        elements.store(number, index, element)


def _plan(op: Op, slots: tuple[int, ...], shape: Sequence[int]) -> tuple[list[Axis], Axis, bool]:
    """The loops, which of them is innermost, and whether some operand is read across them."""
    (region,) = op.regions
    trial = Elements(region, slots, Source("trial"))
    _store_all(trial, probe_variables(trial.source, shape))
    axes = join_axes(shape, trial.used) or [Axis((), 1)]

    def unit_strides(axis: Axis) -> int:
        return sum(abs(place.coefficient(f"d{axis.dims[-1]}")) == 1 for place in trial.places) if axis.dims else 0

    best = max(reversed(axes), key=unit_strides)
    strided = any(
        abs(place.coefficient(f"d{best.dims[-1]}")) > 1
        and any(abs(place.coefficient(f"d{a.dims[-1]}")) == 1 for a in axes)
        for place in (trial.places if best.dims else ())
    )
    return axes, best, strided
