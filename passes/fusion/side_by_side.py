"""Small kernels that have nothing to do with one another, as one: the updates of many small parameters, above all.

Such kernels run side by side as it is, so what one kernel saves is not time but compile time (docs/adr/0013). Equal
kernels are compiled once however many there are, so they stay apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from graphc.ir.graph import Value
from graphc.passes.cse import attribute_key
from graphc.passes.fusion.partition import Cluster, Kernel, Partition
from graphc.passes.fusion.refusal import Refusal

_SMALL = 1 << 16  # bytes that a kernel reads and writes
_MAX_PARAMETERS = 64  # of a kernel


def merge_side_by_side(partition: Partition) -> None:
    """Merge small loops of which there is only one each, and whose results no other kernel waits for."""
    loops = [c for c in partition.clusters.values() if c.kind == "loop" and not c.after and c.traffic <= _SMALL]
    loops = [c for c in loops if not partition.is_copy(c)]
    times = Counter(map(_work, loops))
    merged: list[Cluster] = []
    for cluster in [c for c in loops if times[_work(c)] == 1]:
        for other in merged:
            kernel = _side_by_side(partition, other, cluster)
            if isinstance(kernel, Kernel):
                partition.merge(other, cluster, kernel)
                break
        else:
            merged.append(cluster)


def _side_by_side(partition: Partition, a: Cluster, b: Cluster) -> Kernel | Refusal:
    """The loop that does the work of both, each over its own shape, or why there is none. They must not compute a
    common value, and neither may read a state that the other one updates."""
    if len(a.reads | b.reads) + len(a.results) + len(b.results) > _MAX_PARAMETERS:
        return Refusal("one kernel would have more than {} parameters", (_MAX_PARAMETERS,))
    common = set(a.members).intersection(b.members)
    for node in a.members:
        if node in common and node.size > 1:
            return Refusal("both compute {}", (node.result,))
    for one, other in ((a, b), (b, a)):
        for value in one.results:
            state = partition.program.written.get(value)
            if state is not None and state in other.reads:
                return Refusal("one reads {}, which the other updates", (state,))
    return partition.joined(a, b, "loop")


def _work(cluster: Cluster) -> Hashable:
    """Equal for clusters that do the same to values of the same types."""
    number: dict[Value, int] = {}
    ops: list[Hashable] = []
    for node in cluster.members:
        operands = tuple(number.setdefault(v, len(number)) for v in node.operands)
        number.update((v, len(number)) for v in node.results)
        attributes = node.op.attributes if node.op is not None else {}
        ops.append((node.name, operands, tuple((k, attribute_key(v)) for k, v in sorted(attributes.items()))))
    return (*ops, *((v.type, i) for v, i in number.items()))
