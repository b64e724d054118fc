"""What a reduction kernel computes in which pass over the full space.

Pass p (from 1) computes the reduce ops that depend on those of pass p - 1 but on no later ones; a result of the full
shape is stored in the first pass in which everything it depends on is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from graphc.ir.graph import Block, Op, Value
from graphc.ir.op_cost import work_per_element
from graphc.ir.opdef import lookup
from graphc.ir.reduction_space import ReductionSpace

WORTH_KEEPING = 8  # work per element above which a value is kept from pass to pass rather than computed again


@dataclass
class Pass:
    """One sweep over the full space: the reduce ops it accumulates, the numbers of the region's results it stores, and
    the values it keeps for later passes. `spreads` are values computed from reduce results, known after it, that later
    passes read at every place."""

    reduces: list[Op] = field(default_factory=list)
    stores: list[int] = field(default_factory=list)
    keeps: list[Value] = field(default_factory=list)
    spreads: list[Value] = field(default_factory=list)


@dataclass(frozen=True)
class ReductionPlan:
    """`reduced_results` are the numbers of the region's results that have one element for each kept index."""

    region: Block
    space: ReductionSpace
    passes: list[Pass]
    reduced_results: list[int]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the full space."""
        return self.space.full.shape

    @property
    def kept_sizes(self) -> tuple[int, ...]:
        return self.space.reduced

    @property
    def reduced_sizes(self) -> tuple[int, ...]:
        return tuple(self.shape[d] for d in self.space.axes)


def plan_reduction(region: Block) -> ReductionPlan:
    """Raises ValueError where the reduce ops of the region do not share one space."""
    reduces = [op for op in region.ops if lookup(op.name).kind == "reduce"]
    space = ReductionSpace(reduces[0])
    for op in reduces:
        if ReductionSpace(op) != space:
            raise ValueError(f"{op.name} of {ReductionSpace(op)} does not go with a reduction of {space}")
    shape = space.full.shape
    levels = _levels(region)
    full = [i for i, r in enumerate(region.results) if r.type.shape == shape]
    n_passes = max(max(levels[op.result] for op in reduces), *(levels[region.results[i]] + 1 for i in full), 1)
    passes = [Pass() for _ in range(n_passes)]
    for op in reduces:
        passes[levels[op.result] - 1].reduces.append(op)
    for i in full:
        passes[levels[region.results[i]]].stores.append(i)
    reduced = [i for i in range(len(region.results)) if i not in full]
    for value in _spread(region, shape, levels):
        passes[levels[value] - 1].spreads.append(value)
    plan = ReductionPlan(region, space, passes, reduced)
    _choose_kept(plan)
    return plan


def _levels(region: Block) -> dict[Value, int]:
    """For each value, in which pass at the latest the reduce ops it depends on are computed; 0: it depends on none."""
    levels: dict[Value, int] = dict.fromkeys(region.args, 0)
    for op in region.ops:
        level = max((levels[v] for v in op.operands), default=0)
        levels[op.result] = level + (lookup(op.name).kind == "reduce")
    return levels


def _spread(region: Block, shape: Sequence[int], levels: dict[Value, int]) -> list[Value]:
    """Values computed from reduce results, none of those themselves, that are spread over the full space again."""
    found: dict[Value, None] = {}
    for op in region.ops:
        if op.result.type.shape != shape or lookup(op.name).kind != "layout":
            continue
        for value in op.operands:
            computed = value.op is not None and lookup(value.op.name).kind == "pointwise"
            if computed and levels[value] and value.type.shape != shape:
                found[value] = None
    return list(found)


def _choose_kept(plan: ReductionPlan) -> None:
    """Decide which values of the full shape to keep: those needed in a later pass than the first that computes them,
    and worth more than a store and a load."""
    computed_in: dict[Value, int] = {}
    kept: set[Value] = set()
    for number, sweep in enumerate(plan.passes):
        targets = [op.operands[0] for op in sweep.reduces] + [plan.region.results[i] for i in sweep.stores]
        for value in _cone(plan, targets, kept, computed_in):
            first = computed_in.setdefault(value, number)
            if first < number and value not in kept and _cone_cost(plan, value, kept) >= WORTH_KEEPING:
                kept.add(value)
                plan.passes[first].keeps.append(value)


def _cone(
    plan: ReductionPlan, targets: Iterable[Value], kept: set[Value], computed_in: dict[Value, int]
) -> list[Value]:
    """The values of the full shape that the targets need, from the targets backwards; not beyond a value that is kept
    or (being already computed in an earlier pass) worth keeping."""
    found: dict[Value, None] = {}
    pending = list(targets)
    while pending:
        value = pending.pop()
        if value in found or value.op is None or lookup(value.op.name).kind == "reduce":
            continue
        found[value] = None
        known = value in kept or (value in computed_in and _cone_cost(plan, value, kept) >= WORTH_KEEPING)
        if lookup(value.op.name).kind == "pointwise" and not known:
            pending.extend(value.op.operands)
    return [v for v in found if v.type.shape == plan.shape]


def _cone_cost(plan: ReductionPlan, value: Value, kept: set[Value]) -> int:
    """The work of one element of `value`, given those that are kept and all values of fewer elements."""
    total, pending, seen = 0, [value], set()
    while pending:
        current = pending.pop()
        op = current.op
        if op is None or current in seen or current in kept or current.type.size < plan.space.full.size:
            continue
        seen.add(current)
        kind = lookup(op.name).kind
        if kind != "reduce":
            total += work_per_element(op).weight
            pending.extend(op.operands if kind in ("pointwise", "layout") else ())
    return total
