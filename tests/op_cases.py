"""Calls of every function on tensors: run eagerly and compiled, and by PyTorch (`T` is the module)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc
from graphc.functions.shaping import pad

Case = Callable[..., Any]


def inputs(*shapes: tuple[int, ...], dtype: str = "float32", low: float = -2.0, high: float = 2.0) -> list[Any]:
    rng = np.random.default_rng(abs(hash(shapes)) % 2**32)
    made = []
    for shape in shapes:
        array = rng.uniform(low, high, shape)
        array = array > 0 if dtype == "bool" else np.abs(array * 3) if dtype == "uint8" else array
        array = np.rint(array * 3) if "int" in dtype else array
        made.append(graphc.tensor(array.tolist(), dtype=getattr(graphc, dtype)).reshape(shape))
    return made


UNARY = """
    abs ceil cos erf exp expm1 floor isfinite isinf isnan logical_not neg reciprocal relu round sigmoid sign sin square
    tanh trunc
"""
POSITIVE = "log log10 log1p log2 rsqrt sqrt"
BINARY = "add sub mul div maximum minimum eq ne lt le gt ge floor_divide remainder"


SCALARS: list[tuple[str, Case]] = [
    ("x+s", lambda T, x: x + 2.5),
    ("s+x", lambda T, x: 3 + x),
    ("x-s", lambda T, x: x - 1.5),
    ("s-x", lambda T, x: 1 - x),
    ("x*s", lambda T, x: x * 3),
    ("s*x", lambda T, x: 0.5 * x),
    ("x/s", lambda T, x: x / 4),
    ("s/x", lambda T, x: 2 / (x + 10)),
    ("x//s", lambda T, x: x // 2),
    ("x%s", lambda T, x: x % 3),
    ("x**2", lambda T, x: x**2),
    ("x**3", lambda T, x: x**3),
    ("x**1", lambda T, x: x**1),
    ("2**x", lambda T, x: 2 ** (x * x)),
    ("x<s", lambda T, x: x < 0.5),
    ("s<x", lambda T, x: 1 > x),  # noqa: SIM300
    ("-x", lambda T, x: -x),
    ("abs", lambda T, x: abs(x)),
    ("alpha", lambda T, x: T.add(x, x, alpha=3)),
]


REDUCTIONS: list[tuple[str, Case]] = [
    ("sum", lambda T, x: x.sum()),
    ("sum-dim", lambda T, x: x.sum(1)),
    ("sum-dims", lambda T, x: x.sum((0, -1), keepdim=True)),
    ("mean", lambda T, x: x.mean()),
    ("mean-dim", lambda T, x: x.mean(dim=-1, keepdim=True)),
    ("prod", lambda T, x: x.prod()),
    ("prod-dim", lambda T, x: x.prod(1)),
    ("amax", lambda T, x: x.amax((0, 2))),
    ("amin", lambda T, x: x.amin(1, keepdim=True)),
    ("max", lambda T, x: x.max()),
    ("min", lambda T, x: x.min()),
    ("max-dim", lambda T, x: tuple(x.max(1))),
    ("min-dim", lambda T, x: tuple(x.min(-1, keepdim=True))),
    ("max-other", lambda T, x: T.max(x, x * x)),
    ("argmax", lambda T, x: x.argmax()),
    ("argmax-dim", lambda T, x: x.argmax(1)),
    ("argmin", lambda T, x: x.argmin(0, keepdim=True)),
    ("any", lambda T, x: (x > 1).any(1)),
    ("all", lambda T, x: (x > -1.5).all()),
    ("logsumexp", lambda T, x: x.logsumexp(1)),
    ("logsumexp2", lambda T, x: T.logsumexp(x, (0, 1), keepdim=True)),
    ("var", lambda T, x: x.var()),
    ("var-dim", lambda T, x: x.var(1, unbiased=False)),
    ("var-correction", lambda T, x: x.var((0, 2), correction=1, keepdim=True)),
    ("std", lambda T, x: x.std(2)),
    ("norm", lambda T, x: x.norm()),
    ("norm-1", lambda T, x: x.norm(1, dim=1)),
    ("norm-3", lambda T, x: x.norm(3.0, 2, True)),
    ("softmax", lambda T, x: x.softmax(1)),
    ("log_softmax", lambda T, x: T.log_softmax(x, -1)),
    ("count_nonzero", lambda T, x: T.count_nonzero(x > 0, 1)),
]


MATMULS = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((5, 2, 3), (1, 3, 4)),
    ((1, 2, 3), (5, 3, 4)),
    ((6, 5, 2, 3), (5, 3, 4)),
    ((6, 1, 2, 3), (5, 3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)),
    ((0, 3), (3, 4)),
    ((2, 0), (0, 4)),
]


PRODUCTS: list[tuple[str, Case, list[tuple[int, ...]]]] = [
    ("mm", lambda T, a, b: T.mm(a, b), [(2, 3), (3, 4)]),
    ("bmm", lambda T, a, b: T.bmm(a, b), [(5, 2, 3), (5, 3, 4)]),
    ("dot", lambda T, a, b: T.dot(a, b), [(3,), (3,)]),
    ("mv", lambda T, a, b: T.mv(a, b), [(2, 3), (3,)]),
    ("outer", lambda T, a, b: T.outer(a, b), [(3,), (4,)]),
    ("addmm", lambda T, c, a, b: T.addmm(c, a, b, beta=0.5, alpha=2), [(4,), (2, 3), (3, 4)]),
    ("baddbmm", lambda T, c, a, b: T.baddbmm(c, a, b), [(5, 2, 4), (5, 2, 3), (5, 3, 4)]),
    ("tensordot", lambda T, a, b: T.tensordot(a, b, dims=2), [(5, 2, 3), (2, 3, 4)]),
    ("tensordot-pairs", lambda T, a, b: T.tensordot(a, b, dims=([0, 2], [1, 0])), [(5, 2, 3), (3, 5, 4)]),
]
EQUATIONS: list[tuple[str, list[tuple[int, ...]]]] = [
    ("ij,jk->ik", [(2, 3), (3, 4)]),
    ("ij,jk", [(2, 3), (3, 4)]),
    ("ij->ji", [(2, 3)]),
    ("ij->", [(2, 3)]),
    ("ij->j", [(2, 3)]),
    ("bij,bjk->bik", [(5, 2, 3), (5, 3, 4)]),
    ("i,j->ij", [(3,), (4,)]),
    ("i,i->", [(3,), (3,)]),
    ("ij,kj->ki", [(2, 3), (4, 3)]),
    ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)]),
    ("...ij,...jk->...ik", [(5, 2, 3), (3, 4)]),
    ("...ij,...jk->...ik", [(6, 1, 2, 3), (5, 3, 4)]),
    ("...i->...", [(2, 3)]),
    ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
    ("ij,j,k->ik", [(2, 3), (3,), (4,)]),
    ("ijk,j->k", [(2, 3, 4), (3,)]),
    ("a,b,c->abc", [(2,), (3,), (4,)]),
]


def padding(T: Any) -> Any:
    return pad if T is graphc else T.nn.functional.pad


SHAPES: list[tuple[str, Case]] = [
    ("reshape", lambda T, x: x.reshape(4, -1)),
    ("view", lambda T, x: x.view(-1)),
    ("flatten", lambda T, x: x.flatten(1)),
    ("flatten-all", lambda T, x: T.flatten(x)),
    ("unflatten", lambda T, x: x.unflatten(2, (2, -1))),
    ("squeeze", lambda T, x: x.unsqueeze(1).squeeze()),
    ("squeeze-dim", lambda T, x: x[:, :1].squeeze(1)),
    ("unsqueeze", lambda T, x: x.unsqueeze(-1)),
    ("transpose", lambda T, x: x.transpose(0, 2)),
    ("permute", lambda T, x: x.permute(2, 0, 1)),
    ("T", lambda T, x: x[0].T),
    ("mT", lambda T, x: x.mT),
    ("expand", lambda T, x: x[:, :1].expand(-1, 5, 4)),
    ("expand-new", lambda T, x: x.expand(3, 2, 3, 4)),
    ("repeat", lambda T, x: x.repeat(2, 1, 3)),
    ("repeat-new", lambda T, x: x.repeat(2, 1, 2, 1)),
    ("tile", lambda T, x: T.tile(x, (2,))),
    ("repeat_interleave", lambda T, x: x.repeat_interleave(3, dim=1)),
    ("chunk", lambda T, x: x.chunk(2, dim=1)),
    ("split", lambda T, x: x.split(3, dim=2)),
    ("split-list", lambda T, x: x.split([1, 3], 2)),
    ("unbind", lambda T, x: x.unbind(1)),
    ("flip", lambda T, x: x.flip(0, 2)),
    ("roll", lambda T, x: T.roll(x, 2, 1)),
    ("roll-two", lambda T, x: T.roll(x, (1, -1), (0, 2))),
    ("roll-flat", lambda T, x: T.roll(x, 5)),
    ("tril", lambda T, x: x.tril()),
    ("triu", lambda T, x: T.triu(x, 1)),
    ("tril-below", lambda T, x: x.tril(-1)),
    ("movedim", lambda T, x: T.movedim(x, 0, 2)),
    ("narrow", lambda T, x: x.narrow(2, 1, 2)),
    ("select", lambda T, x: x.select(1, -1)),
    ("diagonal", lambda T, x: T.diagonal(x[0])),
    ("cat", lambda T, x: T.cat([x, x * 2], dim=1)),
    ("cat-empty", lambda T, x: T.cat([x[0], T.zeros(0), x[1]])),
    ("stack", lambda T, x: T.stack([x, x * 2, x], -1)),
    ("pad", lambda T, x: padding(T)(x, (1, 2, 0, 1), value=3.0)),
    ("pad-negative", lambda T, x: padding(T)(x, (-1, 2, 1, -1))),
    ("where", lambda T, x: T.where(x > 0, x, 0.0)),
    ("where2", lambda T, x: T.where(x[0] > 0, x, x * x)),
    ("masked_fill", lambda T, x: x.masked_fill(x > 0, -1.0)),
    ("clamp", lambda T, x: x.clamp(-0.5, 0.75)),
    ("clamp-min", lambda T, x: T.clamp(x, min=0.1)),
    ("clamp-tensor", lambda T, x: T.clamp(x, x * 0.5, x * x)),
    ("lerp", lambda T, x: T.lerp(x, x * x, 0.25)),
    ("addcmul", lambda T, x: T.addcmul(x, x, x, value=0.5)),
    ("clone", lambda T, x: x.clone()),
]


INDICES: list[tuple[str, Case]] = [
    ("int", lambda T, x: x[1]),
    ("negative", lambda T, x: x[-1, -2]),
    ("slice", lambda T, x: x[:, 1:]),
    ("step", lambda T, x: x[:, ::2, 1::2]),
    ("none", lambda T, x: x[None, :, None, 1]),
    ("ellipsis", lambda T, x: x[..., 1]),
    ("ellipsis-middle", lambda T, x: x[0, ..., 1:]),
    ("empty", lambda T, x: x[:, 2:1]),
    ("out-of-range slice", lambda T, x: x[:, -9:9]),
    ("tensor", lambda T, x: x[T.tensor([1, 0, 1])]),
    ("negative tensor", lambda T, x: x[:, T.tensor([-1, 0])]),
    ("tensor-2d", lambda T, x: x[:, T.tensor([[1, 0], [2, 2]])]),
    ("two tensors", lambda T, x: x[T.tensor([0, 1]), T.tensor([2, 0])]),
    ("two tensors broadcast", lambda T, x: x[T.tensor([[0], [1]]), T.tensor([2, 0])]),
    ("tensors apart", lambda T, x: x[T.tensor([0, 1]), :, T.tensor([3, 0])]),
    ("tensors last", lambda T, x: x[:, T.tensor([0, 1]), T.tensor([3, 0])]),
    ("list", lambda T, x: x[[1, 0]]),
    ("list and slice", lambda T, x: x[:, [2, 0], 1:]),
    ("mask", lambda T, x: x[x > 0]),
    ("mask rows", lambda T, x: x[:, T.tensor([True, False, True])]),
    ("gather", lambda T, x: T.gather(x, 2, T.tensor([[[0, 3], [1, 1], [2, 0]]] * 2))),
    ("take_along_dim", lambda T, x: T.take_along_dim(x, T.tensor([[[1]], [[0]]]), 1)),
    ("index_select", lambda T, x: T.index_select(x, 1, T.tensor([2, 2, 0]))),
    ("take", lambda T, x: T.take(x, T.tensor([[5, 0], [23, 1]]))),
    ("scatter_add", lambda T, x: T.scatter_add(x, 1, T.tensor([[[0, 0, 2, 1]] * 2] * 2), x[:, :2])),
    ("index_add", lambda T, x: T.index_add(x, 1, T.tensor([0, 0]), x[:, 1:], alpha=2)),
]
