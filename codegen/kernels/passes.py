"""What row and column reductions share: the place they are at, the loops over the reduced axes, and what is bound from
one pass to the next."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from graphc.codegen.expression import Elements
from graphc.codegen.index import Index, ravel, unravel
from graphc.codegen.kernels.iteration import Axis, best_tile, index_over, tile_loop
from graphc.codegen.kernels.reduction_plan import Pass, ReductionPlan
from graphc.codegen.kernels.scratch import Scratch
from graphc.codegen.scalar_text import HALVES, Expression
from graphc.ir.graph import Op, Value
from graphc.ir.types import DType


@dataclass(frozen=True)
class ReducedLoop:
    """A loop along a reduced axis: all of it, or (`tile` > 0) its tiles, or (`tile` < 0) what is in the current one."""

    axis: Axis
    name: str
    tile: int = 0

    @property
    def length(self) -> int:
        if self.tile > 0:
            return -(-self.axis.size // self.tile)
        return -self.tile or self.axis.size


@dataclass(frozen=True)
class ReducedLoops:
    """The loops of a pass, outermost first. Each run of those from number `level` inwards covers one block of what is
    summed up; with level 0 there is one block only."""

    loops: tuple[ReducedLoop, ...]
    level: int

    @staticmethod
    def over(axes: Sequence[Axis], block: int | None) -> ReducedLoops:
        """Blocks of at most `block` elements; None: no blocks."""
        loops = [ReducedLoop(a, f"k{a.dims[0]}") for a in axes]
        if block is None:
            return ReducedLoops(tuple(loops), 0)
        if axes and axes[-1].size > block:
            tile = best_tile(axes[-1].size, block)
            loops[-1:] = [ReducedLoop(axes[-1], "block", tile), ReducedLoop(axes[-1], loops[-1].name, -tile)]
        level, inside = len(loops), 1
        while level and inside * loops[level - 1].length <= block:
            level -= 1
            inside *= loops[level].length
        return ReducedLoops(tuple(loops), level)


class Passes:
    """The state of an emitter that goes over the full space several times. `variables` holds the loop variable, or the
    index it stands for, of every axis whose loop is open."""

    def __init__(
        self,
        plan: ReductionPlan,
        elements: Elements,
        kept_axes: Sequence[Axis],
        reduced_axes: Sequence[Axis],
        scratch: Scratch,
    ):
        self.plan = plan
        self.elements = elements
        self.source = elements.source
        self.scratch = scratch
        self.kept_axes = list(kept_axes)
        self.reduced_axes = list(reduced_axes)
        self.variables: dict[Axis, Index] = {}

    # --- where the loops are

    @property
    def n_reduced(self) -> int:
        """How many elements are reduced to one."""
        return math.prod(self.plan.reduced_sizes)

    def full_index(self) -> tuple[Index, ...]:
        """The place in the full space that the open loops are at."""
        return index_over(self.plan.shape, list(self.variables), list(self.variables.values()))

    def kept_place(self) -> Index:
        """The linear index of the place along the kept dimensions."""
        here = self.full_index()
        return ravel([here[d] for d in self.plan.space.kept], self.plan.kept_sizes)

    def reduced_place(self, index: Sequence[Index]) -> Index:
        """The linear position of an index of the full space among the elements that are reduced to one."""
        return ravel([index[d] for d in self.plan.space.axes], self.plan.reduced_sizes)

    def position(self, index: Sequence[Index]) -> Index:
        """The coordinate, along the first reduced axis, of an index of the full space."""
        return index[self.plan.space.axes[0]] if self.plan.space.axes else Index.of(0)

    def is_here(self, index: Sequence[Index], value: Value) -> bool:
        """Whether an index of a value is at the kept coordinates that the loops are at."""
        if value.type.shape == self.plan.shape:
            index = [index[d] for d in self.plan.space.kept]
            return ravel(index, self.plan.kept_sizes).same(self.kept_place())
        return ravel(index, value.type.shape).same(self.kept_place())

    def nest(
        self,
        loops: ReducedLoops,
        body: Callable[[], None],
        begin: Callable[[], None],
        end: Callable[[], None],
        at: int = 0,
    ) -> None:
        """Open the loops from number `at` inwards around `body`; `begin` and `end` enclose each block."""
        if at == loops.level:
            begin()
        if at == len(loops.loops):
            body()
        else:
            loop = loops.loops[at]
            before = dict(self.variables)
            block, tile, size = Index.of(0), loop.length, loop.length
            if loop.tile < 0:
                block, size = self.variables[loop.axis], loop.axis.size
            with tile_loop(self.source, loop.name, block, tile, size) as variable:
                self.variables[loop.axis] = variable
                self.nest(loops, body, begin, end, at + 1)
            self.variables = before
        if at == loops.level:
            end()

    # --- what is computed there

    def compute(self, sweep: Pass) -> list[Expression]:
        """The elements that a pass reduces; stores the results that the pass stores."""
        index = self.full_index()
        reduced = [self.elements.of(op.operands[0], index) for op in sweep.reduces]
        stored = [self.elements.of(self.plan.region.results[i], index) for i in sweep.stores]
        for number, element in zip(sweep.stores, stored, strict=True):
            self.elements.store(number, index, element)
        return reduced

    def store_reduced(self) -> None:
        """Store the results that have one element for each kept index."""
        results = self.plan.region.results
        places = {i: unravel(self.kept_place(), results[i].type.shape) for i in self.plan.reduced_results}
        computed = {i: self.elements.of(results[i], place) for i, place in places.items()}
        for i, element in computed.items():
            self.elements.store(i, places[i], element)

    def rounded(self, op: Op, acc: Expression) -> Expression:
        """An accumulator as the op's result: rounded, for a half precision."""
        dtype = op.result.type.dtype
        if dtype not in HALVES:
            return acc
        rounded = Expression(f"round_{dtype}({acc.text})", dtype, acc.depth)
        return self.elements.scalars.assign(rounded, dtype, op.name)

    def load_scratch(self, pointer: str, value: Value, place: Index, depth: int) -> Expression:
        """Read an element of a value from scratch memory, where half precisions are carried as f32."""
        dtype = value.type.dtype
        return replace(
            self.elements.load_from(pointer, dtype.accumulator, place, value.op.name if value.op else "kept", depth),
            dtype=dtype,
        )


def converted(text: str, source: DType, target: DType) -> str:
    """The text of a value of type `source` as one of type `target`."""
    return text if source == target else f"cast_{target}({text})"
