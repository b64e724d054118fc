"""Recomputes cheap values instead of handing them from kernel to kernel, where that saves memory traffic.

A kernel may end up storing several cheap functions of one value, such as x / 2 and x * x: then x alone is stored, and
who needs the functions computes them again. The same goes for functions of one value and of far smaller ones, such as
x less the mean of its row.
"""

from __future__ import annotations

from graphc.ir.graph import Op, Value
from graphc.passes.fusion.partition import Cluster, Partition
from graphc.passes.fusion.program import CHEAP, Node

_FAR_SMALLER = 8  # times


def worth_recomputing(partition: Partition) -> frozenset[Op]:
    """The pointwise ops that handed on a result which the kernels that need it had better compute by themselves, and
    those before them."""
    found: set[Op] = set()
    for cluster in partition.clusters.values():
        for source, chains in _cheap_functions(partition, cluster).items():
            if _saved_bytes(partition, cluster, source, chains) > 0:
                found.update(node.op for chain in chains for node in chain if node.op is not None)
    return frozenset(found)


def _cheap_functions(partition: Partition, cluster: Cluster) -> dict[Value, list[list[Node]]]:
    """The results of a kernel that are cheap functions of one other value each, computed by it or in memory, and of
    far smaller ones: by that value, the nodes that compute each result, from the last to the first."""
    program = partition.program
    found: dict[Value, list[list[Node]]] = {}
    for value in cluster.results:
        readers = partition.readers.get(value, [])
        if value not in program.wanted and all(reader.kind in ("pointwise", "reduce") for reader in readers):
            source, chain = _cheap_chain(partition, cluster, value)
            if chain:
                found.setdefault(source, []).append(chain)
    return found


def _cheap_chain(partition: Partition, cluster: Cluster, value: Value) -> tuple[Value, list[Node]]:
    """What `value` is a cheap function of, and the nodes between: from what the kernel stores or reads anyway, if that
    is near enough."""
    program = partition.program
    chain: list[Node] = []
    nearest = value
    source = value
    while source not in cluster.reads and (source is value or source not in cluster.results):
        node = program.producer[source]
        reads = program.reads(node)
        large = [v for v in reads if _FAR_SMALLER * v.type.size > value.type.size]
        weight = sum(map(program.weight, (*chain, node)))
        if node.kind != "pointwise" or node.op is None or node.faults or len(large) != 1 or weight > CHEAP:
            return nearest, chain[:1]
        if not all(v.type.shape for v in reads):
            return nearest, chain[:1]
        chain.append(node)
        (source,) = large
        if len(chain) == 1:
            nearest = source
    return source, chain


def _saved_bytes(partition: Partition, cluster: Cluster, source: Value, chains: list[list[Node]]) -> int:
    """How much less is written and read if `source` is stored instead of what the chains compute."""
    saved = 0
    users: set[Cluster] = set()
    for last, *_ in chains:
        readers = {partition.cluster_of[reader] for reader in partition.readers[last.result]} - {cluster}
        saved += last.result.type.nbytes * (1 + len(readers))
        users |= readers
    inner = {node.result for chain in chains for node in chain}
    sources = {source, *(v for chain in chains for node in chain for v in partition.program.reads(node))} - inner
    for needed in sources:
        is_stored = needed in cluster.results or needed in cluster.reads
        new_readers = sum(needed not in user.reads for user in users)
        saved -= needed.type.nbytes * (new_readers + (not is_stored))
    return saved
