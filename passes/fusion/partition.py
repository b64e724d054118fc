"""The kernels that fusion has come to so far: clusters of nodes, what passes between them, and merging two of them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from graphc.ir.graph import Value
from graphc.passes.fusion.in_place import exposed_states
from graphc.passes.fusion.program import Node, Program
from graphc.passes.fusion.refusal import Refusal
from graphc.passes.fusion.rules import MAX_NODES, TOO_LARGE, kernel_kind


class Cluster:
    """Nodes that will be one kernel. `reads` and `results` go through memory; `members` are the nodes with the inlined
    ones, in order. `bits` holds the positions of its nodes, as the bits of an integer; `before` and `after` hold those
    of all clusters that it depends on, and that depend on it. `exposed` holds the states of which it computes the new
    value but, for the way it reads the old one, cannot write it in place."""

    __slots__ = (
        "after",
        "before",
        "bits",
        "exposed",
        "faults",
        "index",
        "kind",
        "members",
        "nodes",
        "reads",
        "results",
        "sums_columns",
        "version",
    )

    def __init__(self, index: int, node: Node, reads: Iterable[Value]):
        self.index = index
        self.nodes = [node]
        self.bits = 1 << index
        self.before = self.after = 0
        self.version = 0
        self.kind = ""
        self.members: Sequence[Node] = ()
        self.reads: dict[Value, None] = dict.fromkeys(reads)
        self.results: list[Value] = []
        self.exposed: frozenset[Value] = frozenset()
        self.faults = node.faults
        self.sums_columns = node.space is not None and node.space.keeps_innermost

    @property
    def traffic(self) -> int:
        """Bytes read and written."""
        return sum(v.type.nbytes for v in (*self.reads, *self.results))

    @property
    def last(self) -> Node:
        return self.nodes[-1]

    def __repr__(self) -> str:
        return f"<Cluster {self.index} {self.kind}: {', '.join(node.name for node in self.nodes)}>"


class Kernel(NamedTuple):
    """What one kernel would hold, give, and be."""

    members: Sequence[Node]
    results: list[Value]
    kind: str
    exposed: frozenset[Value]


class Partition:
    """The clusters of a program. Every node that is not inlined is in exactly one."""

    def __init__(self, program: Program):
        self.program = program
        self.readers: dict[Value, list[Node]] = {}
        self.cluster_of: dict[Node, Cluster] = {}
        self.clusters: dict[int, Cluster] = {}
        self._nodes = list(program.real_nodes())
        self._refused: dict[tuple[int, int, int, int, bool], Refusal] = {}
        for node in self._nodes:
            for value in program.reads(node):
                self.readers.setdefault(value, []).append(node)
        for index, node in enumerate(self._nodes):
            cluster = Cluster(index, node, program.reads(node))
            self.clusters[index] = cluster
            self.cluster_of[node] = cluster
            results = [v for v in node.results if v in program.wanted or v in self.readers]
            members = self._members(program.inlined(node), [node])
            kind = kernel_kind(members, results)
            assert isinstance(kind, str), f"no kernel holds {node}: {kind}"
            exposed = exposed_states(members, results, kind, program.written)
            cluster.members, cluster.results, cluster.kind, cluster.exposed = members, results, kind, exposed
        for cluster in self.clusters.values():
            for other in self.predecessors(cluster):
                cluster.before |= other.bits | other.before
        for cluster in reversed(self.clusters.values()):
            for other in self.successors(cluster):
                cluster.after |= other.bits | other.after

    def successors(self, cluster: Cluster) -> list[Cluster]:
        """The clusters that read what this one computes."""
        found = {self.cluster_of[node]: None for v in cluster.results for node in self.readers.get(v, ())}
        found.pop(cluster, None)
        return list(found)

    def predecessors(self, cluster: Cluster) -> list[Cluster]:
        """The clusters that compute what this one reads."""
        producers = (self.program.producer.get(v) for v in cluster.reads)
        return list({self.cluster_of[node]: None for node in producers if node is not None})

    def ordered(self) -> list[Cluster]:
        """Every cluster after those it depends on; otherwise in the order of the program."""
        waiting = dict.fromkeys(self.clusters.values(), 0)
        for cluster in self.clusters.values():
            for other in self.successors(cluster):
                waiting[other] += 1
        ready = [(c.last.position, c.index) for c, count in waiting.items() if count == 0]
        heapq.heapify(ready)
        order: list[Cluster] = []
        while ready:
            _, index = heapq.heappop(ready)
            order.append(self.clusters[index])
            for other in self.successors(order[-1]):
                waiting[other] -= 1
                if waiting[other] == 0:
                    heapq.heappush(ready, (other.last.position, other.index))
        assert len(order) == len(self.clusters), "fusion made a cycle"
        return order

    def traffic(self) -> int:
        """Bytes that all kernels together read and write."""
        return sum(cluster.traffic for cluster in self.clusters.values())

    def merged(self, a: Cluster, b: Cluster, with_prologue: bool) -> Kernel | Refusal:
        """The kernel that would do the work of both, or why there is none: a cycle, a copy of a state that could be
        updated in place, a fault in a kernel that writes state, or what `kernel_kind` says."""
        key = (a.index, a.version, b.index, b.version, with_prologue)
        known = self._refused.get(key)
        if known is not None:
            return known  # other merges cannot take the reason away
        found = self._merged(a, b, with_prologue)
        if isinstance(found, Refusal):
            self._refused[key] = found
        return found

    def _merged(self, a: Cluster, b: Cluster, with_prologue: bool) -> Kernel | Refusal:
        for cluster in (a, b):
            if self.is_copy(cluster):
                return Refusal("{} is a copy, a second place for one value", (cluster,))
        return self.joined(a, b, None, with_prologue)

    def joined(self, a: Cluster, b: Cluster, kind: str | None, with_prologue: bool = True) -> Kernel | Refusal:
        """The same, as a kernel of a `kind` that is known to hold both (None: what `kernel_kind` says)."""
        if len(a.nodes) + len(b.nodes) > MAX_NODES:
            return TOO_LARGE
        between = ((a.after & b.before) | (b.after & a.before)) & ~(a.bits | b.bits)
        if between:
            return Refusal("would make a cycle through {}", (self.cluster_of[self._nodes[_lowest(between)]],))
        results = self._handed_on(a, b)
        if a.faults or b.faults:
            for value in results:
                state = self.program.written.get(value)
                if state is not None:
                    return Refusal("{} can fault, which must come before {} is updated", (self._fault(a, b), state))
        members = self._members(a.members, b.members)
        found = kind or kernel_kind(members, results, with_prologue)
        if isinstance(found, Refusal):
            return found
        exposed = exposed_states(members, results, found, self.program.written)
        for state in sorted(exposed - a.exposed - b.exposed, key=self.program.graph.args.index):
            return Refusal("{} could not be updated in place", (state,))
        return Kernel(members, results, found, exposed)

    def merge(self, a: Cluster, b: Cluster, kernel: Kernel) -> Cluster:
        """Make one cluster of both; it takes the place of `a`. `kernel` is what `merged` gave for them."""
        self._connect(a, b)
        del self.clusters[b.index]
        for node in b.nodes:
            self.cluster_of[node] = a
        a.nodes = sorted([*a.nodes, *b.nodes], key=_position)
        a.bits |= b.bits
        a.version += 1
        a.faults |= b.faults
        a.sums_columns |= b.sums_columns
        a.members, a.results, a.kind, a.exposed = kernel
        own = {v for node in a.nodes for v in node.results}
        a.reads = {v: None for node in a.nodes for v in self.program.reads(node) if v not in own}
        return a

    def _connect(self, a: Cluster, b: Cluster) -> None:
        """What comes before one of them comes before whatever comes after the other."""
        either = a.bits | b.bits
        before, after = (a.before | b.before) & ~either, (a.after | b.after) & ~either
        for other in self._clusters_in((a.before ^ b.before) & ~either):
            other.after |= after | either
        for other in self._clusters_in((a.after ^ b.after) & ~either):
            other.before |= before | either
        a.before, a.after = before, after

    def _clusters_in(self, bits: int) -> Iterator[Cluster]:
        while bits:
            cluster = self.cluster_of[self._nodes[_lowest(bits)]]
            yield cluster
            bits &= ~cluster.bits

    def saved_bytes(self, a: Cluster, b: Cluster) -> int:
        """How much less memory traffic one kernel makes than two: values handed over within it are not read, and not
        written where nothing else needs them; what both read is read once."""
        saved = sum(v.type.nbytes for v in a.reads if v in b.reads)
        for source, sink in ((a, b), (b, a)):
            for value in source.results:
                if value in sink.reads:
                    saved += value.type.nbytes * (2 if self.is_only_for(value, a, b) else 1)
        return saved

    def hands_over(self, a: Cluster, b: Cluster) -> bool:
        """Whether there is a value that one computes and only the other needs."""
        return any(
            value in sink.reads and self.is_only_for(value, a, b)
            for source, sink in ((a, b), (b, a))
            for value in source.results
        )

    def is_only_for(self, value: Value, a: Cluster, b: Cluster) -> bool:
        return value not in self.program.wanted and all(self.cluster_of[n] in (a, b) for n in self.readers[value])

    def _members(self, a: Sequence[Node], b: Sequence[Node]) -> list[Node]:
        return sorted(dict.fromkeys((*a, *b)), key=_position)

    def _handed_on(self, a: Cluster, b: Cluster) -> list[Value]:
        """The results of one kernel in the place of both."""
        producer = self.program.producer
        found = [v for v in (*a.results, *b.results) if not self.is_only_for(v, a, b)]
        return sorted(found, key=lambda v: producer[v].position)

    def _fault(self, *clusters: Cluster) -> Node:
        return next(node for cluster in clusters for node in cluster.nodes if node.faults)

    def is_copy(self, cluster: Cluster) -> bool:
        """Whether a cluster copies what another one computed, or an argument: a second place for one value."""
        node = cluster.nodes[0]
        if node.op is not None:
            return False
        producer = self.program.producer.get(self.program.base(node.operands[0]))
        return producer is None or not producer.inlined


def _position(node: Node) -> int:
    return node.position


def _lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1
