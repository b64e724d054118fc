"""The space that the reduce ops of one kernel share."""

from __future__ import annotations

from graphc.ir.graph import Op
from graphc.ir.opdef import lookup
from graphc.ir.types import TensorType


class ReductionSpace:
    """What a reduce op reads, and the axes it reduces. `shapes` are the full and both reduced ones; `rows` counts the
    elements of a reduced value."""

    def __init__(self, reduce: Op):
        self.full = reduce.operands[0].type
        self.axes: tuple[int, ...] = tuple(reduce.attributes["axes"])  # type: ignore[arg-type]
        self.kept = tuple(i for i in range(self.full.rank) if i not in self.axes)
        self.reduced = tuple(self.full.shape[i] for i in self.kept)
        ones = tuple(1 if i in self.axes else n for i, n in enumerate(self.full.shape))
        self.shapes = (self.full.shape, self.reduced, ones)
        self.rows = self.full.with_shape(self.reduced).size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReductionSpace) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> object:
        return (self.full.shape, self.axes)

    def __str__(self) -> str:
        return f"{list(self.full.shape)} over axes {list(self.axes)}"

    @property
    def keeps_innermost(self) -> bool:
        """Whether the innermost axis of more than one element is kept."""
        wide = [i for i, n in enumerate(self.full.shape) if n > 1]
        return bool(wide) and wide[-1] in self.kept

    def carries(self, op: Op) -> bool:
        """Whether the element at a place of the result of `op` depends only on its operands' elements at that place."""
        if any(v.type.shape not in self.shapes for v in (*op.operands, *op.results)):
            return False
        if op.name == "broadcast":
            return self._keeps_axes(op)
        return op.name == "reshape" or lookup(op.name).kind == "pointwise"

    def _keeps_axes(self, broadcast: Op) -> bool:
        dims: tuple[int, ...] = broadcast.attributes["dims"]  # type: ignore[assignment]
        operand = broadcast.operands[0].type
        source, target = self._places(operand), self._places(broadcast.result.type)
        return all(n == 1 or source[i] == target[d] for i, (n, d) in enumerate(zip(operand.shape, dims, strict=True)))

    def _places(self, type: TensorType) -> tuple[int, ...]:
        """The axis of the space that each axis of a value of that type lies along."""
        return tuple(range(type.rank)) if type.rank == self.full.rank else self.kept
