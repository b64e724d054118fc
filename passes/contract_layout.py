"""Folds layout ops around contractions into their specs, so that nothing is moved in memory for them.

A contraction reads and writes its axes in any order, so a transpose next to it only renames letters; a broadcast adds
letters that need not be there; and a reshape of the result that splits an axis is a reshape of the operands that have
the axis (where it costs nothing, or cancels the reshape that joined it).
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Op, Value
from graphc.ir.ops.contraction import Letters, parse_spec
from graphc.ir.reshape_groups import reshape_groups
from graphc.passes.algebra import RULES, Rule
from graphc.passes.algebra.broadcasts import broadcast_in
from graphc.passes.algebra.table import ints, reshaped, source
from graphc.passes.canonicalize import Notify, settle
from graphc.passes.preconditions import refuse_gradients
from graphc.passes.shapes import without

Parts = dict[str, tuple[str, tuple[int, ...]]]  # letter -> the letters it is split into, and their sizes


@dataclass(frozen=True)
class ContractLayout:
    """Before: a graph without `gradient` ops.

    After: the graph is canonical (see `Canonicalize`), and no contraction
      - has a transpose or a broadcast along a batch or free letter as an operand;
      - sums over nothing (it became a product), or over an axis of size 1;
      - has a result that is only transposed, only summed over a batch letter, or only reshaped in a way that splits
        axes or drops axes of size 1;
      - sums over an axis that both operands join by equal reshapes.
    Sums may round differently; no product is formed that was not formed before.
    """

    max_sweeps: int = 64
    notify: Notify | None = field(default=None, compare=False, repr=False)
    name: str = "contract-layout"

    def run(self, graph: Graph) -> Graph:
        refuse_gradients(graph, self.name)
        return settle(graph, _rules, self.name, self.max_sweeps, self.notify)


def _rules(graph: Graph) -> Mapping[str, Sequence[Rule]]:
    """The rules of `canonicalize` and those of this file. A rule that changes a contraction for the sake of the op that
    uses it applies where that is the only use; otherwise the contraction would be done twice."""
    users = graph.uses()
    roots = set(graph.roots())

    def if_only_use(rule: Rule) -> Rule:
        def guarded(b: Builder, op: Op, *operands: Value) -> Value | None:
            old = op.operands[0]
            is_only = len(users[old]) == 1 and old not in roots and source(operands[0], "contract")
            return rule(b, op, *operands) if is_only else None

        guarded.__name__, guarded.__doc__ = rule.__name__, rule.__doc__
        return guarded

    merged: dict[str, list[Rule]] = {name: list(rules) for name, rules in RULES.items()}
    for name, own in CONTRACT_RULES.items():
        merged.setdefault(name, []).extend(own)
    for name, one in RESULT_RULES.items():
        merged.setdefault(name, []).append(if_only_use(one))
    return merged


# --- operands ---------------------------------------------------------------------------------------------------------


def operand_transpose(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """contract(transpose(x), y) -> contract(x, y), letters reordered"""
    at = letters_of(op)
    operands, specs = [x, y], [at.a, at.b]
    for i, value in enumerate((x, y)):
        if inner := source(value, "transpose"):
            perm = ints(inner, "perm")
            operands[i] = inner.operands[0]
            specs[i] = "".join(specs[i][perm.index(axis)] for axis in range(len(perm)))
    return None if operands == [x, y] else contract(b, operands, specs, at.out)


def operand_broadcast(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """contract(broadcast(x), y) -> contract(x, y) without the new letters that y and the result have too;
    -> broadcast(contract(x, y)) without those that y has not"""
    at = letters_of(op)
    operands, specs = [x, y], [at.a, at.b]
    for i, value in enumerate((x, y)):
        inner = source(value, "broadcast")
        if inner is None or 1 in inner.operands[0].type.shape:
            continue
        dims = ints(inner, "dims")
        new = [axis for axis in range(value.type.rank) if axis not in dims and specs[i][axis] in at.out]
        if new:
            kept = [axis for axis in range(value.type.rank) if axis not in new]
            operands[i] = broadcast_in(
                b, inner.operands[0], [value.type.shape[a] for a in kept], [kept.index(d) for d in dims]
            )
            specs[i] = "".join(specs[i][axis] for axis in kept)
    if operands == [x, y]:
        return None
    out = "".join(letter for letter in at.out if letter in specs[0] + specs[1])
    return broadcast_in(
        b, contract(b, operands, specs, out), op.result.type.shape, [at.out.index(letter) for letter in out]
    )


def summed_one(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """contract(x, y) summing over axes of size 1 -> contract(reshape(x), reshape(y)) without them"""
    at = letters_of(op)
    ones = {letter for letter, n in zip(at.a, x.type.shape, strict=True) if n == 1 and letter in at.k}
    if not ones:
        return None
    operands, specs = drop_letters((x, y), (at.a, at.b), ones, b)
    return contract(b, operands, specs, at.out)


def no_sum(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """contract(x, y) that sums nothing -> x * y, both transposed and broadcast"""
    at = letters_of(op)
    if at.k:
        return None
    shape = op.result.type.shape
    factors = []
    for value, letters in ((x, at.a), (y, at.b)):
        order = sorted(range(len(letters)), key=lambda axis: at.out.index(letters[axis]))
        moved = value if order == list(range(len(order))) else b.transpose(value, perm=tuple(order))
        factors.append(broadcast_in(b, moved, shape, [at.out.index(letters[axis]) for axis in order]))
    return b.mul(*factors)


def summed_reshapes(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """contract(reshape(x), reshape(y)) summing over an axis that both join alike -> contract(x, y) over those axes"""
    at = letters_of(op)
    for letter in at.k:
        sizes = [_joined(value, letters.index(letter)) for value, letters in ((x, at.a), (y, at.b))]
        parts = _parts(at, {letter: sizes[0]})
        if sizes[0] and sizes[0] == sizes[1] and parts:
            operands, specs = split_letters((x, y), (at.a, at.b), parts, b)
            return contract(b, operands, specs, at.out)
    return None


def summed_transpose(b: Builder, op: Op, x: Value, y: Value) -> Value | None:
    """contract(reshape(transpose(x)), y) summing over axes that the reshape joins -> contract(x, reshape(y))"""
    at = letters_of(op)
    for value, letters in ((x, at.a), (y, at.b)):
        inner = source(value, "reshape")
        if inner is None or not source(inner.operands[0], "transpose"):
            continue
        sizes = {letter: _joined(value, axis) for axis, letter in enumerate(letters) if letter in at.k}
        joined = {letter: found for letter, found in sizes.items() if found}
        parts = _parts(at, joined)
        if parts and split_shape(value, letters, parts) == inner.operands[0].type.shape:
            operands, specs = split_letters((x, y), (at.a, at.b), parts, b)
            return contract(b, operands, specs, at.out)
    return None


def _joined(value: Value, axis: int) -> tuple[int, ...]:
    """The sizes of the axes that `value`, a reshape, joins into `axis`; empty where it does not."""
    inner = source(value, "reshape")
    groups = reshape_groups(inner.operands[0].type.shape, value.type.shape) if inner else None
    if inner is None or groups is None:
        return ()
    shape = inner.operands[0].type.shape
    found = [tuple(shape[a] for a in g.source) for g in groups if g.result == (axis,) and len(g.source) > 1]
    return found[0] if found else ()


# --- results ----------------------------------------------------------------------------------------------------------


def result_transpose(b: Builder, op: Op, x: Value) -> Value | None:
    """transpose(contract(x, y)) -> contract(x, y), result letters reordered"""
    inner = source(x, "contract")
    if inner is None:
        return None
    at = letters_of(inner)
    return contract(b, inner.operands, (at.a, at.b), "".join(at.out[axis] for axis in ints(op, "perm")))


def result_sum(b: Builder, op: Op, x: Value) -> Value | None:
    """sum(contract(x, y)) over letters that both operands have -> contract(x, y) summing over them too"""
    inner = source(x, "contract")
    if inner is None or op.attributes["keepdims"]:
        return None
    at = letters_of(inner)
    axes = ints(op, "axes")
    if not axes or not all(at.out[axis] in at.batch for axis in axes):
        return None
    return contract(b, inner.operands, (at.a, at.b), "".join(without(at.out, axes)))


def result_reshape(b: Builder, op: Op, x: Value) -> Value | None:
    """reshape(contract(x, y)) that splits axes, or drops axes of size 1 -> contract(reshape(x), reshape(y))"""
    inner = source(x, "contract")
    target = op.result.type.shape
    groups = reshape_groups(x.type.shape, target)
    if inner is None or groups is None or any(len(g.source) > 1 for g in groups):
        return None
    at = letters_of(inner)
    ones = {letter for letter, n in zip(at.out, x.type.shape, strict=True) if n == 1}
    split = [g for g in groups if len(g.result) > 1]
    if not split and len(ones) <= target.count(1):
        return None
    parts = _parts(at, {at.out[g.source[0]]: tuple(target[a] for a in g.result) for g in split})
    if parts is None:
        return None
    operands, specs = drop_letters(inner.operands, (at.a, at.b), ones, b)
    operands, specs = split_letters(operands, specs, parts, b)
    out = "".join(parts[letter][0] if letter in parts else letter for letter in at.out if letter not in ones)
    return reshaped(b, contract(b, operands, specs, out), target)


ContractRule = Callable[..., "Value | None"]
CONTRACT_RULES: dict[str, tuple[ContractRule, ...]] = {
    "contract": (operand_transpose, operand_broadcast, summed_one, no_sum, summed_reshapes, summed_transpose)
}
RESULT_RULES: dict[str, ContractRule] = {
    "transpose": result_transpose,
    "sum": result_sum,
    "reshape": result_reshape,
}


# --- specs ------------------------------------------------------------------------------------------------------------


def letters_of(op: Op) -> Letters:
    """The letters of a contraction."""
    spec = op.attributes["spec"]
    assert isinstance(spec, str)
    return parse_spec(spec)


def contract(b: Builder, operands: Sequence[Value], letters: Sequence[str], out: str) -> Value:
    """The contraction of two operands with these letters."""
    return b.emit("contract", operands, {"spec": f"{letters[0]},{letters[1]}->{out}"}).result


def fresh_letters(at: Letters, n: int) -> str | None:
    """`n` letters that a spec does not use; None where that many are not left."""
    free = "".join(x for x in string.ascii_letters if x not in at.a + at.b)
    return free[:n] if len(free) >= n else None


def _parts(at: Letters, sizes: Mapping[str, tuple[int, ...]]) -> Parts | None:
    """New letters for each letter that is to be split into several, of these sizes; None where letters run out."""
    names = fresh_letters(at, sum(map(len, sizes.values())))
    if names is None:
        return None
    parts: Parts = {}
    for letter, mine in sizes.items():
        parts[letter] = (names[: len(mine)], mine)
        names = names[len(mine) :]
    return parts


def drop_letters(
    operands: Sequence[Value], specs: Sequence[str], ones: set[str], b: Builder
) -> tuple[list[Value], list[str]]:
    """Operands and their letters without the letters `ones`, whose axes have size 1."""
    found = []
    for value, letters in zip(operands, specs, strict=True):
        places = [axis for axis, letter in enumerate(letters) if letter in ones]
        found.append((reshaped(b, value, without(value.type.shape, places)), "".join(without(letters, places))))
    return [v for v, _ in found], [s for _, s in found]


def split_letters(
    operands: Sequence[Value], specs: Sequence[str], parts: Parts, b: Builder
) -> tuple[list[Value], list[str]]:
    """Operands and their letters with each letter of `parts` split into several, of these sizes."""
    found = []
    for value, letters in zip(operands, specs, strict=True):
        renamed = "".join(parts[letter][0] if letter in parts else letter for letter in letters)
        found.append((reshaped(b, value, split_shape(value, letters, parts)), renamed))
    return [v for v, _ in found], [s for _, s in found]


def split_shape(value: Value, letters: str, parts: Parts) -> tuple[int, ...]:
    """The shape of `value` with the axes of the letters in `parts` split."""
    shape: list[int] = []
    for letter, size in zip(letters, value.type.shape, strict=True):
        shape.extend(parts[letter][1] if letter in parts else (size,))
    return tuple(shape)
