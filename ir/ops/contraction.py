"""Sums of products over shared axes: every kind of matrix product."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from graphc.ir.attributes import Attributes
from graphc.ir.errors import AttributeValueError, DTypeError, ShapeError
from graphc.ir.graph import Op, Value
from graphc.ir.opdef import Array, AttrSpec, OpDef, register
from graphc.ir.ops.checks import require_dtype, tensor
from graphc.ir.ops.gradients import linear_vjp
from graphc.ir.ops.rounding import narrow, widen
from graphc.ir.ops.samples import Sample, example, over_types
from graphc.ir.types import DType, TensorType

if TYPE_CHECKING:
    from graphc.ir.builder import Builder

_SPEC = re.compile(r"([a-zA-Z]*),([a-zA-Z]*)->([a-zA-Z]*)", re.ASCII)


@dataclass(frozen=True)
class Letters:
    """A parsed `spec`: the letters of both operands and the result, in axis order; and by role: `batch` is in all
    three, `m` in a and the result, `n` in b and the result, `k` in a and b (summed)."""

    a: str
    b: str
    out: str
    batch: str
    m: str
    n: str
    k: str


def parse_spec(spec: str) -> Letters:
    """The letters of a spec such as "bmk,bnk->bmn". Raises AttributeValueError for one that is no contraction."""
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise AttributeValueError(f"contract: spec {spec!r} is not of the form 'mk,nk->mn'")
    a, b, out = match.groups()
    for letters in (a, b, out):
        if len(set(letters)) != len(letters):
            raise AttributeValueError(
                f"contract: spec {spec!r} repeats a letter within {letters!r}; take a diagonal first"
            )
    for letter in out:
        if letter not in a and letter not in b:
            raise AttributeValueError(f"contract: result letter {letter!r} of spec {spec!r} is in neither operand")
    for letter in a + b:
        if letter not in out and not (letter in a and letter in b):
            raise AttributeValueError(
                f"contract: letter {letter!r} of spec {spec!r} is in one operand only; sum it first"
            )
    return Letters(
        a,
        b,
        out,
        batch="".join(x for x in out if x in a and x in b),
        m="".join(x for x in out if x in a and x not in b),
        n="".join(x for x in out if x in b and x not in a),
        k="".join(x for x in a if x not in out),
    )


def _infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
    a, b = types
    letters = parse_spec(cast(str, attrs["spec"]))
    require_dtype("contract", a, "number")
    require_dtype("contract", b, "number")
    if a.dtype != b.dtype:
        raise DTypeError(f"contract: element types differ: {a} and {b}; cast one of them")
    sizes: dict[str, int] = {}
    for role, found, expected in (("first", a, letters.a), ("second", b, letters.b)):
        if found.rank != len(expected):
            raise ShapeError(f"contract: the {role} operand {found} has not the {len(expected)} axes of {expected!r}")
        for letter, size in zip(expected, found.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise ShapeError(
                    f"contract: axis {letter!r} of spec {attrs['spec']!r} is {sizes[letter]} in {a} and {size} in {b}"
                )
    return [tensor("contract", a.dtype, tuple(sizes[x] for x in letters.out))]


def _eval(arrays: Sequence[Array], attrs: Attributes) -> list[Array]:
    a, b = map(widen, arrays)
    at = parse_spec(cast(str, attrs["spec"]))
    sizes = {**dict(zip(at.a, a.shape, strict=True)), **dict(zip(at.b, b.shape, strict=True))}
    left = _matrix(a, at.a, (at.batch, at.m, at.k), sizes)
    right = _matrix(b, at.b, (at.batch, at.k, at.n), sizes)
    with np.errstate(all="ignore"):
        product = np.matmul(left, right)
    order = at.batch + at.m + at.n
    full = product.reshape([sizes[x] for x in order]).transpose([order.index(x) for x in at.out])
    with np.errstate(all="ignore"):
        return [narrow(full, arrays[0].dtype)]


def _matrix(array: Array, letters: str, groups: tuple[str, str, str], sizes: dict[str, int]) -> Array:
    """The axes of each group joined into one; without batch letters, a plain matrix for BLAS."""
    ordered = array.transpose([letters.index(x) for group in groups for x in group])
    shape = [math.prod(sizes[x] for x in group) for group in groups]
    return ordered.reshape(shape if groups[0] else shape[1:])


def _vjp(b: Builder, op: Op, ct: Value) -> list[Value | None]:
    letters = parse_spec(cast(str, op.attributes["spec"]))
    x, y = op.operands
    return [
        _ordered(b, (ct, letters.out), (y, letters.b), letters.a),
        _ordered(b, (ct, letters.out), (x, letters.a), letters.b),
    ]


def _ordered(b: Builder, first: tuple[Value, str], second: tuple[Value, str], out: str) -> Value:
    """The contraction with the operand first whose own axis comes first in the result: its m axes lead."""
    for letter in out:
        if (letter in first[1]) != (letter in second[1]):
            if letter in second[1]:
                first, second = second, first
            break
    return b.contract(first[0], second[0], spec=f"{first[1]},{second[1]}->{out}")


def _samples(dtype: DType) -> list[Sample]:
    places: list[tuple[str, dict[str, int]]] = [("mk,nk->mn", {"m": 5, "n": 7, "k": 6})]
    places += [
        (spec, {"m": 5, "n": 7, "k": 6}) for spec in ("mk,kn->mn", "km,kn->mn", "km,nk->nm", "mk,k->m", "k,kn->n")
    ]
    places += [(spec, {"m": 5, "n": 7, "k": 6}) for spec in ("k,k->", "m,n->mn", ",n->n", ",->", "m,m->m")]
    places += [("bmk,bkn->bmn", {"b": 3, "m": 2, "n": 4, "k": 5}), ("mbk,nbk->bnm", {"b": 3, "m": 2, "n": 4, "k": 5})]
    places += [("amkbl,banlk->nbma", {"a": 2, "b": 2, "m": 2, "n": 3, "k": 2, "l": 3})]
    places += [("mpk,nqk->mqnp", {"m": 2, "p": 3, "n": 2, "q": 2, "k": 4}), ("mk,nk->mn", {"m": 37, "n": 41, "k": 70})]
    places += [("mk,nk->mn", {"m": 3, "n": 2, "k": 0}), ("mk,nk->mn", {"m": 0, "n": 2, "k": 3})]
    found: list[Sample] = []
    for spec, sizes in places:
        at = parse_spec(spec)
        shapes = ([sizes[x] for x in letters] for letters in (at.a, at.b))
        found.append(([example(dtype, shape, i) for i, shape in enumerate(shapes)], {"spec": spec}))
    return found


register(
    OpDef(
        name="contract",
        kind="contract",
        doc="Sums of products, as einsum's: letters name axes; those absent from the result are summed. bf16 and f16 "
        "accumulate in f32, integers wrap.",
        attrs={"spec": AttrSpec(str)},
        infer=_infer,
        eval=_eval,
        vjp=linear_vjp(_vjp),
        n_operands=2,
        samples=over_types("number", _samples),
    )
)
