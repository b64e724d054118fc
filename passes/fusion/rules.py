"""Which sets of nodes one kernel can hold, and what that would recompute."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ir.graph import Value
from graphc.ir.reduction_space import ReductionSpace
from graphc.passes.fusion.program import Node
from graphc.passes.fusion.refusal import Elsewhere, Refusal

MAX_NODES = 128  # per kernel, so that none takes long to compile
_MAX_FRAMES = 4  # ways of indexing one value within a kernel
_MAX_EXTRA = 2  # weight of recomputed arithmetic per element of the kernel's space
_MAX_PROLOGUE = 4  # weight per element of what a contraction applies to an operand while packing it
_SMALL_SPACE = 1 << 14  # elements that one unit of work may as well do alone
_FEW_ROWS = 4

TOO_LARGE = Refusal("one kernel would hold more than {} ops", (MAX_NODES,))
_NO_LAST_WORD = Refusal("what leads to a product is decided last")
_KERNELS = {"contract": "contraction", "scatter": "scatter", "reduce": "reduction"}
_ROOT_KINDS = tuple(_KERNELS)


class Frame:
    """One way in which a kernel walks over a value: how many elements it evaluates, and whether it may leave some out.
    Compares by identity. `parent` is the frame from which a layout op led here."""

    __slots__ = ("evaluations", "parent", "partial")

    def __init__(self, parent: Frame | None, evaluations: int, partial: bool = False):
        self.parent = parent
        self.evaluations = evaluations
        self.partial = partial


def _carries(space: ReductionSpace, node: Node) -> bool:
    return space.carries(node.op) if node.op else node.result.type.shape in space.shapes


def kernel_kind(members: Sequence[Node], results: Sequence[Value], with_prologue: bool = True) -> str | Refusal:
    """The kind of the kernel that holds `members` (inlined nodes included, in order) and gives `results`, or why there
    can be no such kernel, or why it would do too much work twice. `with_prologue=False` leaves no node but inlined ones
    between memory and the operands of a contraction."""
    roots = [node for node in members if node.kind in _ROOT_KINDS]
    other = next((node for node in members if node.kind in ("fused", "meta")), None)
    if other is not None:
        return Refusal("{} is no part of a kernel", (other,))
    walk = _Walk(members, results, roots)
    if not roots:
        return walk.refuses_loop() or "loop"
    first = roots[0]
    for node in roots:
        if node.kind != first.kind:
            return _refuses_mixture(first, node)
    if first.kind == "reduce":
        return walk.refuses_reduction() or "reduction"
    if len(roots) > 1:
        takes = "contraction takes one product" if first.kind == "contract" else "scatter adds to one tensor"
        return Refusal(f"a {takes}, not also {{}}", (roots[1],))
    if first.kind == "scatter":
        return walk.refuses_scatter() or "scatter"
    return walk.refuses_contraction(with_prologue) or "contraction"


def _refuses_mixture(first: Node, second: Node) -> Refusal:
    holder, other = sorted((first, second), key=lambda node: _ROOT_KINDS.index(node.kind))
    return Refusal("a {} holds no {}, here {}", (_KERNELS[holder.kind], _KERNELS[other.kind], other))


class _Walk:
    """Walks from the results of a kernel back to memory, collecting the frames in which each value is needed."""

    def __init__(self, members: Sequence[Node], results: Sequence[Value], roots: Sequence[Node]):
        self.members = members
        self.results = results
        self.roots = roots
        self.producers = {v: node for node in members for v in node.results}
        self.frames: dict[Value, set[Frame]] = {}
        self.dependent = self._dependents() if roots else set()
        self.scalar = Frame(None, 1)

    def refuses_loop(self) -> Refusal | None:
        first = self.results[0]
        for value in self.results:
            if value.type.shape != first.type.shape:
                return Refusal("a loop gives results of one shape, not {} and {}", (first, value))
        space = Frame(None, first.type.size)
        for value in self.results:
            self._need(value, space)
        return self._walk(first.type.size)

    def refuses_reduction(self) -> Refusal | None:
        first = self.roots[0]
        space = first.space
        assert space is not None
        for node in self.roots:
            if node.space != space:
                return Refusal(
                    "the reductions are over other axes: {} reduces {}, {} reduces {}", (first, space, node, node.space)
                )
        for node in self.dependent_nodes():
            if node not in self.roots and not _carries(space, node):
                return Refusal("{} moves elements that depend on what is reduced out of {}", (node, space))
        full = Frame(None, space.full.size)
        row = Frame(None, space.rows)
        for value in self.results:
            shape = value.type.shape
            if shape not in space.shapes:
                text = "{} is of none of the shapes of a reduction of {}, and {}"
                return Refusal(text, (value, space, Elsewhere(value)))
            if shape == space.full.shape and space.rows < _FEW_ROWS and space.full.size > _SMALL_SPACE:
                return Refusal("the loop that gives {} would be left to {} units of work", (value, space.rows))
            self._need(value, full if shape == space.full.shape else row)
        return self._walk(space.full.size, full, row)

    def refuses_contraction(self, with_prologue: bool) -> Refusal | None:
        (root,) = self.roots
        for node in self.dependent_nodes():
            if node.kind != "pointwise":
                return Refusal("{} follows {} and is not element-wise", (node, root))
        for node in self.members:
            if node.kind == "gather":
                return Refusal("a contraction does not look up elements, as {} does", (node,))
        space = Frame(None, root.size)
        for value in self.results:
            if value.type.shape != root.result.type.shape:
                return Refusal("{} is not of the shape of the product, and {}", (value, Elsewhere(value)))
            self._need(value, space)
        operands = [Frame(None, v.type.size) for v in root.operands]
        for value, frame in zip(root.operands, operands, strict=True):
            self._need(value, frame)
        refusal = self._walk(root.size)
        for value, frame in zip(root.operands, operands, strict=True):
            refusal = refusal or self._refuses_to_prepare(value, frame, with_prologue)
        return refusal

    def refuses_scatter(self) -> Refusal | None:
        (root,) = self.roots
        if list(self.results) != [root.result]:
            return Refusal("a scatter gives nothing but {}", (root.result,))
        for node in self.members:
            if node.kind == "gather":
                return Refusal("a scatter does not look up elements, as {} does", (node,))
        self._need(root.result, Frame(None, root.size))
        for value in root.operands:
            self._need(value, Frame(None, value.type.size))
        return self._walk(root.operands[2].type.size)

    def dependent_nodes(self) -> list[Node]:
        return [node for node in self.members if not self.dependent.isdisjoint(node.operands)]

    def _dependents(self) -> set[Value]:
        found = {v for node in self.roots for v in node.results}
        for node in self.members:
            if not found.isdisjoint(node.operands):
                found.update(node.results)
        return found

    def _need(self, value: Value, frame: Frame) -> None:
        if value in self.producers:
            self.frames.setdefault(value, set()).add(frame)

    def _walk(self, size: int, full: Frame | None = None, row: Frame | None = None) -> Refusal | None:
        """Fill `frames`, for a kernel over a space of `size` elements; in a reduction, `full` and `row` are the frames
        of the full and the reduced shape."""
        extra = worst = 0
        costly: tuple[object, ...] = ()
        for node in reversed(self.members):
            frames = self._frames_of(node)
            if node.kind == "reduce" and full is not None:
                self._need(node.operands[0], full)
            elif node.kind == "pointwise":
                for value in node.operands:
                    self._need_all(value, frames)
            elif node.kind == "generate":
                for value in node.operands:
                    self._need(value, self.scalar)
            elif node.kind in ("layout", "gather"):
                refusal = self._walk_layout(node, frames, row)
                if refusal is not None:
                    return refusal
            if node.inlined:
                continue
            refusal = self._refuses_to_recompute(node, frames)
            if refusal is not None:
                return refusal
            if node.weight:
                evaluations = sum(frame.evaluations for frame in frames)
                more = node.weight * max(0, evaluations - node.size)
                extra += more
                if more > worst:
                    worst, costly = more, (node, -(-evaluations // max(node.size, 1)))
        if extra > _MAX_EXTRA * size:
            return Refusal("{} would be computed {} times", costly)
        return None

    def _frames_of(self, node: Node) -> set[Frame]:
        if len(node.results) == 1:
            return self.frames.get(node.results[0]) or set()
        return set().union(*(self.frames.get(v, ()) for v in node.results))

    def _need_all(self, value: Value, frames: set[Frame]) -> None:
        if value in self.producers:
            known = self.frames.get(value)
            if known is None:
                self.frames[value] = set(frames)
            else:
                known.update(frames)

    def _walk_layout(self, node: Node, frames: set[Frame], row: Frame | None) -> Refusal | None:
        if node.kind == "gather" and not self._is_alias(node.operands[0]):
            return Refusal("{} looks up elements of {}, which must lie in memory for that", (node, node.operands[0]))
        for i, value in enumerate(node.operands):
            if value not in self.producers or (node.kind == "gather" and i == 0):
                continue
            if row is not None and value in self.dependent:
                self._need(value, row)
                continue
            for frame in frames:
                evaluations, partial = frame.evaluations, frame.partial or node.name == "slice"
                if node.name in ("pad", "concat"):
                    evaluations = -(-evaluations * value.type.size // max(node.size, 1))
                self._need(value, Frame(frame, evaluations, partial))
        return None

    def _is_alias(self, value: Value) -> bool:
        """Whether `value` is in memory that this kernel only reads, perhaps under another shape."""
        while (node := self.producers.get(value)) is not None:
            if node.name != "reshape" or not node.inlined:
                return False
            value = node.operands[0]
        return True

    def _refuses_to_recompute(self, node: Node, frames: set[Frame]) -> Refusal | None:
        if len(frames) > _MAX_FRAMES:
            return Refusal("{} would be needed at {} places for every element", (node, len(frames)))
        if node.faults and not any(not f.partial and f.evaluations >= node.size for f in frames):
            return Refusal("{} can fault, and would not be computed whole", (node,))
        return None

    def _refuses_to_prepare(self, operand: Value, frame: Frame, with_prologue: bool) -> Refusal | None:
        """Why what leads to an operand of the contraction is not cheap to do while packing, possibly several times."""
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
                if not with_prologue:
                    return _NO_LAST_WORD
                if any(not _within(f, frame) for f in self.frames[value]):
                    return Refusal("{} would be computed while packing, but {}", (value, Elsewhere(value)))
            weight += node.weight * node.size
            pending.extend(node.operands)
        if not prepares:
            return None
        if weight > _MAX_PROLOGUE * operand.type.size:
            return Refusal("{} costs too much to be computed while packing, perhaps several times", (operand,))
        if nbytes > 2 * operand.type.nbytes:
            return Refusal(
                "to compute {} while packing would read {} bytes instead of {}", (operand, nbytes, operand.type.nbytes)
            )
        return None


def _within(frame: Frame | None, outer: Frame) -> bool:
    while frame is not None:
        if frame is outer:
            return True
        frame = frame.parent
    return False
