"""Chooses kernels: starts with one per node and merges them, the pair that saves most memory traffic first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator

from graphc.ir.graph import Value
from graphc.passes.fusion.program import Node, Program
from graphc.passes.fusion.rules import MAX_NODES, kernel_kind, space_of

Pair = tuple["Cluster", "Cluster"]


class Cluster:
    """Nodes that will be one kernel. `reads` and `results` go through memory. `reaches` is a set, as the bits of an
    integer, of the indices of all clusters that depend on this one. `exposed` holds the states of which it computes the
    new value but, for the way it reads the old one, cannot write it in place."""

    __slots__ = ("exposed", "index", "kind", "nodes", "reaches", "reads", "results", "version")

    def __init__(self, index: int, nodes: list[Node]):
        self.index = index
        self.nodes = nodes
        self.kind = ""
        self.reads: dict[Value, None] = {}
        self.results: list[Value] = []
        self.exposed: set[Value] = set()
        self.reaches = 0
        self.version = 0

    @property
    def bit(self) -> int:
        return 1 << self.index

    @property
    def traffic(self) -> int:
        """Bytes read and written."""
        return sum(v.type.nbytes for v in (*self.reads, *self.results))

    @property
    def sums_columns(self) -> bool:
        """Whether it reduces over axes other than the innermost."""
        return any(space_of(node).keeps_innermost for node in self.nodes if node.kind == "reduce")

    @property
    def faults(self) -> bool:
        return any(node.faults for node in self.nodes)

    def __repr__(self) -> str:
        return f"<Cluster {self.index} {self.kind}: {', '.join(node.name for node in self.nodes)}>"


class Partition:
    """The clusters of a program. Every node that is not inlined is in exactly one."""

    def __init__(self, program: Program):
        self.program = program
        self.readers: dict[Value, list[Node]] = {}
        self.cluster_of: dict[Node, Cluster] = {}
        self.clusters: dict[int, Cluster] = {}
        for node in program.real_nodes():
            for value in program.reads(node):
                self.readers.setdefault(value, []).append(node)
        for index, node in enumerate(program.real_nodes()):
            cluster = Cluster(index, [node])
            self.clusters[index] = cluster
            self.cluster_of[node] = cluster
        for cluster in self.clusters.values():
            self._complete(cluster)
        for cluster in reversed(self.clusters.values()):
            for other in self.successors(cluster):
                cluster.reaches |= other.bit | other.reaches

    def successors(self, cluster: Cluster) -> list[Cluster]:
        """The clusters that read what this one computes."""
        found = {self.cluster_of[node]: None for v in cluster.results for node in self.readers.get(v, ())}
        found.pop(cluster, None)
        return list(found)

    def ordered(self) -> list[Cluster]:
        """Every cluster after those it depends on; otherwise in the order of the program."""
        waiting = dict.fromkeys(self.clusters.values(), 0)
        for cluster in self.clusters.values():
            for other in self.successors(cluster):
                waiting[other] += 1
        ready = [(c.nodes[-1].position, c.index) for c, count in waiting.items() if count == 0]
        heapq.heapify(ready)
        order: list[Cluster] = []
        while ready:
            _, index = heapq.heappop(ready)
            order.append(self.clusters[index])
            for other in self.successors(order[-1]):
                waiting[other] -= 1
                if waiting[other] == 0:
                    heapq.heappush(ready, (other.nodes[-1].position, other.index))
        assert len(order) == len(self.clusters), "fusion made a cycle"
        return order

    def traffic(self) -> int:
        """Bytes that all kernels together read and write."""
        return sum(cluster.traffic for cluster in self.clusters.values())

    def members(self, nodes: Iterable[Node]) -> list[Node]:
        """The nodes of a kernel, inlined ones included, in order."""
        found: dict[Node, None] = {}
        for node in nodes:
            found.update(dict.fromkeys(self.program.inlined(node)))
            found[node] = None
        return sorted(found, key=lambda node: node.position)

    def may_merge(self, a: Cluster, b: Cluster, with_prologue: bool) -> bool:
        """Whether one kernel can do the work of both, at no cost that outweighs it: no cycle, no copy of a state that
        could be updated in place, and no fault in a kernel that writes state."""
        if len(a.nodes) + len(b.nodes) > MAX_NODES or self._is_copy(a) or self._is_copy(b) or self._makes_cycle(a, b):
            return False
        nodes = [*a.nodes, *b.nodes]
        results = self._results_of(nodes)
        writes = any(v in self.program.written for v in results)
        if writes and (a.faults or b.faults):
            return False
        members = self.members(nodes)
        kind = kernel_kind(members, results, with_prologue)
        return kind is not None and self._exposed(members, results, kind) <= a.exposed | b.exposed

    def merge(self, a: Cluster, b: Cluster) -> Cluster:
        """Make one cluster of both; it takes the place of `a`."""
        del self.clusters[b.index]
        a.nodes = sorted([*a.nodes, *b.nodes], key=lambda node: node.position)
        for node in b.nodes:
            self.cluster_of[node] = a
        a.version += 1
        a.reaches = (a.reaches | b.reaches) & ~(a.bit | b.bit)
        either = a.bit | b.bit
        for other in self.clusters.values():
            if other.reaches & either:
                other.reaches = (other.reaches | a.bit | a.reaches) & ~b.bit
        self._complete(a)
        return a

    def saved_bytes(self, a: Cluster, b: Cluster) -> int:
        """How much less memory traffic one kernel makes than two: values handed over within it are not read, and not
        written where nothing else needs them; what both read is read once."""
        saved = sum(v.type.nbytes for v in a.reads if v in b.reads)
        for source, sink in ((a, b), (b, a)):
            for value in source.results:
                if value in sink.reads:
                    saved += value.type.nbytes * (2 if self._is_only_for(value, a, b) else 1)
        return saved

    def hands_over(self, a: Cluster, b: Cluster) -> bool:
        """Whether there is a value that one computes and only the other needs."""
        return any(
            value in sink.reads and self._is_only_for(value, a, b)
            for source, sink in ((a, b), (b, a))
            for value in source.results
        )

    def _is_only_for(self, value: Value, a: Cluster, b: Cluster) -> bool:
        return value not in self.program.wanted and all(self.cluster_of[n] in (a, b) for n in self.readers[value])

    def _complete(self, cluster: Cluster) -> None:
        """Derive what follows from the nodes."""
        cluster.results = self._results_of(cluster.nodes)
        own = {v for node in cluster.nodes for v in node.results}
        cluster.reads = {v: None for node in cluster.nodes for v in self.program.reads(node) if v not in own}
        members = self.members(cluster.nodes)
        kind = kernel_kind(members, cluster.results)
        assert kind is not None, f"no kernel holds {cluster}"
        cluster.kind = kind
        cluster.exposed = self._exposed(members, cluster.results, kind)

    def _results_of(self, nodes: Iterable[Node]) -> list[Value]:
        inside = set(nodes)
        ordered = sorted(inside, key=lambda node: node.position)
        return [
            value
            for node in ordered
            for value in node.results
            if value in self.program.wanted or any(reader not in inside for reader in self.readers.get(value, ()))
        ]

    def _makes_cycle(self, a: Cluster, b: Cluster) -> bool:
        """Whether a third cluster lies on a way from one to the other."""
        return any(
            other is not sink and other.reaches & sink.bit
            for source, sink in ((a, b), (b, a))
            for other in self.successors(source)
        )

    def _is_copy(self, cluster: Cluster) -> bool:
        """Whether a cluster copies what another one computed, or an argument: a second place for one value."""
        (node, *_) = cluster.nodes
        if node.op is not None:
            return False
        producer = self.program.producer.get(self.program.base(node.operands[0]))
        return producer is None or not producer.inlined

    def _exposed(self, members: list[Node], results: list[Value], kind: str) -> set[Value]:
        """The states whose new value the kernel computes but, for the way it reads the old one, cannot write in
        place."""
        states = {self.program.written[v]: v for v in results if v in self.program.written}
        found: set[Value] = set()
        for state, new in states.items():
            if not any(state in node.operands for node in members):
                continue
            in_place = kind in ("loop", "contraction") or (
                kind == "reduction" and _gives_reduced_only(members, results)
            )
            if not in_place or not _read_pointwise(members, state) or self._has_other_shape(members, state, new):
                found.add(state)
        return found

    def _has_other_shape(self, members: list[Node], state: Value, new: Value) -> bool:
        """Whether pointwise ops read the state in a shape other than that of its new value."""
        aliases = [state, *(n.result for n in members if n.name == "reshape" and self.program.base(n.result) is state)]
        return any(
            node.kind == "pointwise" and v in aliases and v.type.shape != new.type.shape
            for node in members
            for v in node.operands
        )


def _read_pointwise(members: list[Node], source: Value) -> bool:
    """Whether nothing but pointwise ops depends on `source`, except that it may first be given another shape."""
    aliases = {source}
    dependent = {source}
    for node in members:
        if node.name == "reshape" and node.operands[0] in aliases:
            aliases.update(node.results)
            dependent.update(node.results)
        elif not dependent.isdisjoint(node.operands):
            if node.kind != "pointwise":
                return False
            dependent.update(node.results)
    return True


def _gives_reduced_only(members: list[Node], results: list[Value]) -> bool:
    reduce = next(node for node in members if node.kind == "reduce")
    return all(v.type.size == reduce.result.type.size < reduce.operands[0].type.size for v in results)


def fuse_clusters(program: Program) -> Partition:
    """The kernels of a program: first scalars computed from scalars alone, then whatever saves traffic between a
    producer and its consumer, then kernels that read the same, and last what can be done while a contraction packs
    its operands. Reductions of columns wait for those of rows: what is summed over a batch for the gradient of a bias
    is best computed by the kernel whose rows it depends on."""
    partition = Partition(program)
    _merge_scalars(partition, _scalars_from_memory(partition))
    for pairs in (_close_neighbours, _neighbours, _siblings, _neighbours):
        _merge_greedily(partition, pairs, with_prologue=False)
    _merge_greedily(partition, _neighbours, with_prologue=True)
    _merge_scalars(partition, [c for c in partition.clusters.values() if _is_scalar(c)])
    return partition


def _is_scalar(cluster: Cluster) -> bool:
    return all(node.kind == "pointwise" and not node.result.type.shape for node in cluster.nodes)


def _scalars_from_memory(partition: Partition) -> list[Cluster]:
    """The kernels that compute scalars from arguments alone, through such kernels."""
    found: dict[Cluster, None] = {}
    for cluster in partition.clusters.values():
        producers = [partition.program.producer.get(v) for v in cluster.reads]
        if _is_scalar(cluster) and all(n is None or partition.cluster_of[n] in found for n in producers):
            found[cluster] = None
    return list(found)


def _merge_scalars(partition: Partition, candidates: list[Cluster]) -> None:
    merged: list[Cluster] = []
    for cluster in candidates:
        for other in merged:
            if partition.may_merge(other, cluster, False):
                partition.merge(other, cluster)
                break
        else:
            merged.append(cluster)


def _neighbours(partition: Partition, cluster: Cluster) -> Iterator[Pair]:
    """Producers with their consumers."""
    for other in partition.successors(cluster):
        yield cluster, other
    for value in cluster.reads:
        producer = partition.program.producer.get(value)
        if producer is not None:
            yield partition.cluster_of[producer], cluster


def _close_neighbours(partition: Partition, cluster: Cluster) -> Iterator[Pair]:
    """Producers with their consumers; a reduction of columns only where it alone needs a value."""
    for a, b in _neighbours(partition, cluster):
        if partition.hands_over(a, b) or not (a.sums_columns or b.sums_columns):
            yield a, b


def _siblings(partition: Partition, cluster: Cluster) -> Iterator[Pair]:
    """Loops and reductions that read the same values, where that is much of what either reads and writes."""
    if cluster.kind not in ("loop", "reduction"):
        return
    found: dict[Cluster, None] = {}
    for value in cluster.reads:
        found.update((partition.cluster_of[node], None) for node in partition.readers[value])
    for other in found:
        if other is cluster or other.kind not in ("loop", "reduction"):
            continue
        shared = sum(v.type.nbytes for v in cluster.reads if v in other.reads)
        if 4 * shared >= min(cluster.traffic, other.traffic):
            yield (cluster, other) if cluster.index < other.index else (other, cluster)


def _merge_greedily(
    partition: Partition, pairs: Callable[[Partition, Cluster], Iterator[Pair]], with_prologue: bool
) -> None:
    heap: list[tuple[int, int, int, int, int, int]] = []

    def push(a: Cluster, b: Cluster) -> None:
        # A contraction takes what follows it before anything else does.
        rank = 0 if a.kind == "contraction" else 1
        heapq.heappush(heap, (-partition.saved_bytes(a, b), rank, a.index, b.index, a.version, b.version))

    for cluster in list(partition.clusters.values()):
        for pair in pairs(partition, cluster):
            push(*pair)
    while heap:
        saved, _, i, j, *versions = heapq.heappop(heap)
        a, b = partition.clusters.get(i), partition.clusters.get(j)
        if a is None or b is None or [a.version, b.version] != versions:
            continue
        if saved != -partition.saved_bytes(a, b):
            push(a, b)
        elif partition.may_merge(a, b, with_prologue):
            merged = partition.merge(a, b)
            for pair in pairs(partition, merged):
                push(*pair)
