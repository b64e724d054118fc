"""Rules of `algebra.indexing`."""

from __future__ import annotations

from graphc.ir import Builder, Value, i8, i64
from tests.passes.rules import B, Case, F, I, c, splat

INDEX = I(3, dtype=i64)


def below(b: Builder, x: Value, n: int) -> Value:
    """`x` as indices from 0 to below `n`."""
    return b.mod(x, c(b, x, n))


def one_hot(b: Builder, index: Value, n: int) -> Value:
    """Rows with one true element, at the index."""
    shape = (*index.type.shape, n)
    wanted = b.broadcast(b.check_index(index, low=0, high=n), shape=shape, dims=tuple(range(len(shape) - 1)))
    return b.eq(b.iota(dtype=index.type.dtype, shape=shape, axis=len(shape) - 1), wanted)


CASES = [
    Case(
        "read_after_pointwise",
        [F(3, 4), F(3), I(3, 1)],
        lambda b, x, y, i: b.gather(b.sub(x, b.broadcast(y, shape=(3, 4), dims=(0,))), below(b, i, 4), axis=1),
        lambda b, x, y, i: b.sub(b.gather(x, below(b, i, 4), axis=1), b.reshape(y, shape=(3, 1))),
    ),
    Case(
        "read_after_pointwise",
        [F(8, 3), F(3), I(2, 2)],
        lambda b, x, y, i: b.take(b.mul(b.exp(x), b.broadcast(y, shape=(8, 3), dims=(1,))), below(b, i, 8), axis=0),
        lambda b, x, y, i: b.mul(b.exp(b.take(x, below(b, i, 8), axis=0)), b.broadcast(y, shape=(2, 2, 3), dims=(2,))),
    ),
    Case(
        "scatter_one",
        [F(3, 4), F(3), INDEX],
        lambda b, x, u, i: b.scatter_add(
            x, b.reshape(below(b, i, 4), shape=(3, 1)), b.reshape(u, shape=(3, 1)), axis=1
        ),
        lambda b, x, u, i: (
            index := below(b, i, 4),
            here := one_hot(b, index, 4),
            b.where(here, b.add(x, b.broadcast(u, shape=(3, 4), dims=(0,))), x),
        )[-1],
    ),
    Case(
        "add_one_slice",
        [F(3, 4), F(4), I(1)],
        lambda b, x, u, i: b.index_add(x, b.reshape(below(b, i, 3), shape=()), u, axis=0),
        lambda b, x, u, i: (
            checked := b.check_index(below(b, i, 3), low=0, high=3),
            index := b.broadcast(b.reshape(checked, shape=()), shape=(3, 4), dims=()),
            counter := b.iota(dtype=i.type.dtype, shape=(3, 4), axis=0),
            b.where(b.eq(counter, index), b.add(x, b.broadcast(u, shape=(3, 4), dims=(1,))), x),
        )[-1],
    ),
    Case(
        "sum_of_one",
        [F(3), INDEX],
        lambda b, x, i: b.sum(
            b.where(one_hot(b, below(b, i, 4), 4), b.broadcast(x, shape=(3, 4), dims=(0,)), splat(b, (3, 4), 0.0)),
            axes=(1,),
        ),
        lambda b, x, i: x,
        exact=False,
    ),
    Case(
        "sum_of_one",
        [F(3), INDEX],
        lambda b, x, i: b.sum(
            b.where(one_hot(b, below(b, i, 4), 4), b.broadcast(x, shape=(3, 4), dims=(0,)), splat(b, (3, 4), 0.0)),
            axes=(0, 1),
        ),
        lambda b, x, i: b.sum(x, axes=(0,)),
        exact=False,
    ),
]

UNTOUCHED = {
    "a read of as many elements": ([F(4), I(4)], lambda b, x, i: b.take(b.exp(x), below(b, i, 4), axis=0)),
    "a read of two that vary": ([F(4), F(4), I(1)], lambda b, x, y, i: b.take(b.add(x, y), below(b, i, 4), axis=0)),
    "a read of what may fault": (
        [I(4), I(1)],
        lambda b, x, i: b.take(b.check_index(x, low=0, high=9), below(b, i, 4), axis=0),
    ),
    "two indices on a line": (
        [F(3, 4), F(3, 2), I(3, 2)],
        lambda b, x, u, i: b.scatter_add(x, below(b, i, 4), u, axis=1),
    ),
    "lines without an index": (
        [F(3, 4), F(2, 1), I(2, 1)],
        lambda b, x, u, i: b.scatter_add(x, below(b, i, 4), u, axis=1),
    ),
    "an index type that does not count so far": (
        [F(200, 2), F(1, 2), I(1, 2, dtype=i8)],
        lambda b, x, u, i: b.scatter_add(x, i, u, axis=0),
    ),
    "a choice at an index that is not checked": (
        [F(3), INDEX],
        lambda b, x, i: b.sum(
            b.where(
                b.eq(b.iota(dtype=i64, shape=(3, 4), axis=1), b.broadcast(i, shape=(3, 4), dims=(0,))),
                b.broadcast(x, shape=(3, 4), dims=(0,)),
                splat(b, (3, 4), 0.0),
            ),
            axes=(1,),
        ),
    ),
    "a choice that is not by an index": (
        [B(3, 4), F(3)],
        lambda b, p, x: b.sum(b.where(p, b.broadcast(x, shape=(3, 4), dims=(0,)), splat(b, (3, 4), 0.0)), axes=(1,)),
    ),
}
