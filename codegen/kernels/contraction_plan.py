"""What the loops of a contraction run over: four flat indices in place of the letters of its spec.

The letters of a role (batch, m, n, k) are joined, in the order of the result's axes (of the first operand's for k),
into one flat index of that role. An axis index is its quotient or remainder; addresses come out linear again wherever
strides allow, for `Index` recombines what was split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from graphc.codegen.index import Index, ravel, unravel
from graphc.ir.graph import Op, Value
from graphc.ir.kernel_facts import ops_behind
from graphc.ir.opdef import lookup
from graphc.ir.ops.contraction import Letters, parse_spec
from graphc.ir.types import DType

Indices = tuple[Index, ...]

_NARROW = 16  # columns


@dataclass(frozen=True, eq=False)
class Side:
    """One operand: its letters in axis order, and those of the flat index that only it shares with the result."""

    value: Value
    letters: str
    own: str


@dataclass(frozen=True, eq=False)
class Roles:
    """A contract op seen as a batch of matrix products. `left` supplies the rows (m) and `right` the columns (n); they
    are the op's operands, exchanged where that makes the columns run along the result's last axis; unless those are so
    few that a vector of them is mostly empty, and the other operand's elements lie side by side."""

    op: Op
    left: Side
    right: Side
    out: str
    batch: str
    k: str
    sizes: dict[str, int]

    def extent(self, letters: str) -> int:
        """The number of values of the flat index of a role."""
        return math.prod(self.sizes[x] for x in letters)

    @property
    def accumulator(self) -> DType:
        return self.op.result.type.dtype.accumulator

    def operand_index(self, side: Side, batch: Index, own: Index, k: Index) -> Indices:
        """The index of an operand's element; `own` is the flat index m of the left one, n of the right one."""
        return self._split(side.letters, ((self.batch, batch), (side.own, own), (self.k, k)))

    def out_index(self, batch: Index, m: Index, n: Index) -> Indices:
        """The index of a result's element."""
        return self._split(self.out, ((self.batch, batch), (self.left.own, m), (self.right.own, n)))

    def _split(self, letters: str, flat: Sequence[tuple[str, Index]]) -> Indices:
        axes: dict[str, Index] = {}
        for group, index in flat:
            axes.update(zip(group, unravel(index, [self.sizes[x] for x in group]), strict=True))
        return tuple(axes[x] for x in letters)


def roles_of(op: Op) -> Roles:
    """The roles of a contract op's operands and letters."""
    at = parse_spec(cast(str, op.attributes["spec"]))
    a, b = op.operands
    sizes = {**dict(zip(at.a, a.type.shape, strict=True)), **dict(zip(at.b, b.type.shape, strict=True))}
    left, right = Side(a, at.a, at.m), Side(b, at.b, at.n)
    last = next((x for x in reversed(at.out) if sizes[x] > 1), "")
    if last and last in at.m:
        left, right = right, left
    roles = Roles(op, left, right, at.out, at.batch, _shared(left, at), sizes)
    wide = roles.extent(right.own) < _NARROW <= roles.extent(left.own) // 2 and roles.extent(at.k) > _NARROW
    if wide and not runs_along_k(roles, left):
        return Roles(op, right, left, at.out, at.batch, _shared(right, at), sizes)
    return roles


def _shared(left: Side, at: Letters) -> str:
    """The letters of k, in the order in which the left operand has them."""
    return "".join(x for x in left.letters if x in at.k)


@dataclass(frozen=True, eq=False)
class Strides:
    """How the elements of an operand lie in memory: `arg` is the region argument that holds them, and `own` and `k`
    the distances between neighbours along m (or n) and along k."""

    arg: Value
    own: int
    k: int


def strides_of(roles: Roles, side: Side) -> Strides | None:
    """The strides of an operand that can be read where it lies; None for one that is computed, converted or padded, or
    whose letters leave no single stride."""
    if side.value.type.dtype != roles.accumulator:
        return None
    found = address(side.value, _index_of_names(roles, side))
    if found is None:
        return None
    arg, place = found
    own, k = stride(place, "own"), stride(place, "k")
    return None if own is None or k is None else Strides(arg, own, k)


def stride(place: Index, name: str) -> int | None:
    """What a step of a variable adds to a place; None where it is not the same everywhere."""
    nested = any(part.coefficient(name) for part in place.linear_parts()[1:])
    return None if nested else place.coefficient(name)


def runs_along_k(roles: Roles, side: Side) -> bool:
    """Whether most of what an operand is computed from has its neighbours along k rather than along m (or n): which way
    to walk when packing it."""
    balance = 0
    pending = [(side.value, _index_of_names(roles, side))]
    while pending:
        value, index = pending.pop()
        found = address(value, index)
        if found is not None:
            along_k, along_own = (stride(found[1], name) == 1 for name in ("k", "own"))
            balance += value.type.dtype.itemsize * (along_k - along_own)
        elif value.op is not None and lookup(value.op.name).kind == "pointwise":
            pending += [(operand, index) for operand in value.op.operands]
    return balance > 0


def address(value: Value, index: Indices) -> tuple[Value, Index] | None:
    """The region argument and linear index of an element that layout ops only move, wherever it lies."""
    while value.op is not None:
        record = lookup(value.op.name)
        if record.index_map is None:
            return None
        accesses = record.index_map(value.op, index)
        if len(accesses) != 1 or not (accesses[0].when is None or accesses[0].when is True):
            return None
        value, index = value.op.operands[accesses[0].operand], accesses[0].index
    return value, ravel([Index.of(i) for i in index], value.type.shape)


def cost_of(value: Value) -> int:
    """A rough cost of computing one element of an operand: the ops between the arguments and it, with more for those
    that generate numbers."""
    return sum({"pointwise": 1, "generate": 8}.get(lookup(op.name).kind, 0) for op in ops_behind(value) if op.operands)


def _index_of_names(roles: Roles, side: Side) -> Indices:
    batch, own, k = (
        Index.variable(name, 0, roles.extent(letters) - 1, 1)
        for name, letters in (("batch", roles.batch), ("own", side.own), ("k", roles.k))
    )
    return roles.operand_index(side, batch, own, k)
