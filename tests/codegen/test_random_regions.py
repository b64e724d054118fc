"""Random regions of loop and reduction kernels, in f64 against the interpreter."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from graphc.ir.builder import Builder
from graphc.ir.graph import Block, Op, Value
from graphc.ir.opdef import lookup
from graphc.ir.types import TensorType, f64, i64
from tests.codegen.harness import Array, evaluate, reversed_units, run

Shape = tuple[int, ...]
TAME = ("neg", "abs", "tanh", "sigmoid", "sin", "cos", "relu", "erf")
BINARY = ("add", "sub", "mul", "maximum", "minimum")


class Regions:
    """Draws a region, op by op, together with arrays for its arguments."""

    def __init__(self, draw: Any):
        self.draw = draw
        self.block = Block()
        self.b = Builder(self.block)
        self.arrays: list[Array] = []
        self.random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def pick(self, options: Any) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def argument(self, shape: Shape, high: int | None = None) -> Value:
        """A new argument: floats, or indices below `high`."""
        array = self.random.normal(size=shape) if high is None else self.random.integers(0, high, shape)
        value = Value(TensorType(f64 if high is None else i64, shape))
        self.block.args.append(value)
        self.arrays.append(np.asarray(array))
        return value

    def read(self, shape: Shape) -> Value:
        """A value of the shape, read from arguments through layout, generate or gather ops."""
        how = self.pick(
            (
                "argument",
                "broadcast",
                "transpose",
                "reshape",
                "slice",
                "pad",
                "flip",
                "concat",
                "take",
                "iota",
                "gather",
            )
        )
        b, rank = self.b, len(shape)
        if how == "broadcast":
            dims = tuple(d for d in range(rank) if self.draw(st.booleans()))
            sizes = tuple(1 if self.draw(st.integers(0, 3)) == 0 else shape[d] for d in dims)
            return b.broadcast(self.pointwise([self.argument(sizes)], 1)[-1], shape=shape, dims=dims)
        if how == "transpose":
            perm = tuple(self.draw(st.permutations(range(rank))))
            return b.transpose(self.argument(tuple(shape[perm.index(d)] for d in range(rank))), perm=perm)
        if how == "reshape":
            return b.reshape(self.argument(self.factors(math.prod(shape))), shape=shape)
        if how == "slice":
            start = tuple(self.draw(st.integers(0, 2)) for _ in shape)
            step = tuple(self.draw(st.integers(1, 3)) for _ in shape)
            stop = tuple(a + (n - 1) * k + 1 if n else a for a, n, k in zip(start, shape, step, strict=True))
            extra = self.draw(st.integers(0, 1))
            return b.slice(self.argument(tuple(s + extra for s in stop)), start=start, stop=stop, step=step)
        if how == "pad":
            low = tuple(self.draw(st.integers(0, min(2, n))) for n in shape)
            high = tuple(self.draw(st.integers(0, min(2, n - a))) for n, a in zip(shape, low, strict=True))
            inner = tuple(n - a - c for n, a, c in zip(shape, low, high, strict=True))
            gap = tuple(1 if n % 2 and n > 1 and self.draw(st.booleans()) else 0 for n in inner)
            sizes = tuple((n + 1) // 2 if g else n for n, g in zip(inner, gap, strict=True))
            return b.pad(self.pointwise([self.argument(sizes)], 1)[-1], low=low, high=high, interior=gap, value=0.25)
        if how == "flip" and rank:
            return b.flip(self.argument(shape), axes=(self.draw(st.integers(0, rank - 1)),))
        if how == "concat" and rank:
            axis = self.draw(st.integers(0, rank - 1))
            cuts = sorted(
                [0, self.draw(st.integers(0, shape[axis])), self.draw(st.integers(0, shape[axis])), shape[axis]]
            )
            parts = [self.argument((*shape[:axis], y - x, *shape[axis + 1 :])) for x, y in itertools.pairwise(cuts)]
            return b.concat(*parts, axis=axis)
        if how == "take" and rank:
            axis = self.draw(st.integers(0, rank - 1))
            data = self.argument((*shape[:axis], 3, *shape[axis + 1 :]))
            return b.take(data, self.argument((shape[axis],), high=3), axis=axis)
        if how == "gather" and rank:
            axis = self.draw(st.integers(0, rank - 1))
            data = self.argument((*shape[:axis], 4, *shape[axis + 1 :]))
            return b.gather(data, self.argument(shape, high=4), axis=axis)
        if how == "iota" and rank:
            return b.cast(b.iota(dtype=i64, shape=shape, axis=self.draw(st.integers(0, rank - 1))), dtype=f64)
        return self.argument(shape)

    def factors(self, size: int) -> Shape:
        """A shape of that many elements."""
        found = []
        while size > 1:
            factor = self.pick([n for n in range(2, size + 1) if size % n == 0])
            found.append(factor)
            size //= factor
        return (*found, *((0,) if size == 0 else ()))

    def pointwise(self, values: list[Value], count: int) -> list[Value]:
        """The values of one shape and some more, computed from them. What jumps is computed from those alone that are
        read as they are, since the others may be rounded differently."""
        found = list(values)
        exact = [v for v in values if v.op is None or lookup(v.op.name).kind in ("layout", "gather")] or None
        for _ in range(count):
            x, y = self.pick(found), self.pick(found)
            kind = self.draw(st.integers(0, 4))
            if kind == 0 and exact:
                found.append(self.b.where(self.b.lt(self.pick(exact), self.pick(exact)), y, self.b.full_like(x, 0.5)))
            elif kind == 1 and exact:
                found.append(self.b.cast(self.b.cast(self.pick(exact), dtype=i64), dtype=f64))
            elif kind == 2:
                found.append(self.b.emit(self.pick(TAME), [x]).result)
            else:
                found.append(self.b.emit(self.pick(BINARY), [x, y]).result)
        return found

    def finish(self, kind: str, results: list[Value]) -> Op:
        """The fused op, of what its results need."""
        self.block.results = results
        needed, ops = set(results), []
        for op in reversed(self.block.ops):
            if op.result in needed:
                ops.append(op)
                needed.update(op.operands)
        self.block.ops = ops[::-1]
        used = [v in needed for v in self.block.args]
        self.arrays = [a for a, u in zip(self.arrays, used, strict=True) if u]
        self.block.args = [v for v, u in zip(self.block.args, used, strict=True) if u]
        operands = [Value(v.type) for v in self.block.args]
        return Op("fused", operands, [r.type for r in results], {"kind": kind}, [self.block])


sizes = st.sampled_from((1, 1, 2, 3, 4, 5, 9, 16, 33))


@st.composite
def loops(draw: Any) -> tuple[Op, list[Array]]:
    regions = Regions(draw)
    shape = tuple(draw(st.lists(sizes, max_size=4).filter(lambda s: math.prod(s) <= 1500)))
    values = [regions.read(shape) for _ in range(draw(st.integers(1, 4)))]
    values = regions.pointwise(values, draw(st.integers(0, 8)))
    results = list(dict.fromkeys([values[-1], *(regions.pick(values) for _ in range(draw(st.integers(0, 2))))]))
    return regions.finish("loop", results), regions.arrays


@st.composite
def reductions(draw: Any) -> tuple[Op, list[Array]]:
    regions = Regions(draw)
    b = regions.b
    shape = tuple(draw(st.lists(sizes, min_size=1, max_size=4).filter(lambda s: math.prod(s) <= 1500)))
    axes = tuple(sorted(draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
    kept = tuple(1 if d in axes else n for d, n in enumerate(shape))
    full = regions.pointwise([regions.read(shape) for _ in range(draw(st.integers(1, 3)))], draw(st.integers(0, 4)))
    reduced: list[Value] = []
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(("sum", "max", "min", "sum")))
        reduced.append(b.emit(name, [regions.pick(full)], {"axes": axes, "keepdims": True}).result)
        reduced = regions.pointwise([*reduced, regions.argument(kept)], draw(st.integers(0, 2)))
        spread = b.broadcast(regions.pick(reduced), shape=shape, dims=tuple(range(len(shape))))
        full = regions.pointwise([*full, spread], draw(st.integers(0, 3)))
    flat = [b.reshape(v, shape=tuple(n for d, n in enumerate(shape) if d not in axes)) for v in reduced]
    anchor = b.sum(full[-1], axes=axes, keepdims=draw(st.booleans()))
    results = [anchor, *(regions.pick((*full, *reduced, *flat)) for _ in range(draw(st.integers(0, 3))))]
    return regions.finish("reduction", list(dict.fromkeys(results))), regions.arrays


def check(case: tuple[Op, list[Array]]) -> None:
    op, arrays = case
    expected = evaluate(op, arrays)
    forwards, backwards = run(op, arrays), run(op, arrays, order=reversed_units)
    outcomes = [forwards]
    if math.prod(op.regions[0].results[0].type.shape) <= 20:
        outcomes.append(run(op, arrays, python=True))
    for i, e in enumerate(expected):
        assert forwards.results[i].tobytes() == backwards.results[i].tobytes()
        scale = max(1.0, float(np.max(np.abs(e), initial=0.0)))
        for outcome in outcomes:
            np.testing.assert_allclose(outcome.results[i], e, rtol=0, atol=1e-9 * scale)


@settings(max_examples=150)
@given(loops())
def test_loop_kernels_agree_with_the_interpreter(case: tuple[Op, list[Array]]) -> None:
    check(case)


@settings(max_examples=150)
@given(reductions())
def test_reduction_kernels_agree_with_the_interpreter(case: tuple[Op, list[Array]]) -> None:
    check(case)
