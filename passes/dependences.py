"""Which kernels of a fused graph must run before which."""

from __future__ import annotations

from collections.abc import Iterator

from graphc.ir.graph import Graph, Op, Value
from graphc.ir.kernel_facts import can_fault, may_update_in_place


class Dependences:
    """The kernels of a graph of stage `fused` and what holds between them, given that every state with an update is
    written where it lies by the kernel that computes the update.

    `before[k]` holds the kernels that must be done when `k` starts: those whose results it reads; where it overwrites a
    state, all that read the old value, and all that can fault, because a fault leaves every state as it was.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.kernels = [op for op in graph.ops if op.name == "fused"]
        self._aliased = {op.result: op.operands[0] for op in graph.ops if op.name == "reshape"}
        self.readers: dict[Value, list[Op]] = {}
        for op in self.kernels:
            for base in dict.fromkeys(self.base(v) for v in op.operands):
                self.readers.setdefault(base, []).append(op)
        self.states_written: dict[Op, list[Value]] = {}
        for state, value in graph.updates.items():
            writer = self.base(value).op
            if writer is not None and writer.name == "fused":
                self.states_written.setdefault(writer, []).append(state)
        self.faulting = [op for op in self.kernels if can_fault(op)]
        self.before = {op: self._before(op) for op in self.kernels}

    def base(self, value: Value) -> Value:
        """The value whose memory `value` is: itself, or what it is a reshape of."""
        while value in self._aliased:
            value = self._aliased[value]
        return value

    def can_write_in_place(self, state: Value) -> bool:
        """Whether the kernel that computes a state's update may overwrite the state while it runs."""
        new = self.base(self.graph.updates[state])
        kernel = new.op
        assert kernel is not None
        args = [i for i, v in enumerate(kernel.operands) if self.base(v) is state]
        return not can_fault(kernel) and all(may_update_in_place(kernel, i, new.index) for i in args)

    def in_conflict(self) -> list[Value]:
        """The updated states that make it impossible to order the kernels: their writers wait, directly or not, for
        kernels that wait for them. Empty if there is an order."""
        found: list[Value] = []
        for component in self._components():
            if len(component) < 2:
                continue
            faults = any(op in component for op in self.faulting)
            for op in self.kernels:
                if op in component:
                    for state in self.states_written.get(op, ()):
                        others = [r for r in self.readers.get(state, ()) if r is not op and r in component]
                        if others or (faults and op not in self.faulting):
                            found.append(state)
        return found

    def _before(self, op: Op) -> set[Op]:
        found = {
            producer for v in op.operands if (producer := self.base(v).op) is not None and producer.name == "fused"
        }
        for state in self.states_written.get(op, ()):
            found.update(self.readers.get(state, ()))
            found.update(self.faulting)
        found.discard(op)
        return found

    def _components(self) -> Iterator[set[Op]]:
        """The strongly connected components of `before`: Tarjan's algorithm, without recursion."""
        index: dict[Op, int] = {}
        low: dict[Op, int] = {}
        stack: list[Op] = []
        on_stack: set[Op] = set()
        for root in self.kernels:
            if root in index:
                continue
            work: list[tuple[Op, Iterator[Op]]] = []
            self._enter(root, index, low, stack, on_stack, work)
            while work:
                op, rest = work[-1]
                for other in rest:
                    if other not in index:
                        self._enter(other, index, low, stack, on_stack, work)
                        break
                    if other in on_stack:
                        low[op] = min(low[op], index[other])
                else:
                    work.pop()
                    if work:
                        low[work[-1][0]] = min(low[work[-1][0]], low[op])
                    if low[op] == index[op]:
                        component = set(stack[stack.index(op) :])
                        del stack[stack.index(op) :]
                        on_stack -= component
                        yield component

    def _enter(
        self,
        op: Op,
        index: dict[Op, int],
        low: dict[Op, int],
        stack: list[Op],
        on_stack: set[Op],
        work: list[tuple[Op, Iterator[Op]]],
    ) -> None:
        index[op] = low[op] = len(index)
        stack.append(op)
        on_stack.add(op)
        work.append((op, iter(sorted(self.before[op], key=self.kernels.index))))
