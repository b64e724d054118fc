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
    """The pointwise ops that handed on a result which the kernels that need it had better compute by themselves."""
    found: set[Op] = set()
    for cluster in partition.clusters.values():
        for source, nodes in _cheap_functions(partition, cluster).items():
            if _saved_bytes(partition, cluster, source, nodes) > 0:
                found.update(node.op for node in nodes if node.op is not None)
    return frozenset(found)


def _cheap_functions(partition: Partition, cluster: Cluster) -> dict[Value, list[Node]]:
    """The results of a kernel that are cheap functions of one other value each, computed by it or in memory, and of
    far smaller ones."""
    program = partition.program
    found: dict[Value, list[Node]] = {}
    for value in cluster.results:
        node = program.producer[value]
        sources = [v for v in program.reads(node) if _FAR_SMALLER * v.type.size > value.type.size]
        readers = partition.readers.get(value, [])
        if (
            value not in program.wanted
            and node.kind == "pointwise"
            and node.op is not None
            and not node.faults
            and len(sources) == 1
            and all(v.type.shape for v in program.reads(node))
            and program.weight(node) <= CHEAP
            and all(reader.kind in ("pointwise", "reduce") for reader in readers)
        ):
            found.setdefault(sources[0], []).append(node)
    return found


def _saved_bytes(partition: Partition, cluster: Cluster, source: Value, nodes: list[Node]) -> int:
    """How much less is written and read if `source` is stored instead of the results of `nodes`."""
    saved = 0
    users: set[Cluster] = set()
    for node in nodes:
        readers = {partition.cluster_of[reader] for reader in partition.readers[node.result]} - {cluster}
        saved += node.result.type.nbytes * (1 + len(readers))
        users |= readers
    sources = {source, *(v for node in nodes for v in partition.program.reads(node))}
    for needed in sources:
        is_stored = needed in cluster.results or needed in cluster.reads
        new_readers = sum(needed not in user.reads for user in users)
        saved -= needed.type.nbytes * (new_readers + (not is_stored))
    return saved
