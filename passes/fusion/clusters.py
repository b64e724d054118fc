"""Chooses kernels: starts with one per node and merges them, the pair that saves most memory traffic first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from graphc.ir.graph import Graph
from graphc.passes.fusion.partition import Cluster, Kernel, Partition
from graphc.passes.fusion.program import Program
from graphc.passes.fusion.recompute import worth_recomputing
from graphc.passes.fusion.refusal import Refusal
from graphc.passes.fusion.rules import MAX_NODES
from graphc.passes.fusion.side_by_side import merge_side_by_side

Pair = tuple[Cluster, Cluster]
_SCALARS = 64  # ops of one of several equal kernels that compute scalars


def choose_kernels(graph: Graph) -> Partition:
    """The kernels of an optimized graph: the better of what greedy merging finds, and of what it finds when every
    kernel computes by itself what is not worth handing on (see `worth_recomputing`)."""
    partition = fuse_clusters(Program(graph))
    recompute = worth_recomputing(partition)
    if not recompute:
        return partition
    other = fuse_clusters(Program(graph, recompute))
    return min(partition, other, key=lambda p: (p.traffic(), len(p.clusters)))


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
    merge_side_by_side(partition)
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
    """All in one kernel, if that is not too large. Else those that hand something on first, and then as many of equal
    work as make one of moderate size: kernels that are equal are compiled once, as those for the steps and rates of
    many parameters are."""
    if sum(len(cluster.nodes) for cluster in candidates) <= MAX_NODES:
        _first_fit(partition, candidates, MAX_NODES)
        return
    groups: dict[tuple[str, ...], list[Cluster]] = {}
    for cluster in _connected(partition, candidates):
        groups.setdefault(tuple(node.name for node in cluster.nodes), []).append(cluster)
    for group in groups.values():
        if len(group) > 1:
            _first_fit(partition, group, _SCALARS)
    _first_fit(partition, [group[0] for group in groups.values() if len(group) == 1], MAX_NODES)


def _connected(partition: Partition, clusters: list[Cluster]) -> list[Cluster]:
    """The clusters after merging those that hand something on to one another."""
    kept: dict[Cluster, None] = {}
    for cluster in clusters:
        kept[cluster] = None
        for other in partition.predecessors(cluster):
            kernel = partition.merged(other, cluster, with_prologue=False) if other in kept else None
            if isinstance(kernel, Kernel):
                del kept[cluster]
                cluster = partition.merge(other, cluster, kernel)
    return list(kept)


def _first_fit(partition: Partition, clusters: list[Cluster], max_nodes: int) -> None:
    merged: list[Cluster] = []
    for cluster in clusters:
        for other in merged:
            fits = len(other.nodes) + len(cluster.nodes) <= max_nodes
            kernel = partition.merged(other, cluster, with_prologue=False) if fits else None
            if isinstance(kernel, Kernel):
                partition.merge(other, cluster, kernel)
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
    """Producers with their consumers; a reduction of columns only with what is needed there alone."""
    for a, b in _neighbours(partition, cluster):
        if not (a.sums_columns or b.sums_columns) or (partition.hands_over(a, b) and not _gives_more(partition, a, b)):
            yield a, b


def _gives_more(partition: Partition, a: Cluster, b: Cluster) -> bool:
    """Whether one of two kernels only sums columns, and the other gives as much to others as to that one."""
    if a.sums_columns == b.sums_columns:
        return False
    other, sums = (b, a) if a.sums_columns else (a, b)
    handed_over = max((v.type.size for v in other.results if v in sums.reads), default=0)
    return any(v.type.size >= handed_over and not partition.is_only_for(v, a, b) for v in other.results)


def _siblings(partition: Partition, cluster: Cluster) -> Iterator[Pair]:
    """Kernels that read the same values, where one kernel had better do that."""
    if cluster.kind not in ("loop", "reduction"):
        return
    found: dict[Cluster, None] = {}
    for value in cluster.reads:
        found.update((partition.cluster_of[node], None) for node in partition.readers[value])
    for other in found:
        if other is not cluster and why_no_siblings(cluster, other) is None:
            yield (cluster, other) if cluster.index < other.index else (other, cluster)


def why_no_siblings(a: Cluster, b: Cluster) -> Refusal | None:
    """Why two kernels that read the same are not worth merging for that alone: they must be loops and reductions, and
    what they share much of what either reads and writes."""
    for cluster in (a, b):
        if cluster.kind not in ("loop", "reduction"):
            return Refusal("reading the same joins loops and reductions, not a {}", (cluster.kind,))
    shared = sum(v.type.nbytes for v in a.reads if v in b.reads)
    smaller = min(a.traffic, b.traffic)
    if 4 * shared < smaller:
        return Refusal("saves too little: {} bytes of {} that the smaller one reads and writes", (shared, smaller))
    return None


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
            continue
        kernel = partition.merged(a, b, with_prologue)
        if isinstance(kernel, Kernel):
            for pair in pairs(partition, partition.merge(a, b, kernel)):
                push(*pair)
