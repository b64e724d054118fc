"""Rules of `algebra.reductions`."""

from __future__ import annotations

import numpy as np

from graphc.ir import i8, i64
from tests.passes.rules import X34, Case, F, c, splat

CASES = [
    Case(
        "drop_kept_axes",
        X34,
        lambda b, x: b.sum(x, axes=(0,), keepdims=True),
        lambda b, x: b.reshape(b.sum(x, axes=(0,)), shape=(1, 4)),
    ),
    Case(
        "drop_kept_axes",
        X34,
        lambda b, x: b.argmax(x, axes=(1,), keepdims=True),
        lambda b, x: b.reshape(b.argmax(x, axes=(1,)), shape=(3, 1)),
    ),
    Case("reduce_one", X34, lambda b, x: b.max(x, axes=()), lambda b, x: x),
    Case("reduce_one", [F(3, 1)], lambda b, x: b.sum(x, axes=(1,)), lambda b, x: b.reshape(x, shape=(3,))),
    Case("index_of_one", [F(3, 1)], lambda b, x: b.argmin(x, axes=(1,)), lambda b, x: splat(b, (3,), 0, i64)),
    Case(
        "reduce_splat",
        [],
        lambda b: b.sum(splat(b, (3, 4), 0.1), axes=(1,)),
        lambda b: splat(b, (3,), float(np.float32(4 * np.float64(np.float32(0.1))))),
        exact=False,
    ),
    Case("reduce_splat", [], lambda b: b.max(splat(b, (3, 4), np.nan), axes=(1,)), lambda b: splat(b, (3,), np.nan)),
    Case("reduce_splat", [F(3, 0)], lambda b, x: b.prod(x, axes=(1,)), lambda b, x: splat(b, (3,), 1.0)),
    Case("reduce_splat", [], lambda b: b.sum(splat(b, (3,), 100, i8), axes=(0,)), lambda b: splat(b, (), 44, i8)),
    Case(
        "reduce_twice",
        [F(2, 3, 4)],
        lambda b, x: b.max(b.max(x, axes=(1,)), axes=(0,)),
        lambda b, x: b.max(x, axes=(0, 1)),
    ),
    Case(
        "reduce_twice",
        [F(2, 3, 4)],
        lambda b, x: b.sum(b.sum(x, axes=(0,)), axes=(1,)),
        lambda b, x: b.sum(x, axes=(0, 2)),
        exact=False,
    ),
    Case(
        "reduce_transpose",
        [F(2, 3, 4)],
        lambda b, x: b.max(b.transpose(x, perm=(2, 1, 0)), axes=(1,)),
        lambda b, x: b.transpose(b.max(x, axes=(1,)), perm=(1, 0)),
    ),
    Case(
        "reduce_transpose",
        X34,
        lambda b, x: b.argmax(b.transpose(x, perm=(1, 0)), axes=(0,)),
        lambda b, x: b.argmax(x, axes=(1,)),
    ),
    Case(
        "reduce_reshape",
        [F(6, 4)],
        lambda b, x: b.max(b.reshape(x, shape=(2, 3, 1, 2, 2)), axes=(0, 1)),
        lambda b, x: b.reshape(b.max(x, axes=(0,)), shape=(1, 2, 2)),
    ),
    Case(
        "reduce_broadcast",
        [F(3)],
        lambda b, x: b.max(b.broadcast(x, shape=(3, 4), dims=(0,)), axes=(1,)),
        lambda b, x: x,
    ),
    Case(
        "reduce_broadcast",
        [F(3)],
        lambda b, x: b.sum(b.broadcast(x, shape=(3, 4, 5), dims=(0,)), axes=(1,)),
        lambda b, x: b.broadcast(b.mul(x, c(b, x, 4)), shape=(3, 5), dims=(0,)),
        exact=False,
    ),
    Case(
        "reduce_broadcast",
        [F(3)],
        lambda b, x: b.sum(b.broadcast(x, shape=(3, 4), dims=(0,)), axes=(0, 1)),
        lambda b, x: b.mul(b.sum(x, axes=(0,)), splat(b, (), 4.0)),
        exact=False,
    ),
    Case(
        "reduce_broadcast",
        [F(3)],
        lambda b, x: b.prod(b.broadcast(x, shape=(3, 4), dims=(0,)), axes=(0,)),
        lambda b, x: b.broadcast(b.prod(x, axes=(0,)), shape=(4,), dims=()),
        exact=False,
    ),
    Case(
        "reduce_pad",
        X34,
        lambda b, x: b.sum(b.pad(x, low=(0, 1), high=(0, 0), interior=(0, 2), value=0.0), axes=(1,)),
        lambda b, x: b.sum(x, axes=(1,)),
        exact=False,
    ),
    Case(
        "reduce_pad",
        X34,
        lambda b, x: b.max(b.pad(x, low=(2, 1), high=(0, 0), interior=(0, 0), value=-np.inf), axes=(1,)),
        lambda b, x: b.pad(b.max(x, axes=(1,)), low=(2,), high=(0,), interior=(0,), value=-np.inf),
    ),
]

# Graphs in which no rule may fire: the rewrite that suggests itself would change a result.
UNTOUCHED = {
    "a reshape that mixes reduced axes with kept": (X34, lambda b, x: b.max(b.reshape(x, shape=(2, 6)), axes=(1,))),
    "padding that counts": (
        [F(3)],
        lambda b, x: b.max(b.pad(x, low=(1,), high=(0,), interior=(0,), value=0.0), axes=(0,)),
    ),
}
