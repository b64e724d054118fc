"""Where a contraction's sums of products are kept while k is gone through."""

from __future__ import annotations

from graphc.codegen.index import Index, ravel
from graphc.codegen.kernels.contraction_loops import Span, pointer
from graphc.codegen.kernels.contraction_plan import Roles, stride
from graphc.codegen.kernels.scratch import Scratch


class InResult:
    """In the result itself. Here and below, neighbours along m and n are `row` and `column` elements apart."""

    def __init__(self, roles: Roles, parameter: str, row: int, column: int):
        self._roles = roles
        self._parameter = parameter
        self.row = row
        self.column = column

    def pointer(self, batch: Index, rows: Span, columns: Span, i: Index, j: Index) -> str:
        """The pointer to the sum in row i and column j of a unit's block."""
        index = self._roles.out_index(batch, rows.at(i), columns.at(j))
        return pointer(self._parameter, ravel(index, self._roles.op.result.type.shape))


class InScratch:
    """In scratch memory, until the epilogue has read them."""

    column = 1

    def __init__(self, roles: Roles, scratch: Scratch, rows: int, columns: int):
        self.row = columns
        self.buffer = scratch.take(roles.accumulator, rows * columns, "tile")

    def pointer(self, batch: Index, rows: Span, columns: Span, i: Index, j: Index) -> str:
        """As above."""
        return pointer(self.buffer, self.place(i, j))

    def place(self, i: Index, j: Index) -> Index:
        """Where the sum in row i and column j is in the buffer."""
        return i * self.row + j


Sums = InResult | InScratch


def in_result(roles: Roles, parameter: str) -> InResult | None:
    """The sums in the result, where its elements are evenly apart."""
    extents = zip("bmn", (roles.batch, roles.left.own, roles.right.own), strict=True)
    probes = [Index.variable(name, 0, roles.extent(letters) - 1, 1) for name, letters in extents]
    place = ravel(roles.out_index(*probes), roles.op.result.type.shape)
    row, column = stride(place, "m"), stride(place, "n")
    return None if row is None or column is None else InResult(roles, parameter, row, column)
