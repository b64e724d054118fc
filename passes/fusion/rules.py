"""Which sets of nodes one kernel can hold, and what that would recompute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.ir.graph import Value
from graphc.ir.reduction_space import ReductionSpace
from graphc.passes.fusion.program import Node

MAX_NODES = 128  # per kernel, so that none takes long to compile
_MAX_FRAMES = 4  # ways of indexing one value within a kernel
_MAX_EXTRA = 2  # weight of recomputed arithmetic per element of the kernel's space
_MAX_PROLOGUE = 4  # weight per element of what a contraction applies to an operand while packing it
_SMALL_SPACE = 1 << 14  # elements that one unit of work may as well do alone
_FEW_ROWS = 4


@dataclass(frozen=True)
class Frame:
    """One way in which a kernel walks over a value: how many elements it evaluates, and whether it may leave some out.
    `parent` and `step` tell frames apart: the node that led here, and from which frame."""

    parent: Frame | None
    step: object
    evaluations: int
    partial: bool = False


def space_of(reduce: Node) -> ReductionSpace:
    assert reduce.op is not None
    return ReductionSpace(reduce.op)


def _carries(space: ReductionSpace, node: Node) -> bool:
    return space.carries(node.op) if node.op else node.result.type.shape in space.shapes


def kernel_kind(members: Sequence[Node], results: Sequence[Value], with_prologue: bool = True) -> str | None:
    """The kind of the kernel that holds `members` (inlined nodes included, in order) and gives `results`, or None if
    there can be no such kernel or it would do too much work twice. `with_prologue=False` leaves no node but inlined
    ones between memory and the operands of a contraction."""
    if sum(not node.inlined for node in members) > MAX_NODES:
        return None
    roots = [node for node in members if node.kind in ("reduce", "contract", "scatter")]
    kinds = {node.kind for node in roots}
    if len(kinds) > 1 or any(node.kind in ("fused", "meta") for node in members):
        return None
    walk = _Walk(members, results, roots)
    if not kinds:
        return "loop" if walk.is_loop() else None
    if kinds == {"reduce"}:
        return "reduction" if walk.is_reduction() else None
    if len(roots) > 1:
        return None
    if kinds == {"scatter"}:
        return "scatter" if walk.is_scatter() else None
    return "contraction" if walk.is_contraction(with_prologue) else None


class _Walk:
    """Walks from the results of a kernel back to memory, collecting the frames in which each value is needed."""

    def __init__(self, members: Sequence[Node], results: Sequence[Value], roots: Sequence[Node]):
        self.members = members
        self.results = results
        self.roots = roots
        self.producers = {v: node for node in members for v in node.results}
        self.frames: dict[Value, set[Frame]] = {}
        self.dependent = self._dependents()

    def is_loop(self) -> bool:
        space = self.results[0].type
        if any(v.type.shape != space.shape for v in self.results):
            return False
        for value in self.results:
            self._need(value, Frame(None, "space", space.size))
        return self._walk() and self._extra() <= _MAX_EXTRA * space.size

    def is_reduction(self) -> bool:
        space = space_of(self.roots[0])
        if any(space_of(node) != space for node in self.roots):
            return False
        if not all(node in self.roots or _carries(space, node) for node in self.dependent_nodes()):
            return False
        full = Frame(None, "space", space.full.size)
        row = Frame(None, "rows", space.rows)
        for value in self.results:
            if value.type.shape not in space.shapes:
                return False
            if value.type.shape == space.full.shape and space.rows < _FEW_ROWS and space.full.size > _SMALL_SPACE:
                return False  # a long loop left to few units
            self._need(value, full if value.type.shape == space.full.shape else row)
        return self._walk(full, row) and self._extra() <= _MAX_EXTRA * space.full.size

    def is_contraction(self, with_prologue: bool) -> bool:
        (root,) = self.roots
        space = root.result.type
        if any(node.kind != "pointwise" for node in self.dependent_nodes()):
            return False
        if any(node.kind == "gather" for node in self.members):
            return False
        if any(v.type.shape != space.shape for v in self.results):
            return False
        for value in self.results:
            self._need(value, Frame(None, "space", space.size))
        operands = [Frame(None, i, v.type.size) for i, v in enumerate(root.operands)]
        for value, frame in zip(root.operands, operands, strict=True):
            self._need(value, frame)
        if not self._walk() or self._extra() > _MAX_EXTRA * space.size:
            return False
        return all(
            self._may_prepare(value, frame, with_prologue) for value, frame in zip(root.operands, operands, strict=True)
        )

    def is_scatter(self) -> bool:
        (root,) = self.roots
        if list(self.results) != [root.result] or any(node.kind == "gather" for node in self.members):
            return False
        self._need(root.result, Frame(None, "space", root.result.type.size))
        for i, value in enumerate(root.operands):
            self._need(value, Frame(None, i, value.type.size))
        return self._walk() and self._extra() <= _MAX_EXTRA * root.operands[2].type.size

    def dependent_nodes(self) -> list[Node]:
        return [node for node in self.members if any(v in self.dependent for v in node.operands)]

    def _dependents(self) -> set[Value]:
        found = {v for node in self.roots for v in node.results}
        for node in self.members:
            if any(v in found for v in node.operands):
                found.update(node.results)
        return found

    def _need(self, value: Value, frame: Frame) -> None:
        if value in self.producers:
            self.frames.setdefault(value, set()).add(frame)

    def _walk(self, full: Frame | None = None, row: Frame | None = None) -> bool:
        """Fill `frames`; in a reduction, `full` and `row` are the frames of the full and the reduced shape."""
        for node in reversed(self.members):
            frames = set().union(*(self.frames.get(v, ()) for v in node.results))
            if node.kind == "reduce" and full is not None:
                self._need(node.operands[0], full)
            elif node.kind == "pointwise":
                for value in node.operands:
                    self._need_all(value, frames)
            elif node.kind == "generate":
                for value in node.operands:
                    self._need(value, Frame(None, "scalar", 1))
            elif node.kind in ("layout", "gather") and not self._walk_layout(node, frames, row):
                return False
            if not node.inlined and not self._may_recompute(node, frames):
                return False
        return True

    def _need_all(self, value: Value, frames: set[Frame]) -> None:
        if value in self.producers:
            self.frames.setdefault(value, set()).update(frames)

    def _walk_layout(self, node: Node, frames: set[Frame], row: Frame | None) -> bool:
        if node.kind == "gather" and not self._is_alias(node.operands[0]):
            return False
        for i, value in enumerate(node.operands):
            if value not in self.producers or (node.kind == "gather" and i == 0):
                continue
            if row is not None and value in self.dependent:
                self._need(value, row)
                continue
            for frame in frames:
                evaluations, partial = frame.evaluations, frame.partial or node.name == "slice"
                if node.name in ("pad", "concat"):
                    evaluations = -(-evaluations * value.type.size // max(node.result.type.size, 1))
                self._need(value, Frame(frame, (node.position, i), evaluations, partial))
        return True

    def _is_alias(self, value: Value) -> bool:
        """Whether `value` is in memory that this kernel only reads, perhaps under another shape."""
        while (node := self.producers.get(value)) is not None:
            if node.name != "reshape" or not node.inlined:
                return False
            value = node.operands[0]
        return True

    def _may_recompute(self, node: Node, frames: set[Frame]) -> bool:
        if len(frames) > _MAX_FRAMES:
            return False
        return not node.faults or any(not f.partial and f.evaluations >= node.result.type.size for f in frames)

    def _extra(self) -> int:
        """The weight of all that is computed more often than once."""
        total = 0
        for node in self.members:
            if not node.inlined and node.weight:
                frames = set().union(*(self.frames.get(v, ()) for v in node.results))
                evaluations = sum(frame.evaluations for frame in frames)
                total += node.weight * max(0, evaluations - node.result.type.size)
        return total

    def _may_prepare(self, operand: Value, frame: Frame, with_prologue: bool) -> bool:
        """Whether what leads to an operand of the contraction is cheap to do while packing, possibly several times."""
        weight = nbytes = 0
        seen: set[Value] = set()
        pending = [operand]
        prepares = False
        while pending:
            value = pending.pop()
            if value in seen:
                continue
            seen.add(value)
            node = self.producers.get(value)
            if node is None:
                nbytes += value.type.nbytes
                continue
            if not node.inlined:
                prepares = True
                if not with_prologue or any(not _within(f, frame) for f in self.frames[value]):
                    return False
            weight += node.weight * node.result.type.size
            pending.extend(node.operands)
        if not prepares:
            return True
        return weight <= _MAX_PROLOGUE * operand.type.size and nbytes <= 2 * operand.type.nbytes


def _within(frame: Frame | None, outer: Frame) -> bool:
    while frame is not None:
        if frame == outer:
            return True
        frame = frame.parent
    return False
