"""Contractions that sum very little: every result is written out as a sum of products and goes straight through the
epilogue, along the result's rows.

What such a kernel costs is the traffic of its results: of a small batch's weight gradient, say, whose epilogue is the
optimizer's update. No sum is kept in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from graphc.codegen.expression import Elements, Expression, origin
from graphc.codegen.index import Index
from graphc.codegen.kernels.contraction_loops import Span, let, loop, when
from graphc.codegen.kernels.contraction_packing import Reader
from graphc.codegen.kernels.contraction_plan import Roles, strides_of
from graphc.codegen.kernels.contraction_tiles import even_share, units_for
from graphc.codegen.kernels.scratch import Scratch
from graphc.codegen.scalar_text import ScalarText, Term
from graphc.ir.graph import Value
from graphc.ir.target import Target

_LITTLE = 16  # steps of k
_FACTORS = 16  # of the left operand that are held in registers
_MOST_ROWS = 4

# One result: its row, its column, and the sum there.
Place = tuple[Index, Index, Expression]


@dataclass(frozen=True)
class OuterTiling:
    """`rows` rows are worked on at a time, in vectors of `lanes` columns. Blocks hold `m_block` rows and `n_block`
    columns."""

    rows: int
    lanes: int
    m_block: int
    n_block: int

    @property
    def panel(self) -> int:
        return self.lanes


def outer_tiling(roles: Roles, target: Target, nbytes: int) -> OuterTiling | None:
    """How the contraction is cut; None where it sums too much, or its rows are too short. `nbytes` is what the kernel
    reads and writes in all."""
    batch, m, n, k = (roles.extent(x) for x in (roles.batch, roles.left.own, roles.right.own, roles.k))
    itemsize = roles.accumulator.itemsize
    lanes = min(target.lanes(itemsize), 16)
    if not 1 <= k <= _LITTLE or n < 2 * lanes or m < _MOST_ROWS:
        return None
    rows = max(1, min(_MOST_ROWS, _FACTORS // k))
    n_block = even_share(n, target.l1_bytes // 2 // (k * itemsize), lanes)
    blocks = batch * -(-n // n_block)
    cycles = max(nbytes / 32, batch * m * n * k / (2 * lanes))
    m_block = even_share(m, -(-m // -(-units_for(cycles) // blocks)), rows)
    return OuterTiling(rows, lanes, m_block, n_block)


class OuterProducts:
    """Writes the results of one unit, each with its sum."""

    def __init__(
        self, elements: Elements, roles: Roles, slots: Mapping[Value, int], scratch: Scratch, tiling: OuterTiling
    ):
        self.tiling = tiling
        self._elements = elements
        self._source = elements.source
        self._roles = roles
        self._k = roles.extent(roles.k)
        self._left, self._right = (Reader(elements, roles, side, slots) for side in (roles.left, roles.right))
        strides = strides_of(roles, roles.right)
        self._packed = None
        if strides is None or strides.own != 1:
            self._packed = scratch.take(roles.accumulator, self._k * tiling.n_block, "right")

    def write(self, batch: Index, rows: Span, columns: Span, finish: Callable[[Sequence[Place]], None]) -> None:
        """Write the loops of one unit; `finish` writes what follows the sums of a few places."""
        if self._packed is not None:
            self._pack(batch, columns)
        self._source.comment(f"{origin(self._roles.op)} sum the products, compute and store the results".strip())
        if rows.tiles.high > 0:
            with loop(self._source, "tile", rows.tiles) as tile:
                self._rows(batch, rows, tile * self.tiling.rows, self.tiling.rows, columns, finish)
        if rows.has_edge is not False:
            with when(self._source, rows.has_edge):
                first = rows.tiles * self.tiling.rows
                self._rows(batch, rows, first, rows.extent % self.tiling.rows, columns, finish)

    def _pack(self, batch: Index, columns: Span) -> None:
        self._source.comment("pack the right operand")
        with loop(self._source, "s", self._k) as s, loop(self._source, "j", columns.size) as j:
            element = self._right.element(batch, columns.at(j), s)
            self._source.line(f"{self._packed}[{(s * self.tiling.n_block + j).text}] = {element.text}")

    def _rows(
        self,
        batch: Index,
        rows: Span,
        first: Index,
        count: int,
        columns: Span,
        finish: Callable[[Sequence[Place]], None],
    ) -> None:
        places = [let(self._source, f"m{r}", rows.at(first + r)) for r in range(count)]
        left = [[self._left.element(batch, m, Index.of(s)) for s in range(self._k)] for m in places]

        def column(j: Index) -> None:
            n = columns.at(j)
            right = [self._right_factor(batch, columns, j, s) for s in range(self._k)]
            finish([(m, n, self._sum(factors, right)) for m, factors in zip(places, left, strict=True)])

        lanes = self.tiling.lanes
        if columns.tiles.high > 0:
            with loop(self._source, "v", columns.tiles) as vector, loop(self._source, "j", lanes) as j:
                column(vector * lanes + j)
        if columns.has_edge is not False:
            with when(self._source, columns.has_edge), loop(self._source, "j", columns.extent % lanes) as j:
                column(columns.tiles * lanes + j)

    def _right_factor(self, batch: Index, columns: Span, j: Index, s: int) -> Expression:
        if self._packed is None:
            return self._right.element(batch, columns.at(j), Index.of(s))
        place = j + s * self.tiling.n_block
        read = Expression(f"{self._packed}[{place.text}]", self._roles.accumulator, self._source.depth, atomic=False)
        return self._elements.scalars.assign(read, self._roles.accumulator, "right")

    def _sum(self, left: Sequence[Expression], right: Sequence[Expression]) -> Expression:
        """The sum of products, in order, rounded to the contraction's own type."""

        def total(scalars: ScalarText, *terms: Term) -> Term:
            first, *others = (scalars.call("mul", x, y) for x, y in zip(terms, terms[self._k :], strict=False))
            return reduce(lambda found, product: scalars.call("add", found, product), others, first)

        return self._elements.apply(total, [*left, *right], self._roles.op.result.type.dtype, "total")
