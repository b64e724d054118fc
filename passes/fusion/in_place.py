"""Which states a kernel could not update in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.ir.graph import Value
from graphc.passes.fusion.program import Node


def exposed_states(
    members: Sequence[Node], results: Sequence[Value], kind: str, written: Mapping[Value, Value]
) -> frozenset[Value]:
    """The states whose new value the kernel computes but, for the way it reads the old one, cannot write in place.
    `written` maps new values to states. A state may be read by nothing but pointwise ops, except that it may first be
    given another shape; and only in the shape of its new value."""
    new_shapes = [(written[v], v.type.shape) for v in results if v in written]
    if not new_shapes:
        return frozenset()
    is_elementwise = kind in ("loop", "contraction") or (kind == "reduction" and _gives_reduced_only(members, results))
    bits = {state: 1 << i for i, (state, _) in enumerate(new_shapes)}
    shapes = {1 << i: shape for i, (_, shape) in enumerate(new_shapes)}
    aliases = dict(bits)  # of a state, perhaps in another shape -> its bit
    dependent = dict(bits)  # value -> the bits of the states that it depends on
    read = exposed = 0
    for node in members:
        depends = 0
        for value in node.operands:
            depends |= dependent.get(value, 0)
            read |= bits.get(value, 0)
        if not depends:
            continue
        dependent.update((value, depends) for value in node.results)
        if node.name == "reshape" and node.operands[0] in aliases:
            aliases[node.result] = aliases[node.operands[0]]
        elif node.kind != "pointwise":
            exposed |= depends
        else:
            for value in node.operands:
                bit = aliases.get(value)
                if bit is not None and value.type.shape != shapes[bit]:
                    exposed |= bit
    if not is_elementwise:
        exposed = read
    return frozenset(state for state, bit in bits.items() if bit & read & exposed)


def _gives_reduced_only(members: Sequence[Node], results: Sequence[Value]) -> bool:
    reduce = next(node for node in members if node.kind == "reduce")
    return all(v.type.size == reduce.size < reduce.operands[0].type.size for v in results)
