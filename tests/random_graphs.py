"""Random programs to compare ways of running a graph with one another.

`random_graph(rng)` gives a valid graph of the stage `traced` together with arguments for it; `cases()` is the same as a
hypothesis strategy. Every op is evaluated while the graph grows, so an operand is chosen knowing its values: see
`tests/random_domains.py`. What depends on a gradient is not known then, and goes only through ops that cannot amplify
it much. `tests/closeness.py` compares results with tolerances that fit these graphs.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from graphc.ir import (
    DTYPES,
    Block,
    Builder,
    DType,
    FaultError,
    Graph,
    GraphcError,
    Location,
    Op,
    TensorType,
    Value,
    bool_,
    evaluate_op,
    i32,
    i64,
    lookup,
    registered,
)
from tests.random_domains import LIMIT, is_clear_of_jumps, is_tame, keeps_exact

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

_LETTERS = "abcdefghijkl"


@dataclass(frozen=True)
class Case:
    """A graph of the stage `traced`, and arrays for its arguments on which it stays tame."""

    graph: Graph
    inputs: list[Array]
    states: list[Array]

    @property
    def has_gradient(self) -> bool:
        return any(op.name == "gradient" for op in self.graph.ops)

    def __repr__(self) -> str:
        return f"Case of\n{self.graph}"


def random_graph(
    rng: random.Random,
    n_ops: int = 15,
    dtypes: Sequence[DType] = tuple(DTYPES.values()),
    gradients: bool = True,
    max_elements: int = 256,
    name: str = "random",
) -> Case:
    """A random program of about `n_ops` ops. `dtypes` are the element types of its arguments and casts (ops bring
    bool and i64 in by themselves); `gradients=False` leaves the gradient op out; no value has more than `max_elements`
    elements."""
    return _Generator(rng, dtypes, max_elements).run(n_ops, gradients, name)


def cases(**options: Any) -> st.SearchStrategy[Case]:
    """Random programs of up to 24 ops that hypothesis can shrink. `options` are those of `random_graph`."""
    rngs = st.randoms(use_true_random=False)
    return st.builds(lambda rng, n: random_graph(rng, n_ops=n, **options), rngs, st.integers(1, 24))


@dataclass(frozen=True, eq=False)
class _Tracked:
    """A value of the graph and what is known of it: its array (None downstream of a gradient), and whether every way of
    running the graph gives the same bits."""

    value: Value
    array: Array | None
    exact: bool

    @property
    def type(self) -> TensorType:
        return self.value.type

    @property
    def is_float(self) -> bool:
        return self.type.dtype.is_float


class _Unfit(Exception):
    """The attempt at an op came to nothing."""


class _Generator:
    def __init__(self, rng: random.Random, dtypes: Sequence[DType], max_elements: int):
        self.rng = rng
        self.numbers = np.random.default_rng(rng.getrandbits(32))
        self.dtypes = tuple(dtypes)
        self.max_elements = max_elements
        self.block = Block()
        self.builder = Builder(self.block)
        self.inputs: list[_Tracked] = []
        self.states: list[_Tracked] = []
        self.values: list[_Tracked] = []
        self.recipes: list[tuple[int, Callable[[], object]]] = [
            (8, self.unary),
            (8, self.binary),
            (2, self.ternary),
            (1, self.cast),
            (6, self.layout),
            (4, self.reduce),
            (3, self.contract),
            (2, self.index),
            (1, self.generate),
        ]

    def run(self, n_ops: int, gradients: bool, name: str) -> Case:
        for _ in range(self.rng.randint(1, 3)):
            self.argument(TensorType(self.float_dtype(), self.shape()))
        if gradients:
            self.recipes.append((2, self.gradient))
        weights, recipes = zip(*self.recipes, strict=True)
        for attempt in range(8 * n_ops):
            if len(self.block.ops) >= n_ops:
                break
            self.builder.location = Location("random.py", attempt + 1)
            try:
                self.rng.choices(recipes, weights)[0]()
            except (_Unfit, GraphcError):
                continue
        return self.finish(name)

    def finish(self, name: str) -> Case:
        used = {v for op in self.block.ops for v in op.operands}
        unused = [t.value for t in self.values if t.value not in used and t.value.op is not None]
        results = [v for v in unused if self.rng.random() < 0.8]
        results += [t.value for t in self.values if self.rng.random() < 0.08]
        updates = {}
        for state in self.states:
            fitting = [t.value for t in self.values if t.type == state.type]
            if self.rng.random() < 0.8:
                updates[state.value] = self.rng.choice(fitting)
        if not results and not updates:
            results = [self.values[-1].value]
        graph = Graph(
            name,
            [t.value for t in self.inputs],
            [t.value for t in self.states],
            self.block.ops,
            results,
            updates,
        )
        return Case(graph, [_known(t) for t in self.inputs], [_known(t) for t in self.states])

    # --- values

    def shape(self) -> Shape:
        sizes = [0, 1, 1, 2, 3, 4, 5, 7, 8, 17] if self.rng.random() < 0.1 else [1, 2, 3, 4, 5, 7, 8, 17]
        shape: list[int] = []
        for _ in range(self.rng.choice([0, 1, 1, 2, 2, 2, 3, 4])):
            room = self.max_elements // max(1, math.prod(shape))
            shape.append(self.rng.choice([n for n in sizes if n <= room] or [1]))
        return tuple(shape)

    def float_dtype(self) -> DType:
        floats = [d for d in self.dtypes if d.is_float]
        weights = [{"f32": 6, "f64": 2}.get(d.name, 1) for d in floats]
        return self.rng.choices(floats, weights)[0]

    def data(self, type: TensorType, low: int = -4, high: int = 4) -> Array:
        """Random elements; half of the float arrays hold few distinct values, so that ties happen."""
        if type.dtype.is_bool:
            return self.numbers.integers(0, 2, type.shape).astype(bool)
        if type.dtype.is_integer:
            return self.numbers.integers(max(low, 0) if type.dtype.kind == "uint" else low, high, type.shape).astype(
                type.dtype.numpy
            )
        style = self.rng.randrange(4)
        if style == 0:
            array = self.numbers.integers(-4, 5, type.shape) / 2
        elif style == 1:
            array = self.numbers.uniform(0.5, 2.0, type.shape)
        else:
            array = self.numbers.uniform(-2.0, 2.0, type.shape)
        return np.asarray(array).astype(type.dtype.numpy)

    def argument(self, type: TensorType, array: Array | None = None, state: bool | None = None) -> _Tracked:
        is_state = self.rng.random() < 0.4 if state is None else state
        group, prefix = (self.states, "w") if is_state else (self.inputs, "x")
        value = Value(type, name=f"{prefix}{len(group)}")
        tracked = _Tracked(value, self.data(type) if array is None else array, True)
        group.append(tracked)
        self.values.append(tracked)
        return tracked

    def fresh(self, type: TensorType, array: Array | None = None) -> _Tracked:
        """A value from nowhere: a new argument while there are few, a constant otherwise."""
        if len(self.inputs) + len(self.states) < 8 and self.rng.random() < 0.6:
            return self.argument(type, array)
        if array is None and self.rng.random() < 0.5:
            number = self.rng.choice([0.5, 1.0, 2.0, -1.5]) if type.dtype.is_float else self.rng.choice([1, 2, 3])
            return self.emit("constant", value=number if not type.dtype.is_bool else number > 1, **_described(type))
        payload = self.data(type) if array is None else array
        return self.track(self.builder.constant(payload, type).op, [])

    def pick(self, fits: Callable[[_Tracked], bool] = lambda t: True, known: bool = True) -> _Tracked:
        """One of the values made so far, more likely a recent one."""
        found = [t for t in self.values if fits(t) and (t.array is not None or not known)]
        if not found:
            raise _Unfit
        return self.rng.choice(found[-6:] if self.rng.random() < 0.6 else found)

    def partner(self, type: TensorType) -> _Tracked:
        """A known value of exactly that type: one at hand, one converted from it, or a fresh one."""
        roll = self.rng.random()
        same = [t for t in self.values if t.type == type and t.array is not None]
        if same and roll < 0.6:
            return self.rng.choice(same)
        if roll < 0.8:
            smaller = [t for t in self.values if t.type.dtype == type.dtype and _fits_into(t.type.shape, type.shape)]
            if smaller and type.rank:
                return self.spread(self.rng.choice(smaller), type.shape)
        if roll < 0.85:
            convertible = [t for t in self.values if t.type.shape == type.shape and t.array is not None]
            if convertible:
                return self.emit("cast", self.rng.choice(convertible), dtype=type.dtype)
        return self.fresh(type)

    def spread(self, x: _Tracked, shape: Shape) -> _Tracked:
        """`x` broadcast along leading axes, as NumPy would."""
        offset = len(shape) - x.type.rank
        return self.emit("broadcast", x, shape=shape, dims=tuple(offset + i for i in range(x.type.rank)))

    # --- ops

    def emit(self, name: str, *operands: _Tracked, **attributes: Any) -> _Tracked:
        """Append an op if its operands suit it. Raises _Unfit or GraphcError, and appends nothing, otherwise."""
        trial = Builder(Block(), self.builder.location)
        op = trial.emit(name, [t.value for t in operands], attributes)
        if any(r.type.size > self.max_elements for r in op.results):
            raise _Unfit
        self.require_tame(op, operands)
        return self.track(op, operands, append=True)

    def require_tame(self, op: Op, operands: Sequence[_Tracked]) -> None:
        if any(t.array is None for t in operands):
            if not _is_linear_in_unknowns(op, operands):
                raise _Unfit
            return
        arrays = [_known(t) for t in operands]
        if any(t.is_float for t in operands) and not is_tame(op.name, arrays, op.attributes):
            raise _Unfit
        for dtype in {t.type.dtype for t in operands if not t.exact}:
            if not is_clear_of_jumps(op.name, arrays, op.attributes, dtype):
                raise _Unfit

    def track(self, op: Op | None, operands: Sequence[_Tracked], append: bool = False) -> _Tracked:
        assert op is not None
        array = None
        if all(t.array is not None for t in operands):
            try:
                (array,) = evaluate_op(op, [_known(t) for t in operands])
            except FaultError:
                raise _Unfit from None
            if op.result.type.dtype.is_float and not np.all(np.abs(array.astype(np.float64)) <= LIMIT):
                raise _Unfit
        if append:
            self.builder.append(op)
        exact = not op.result.type.dtype.is_float or (keeps_exact(op.name) and all(t.exact for t in operands))
        tracked = _Tracked(op.result, array, exact and array is not None)
        if self.rng.random() < 0.2:
            op.result.name = self.rng.choice(["h", "loss", "y", "mask"])
        self.values.append(tracked)
        return tracked

    def unary(self) -> None:
        self.emit(self.rng.choice(_POINTWISE[1]), self.pick(known=self.rng.random() < 0.8))

    def binary(self) -> None:
        x = self.pick(known=self.rng.random() < 0.7)
        y = self.partner(x.type)
        self.emit(self.rng.choice(["add", "sub", "mul", *_POINTWISE[2]]), *self.rng.sample([x, y], 2))

    def ternary(self) -> None:
        x = self.pick(known=self.rng.random() < 0.8)
        if self.rng.random() < 0.3 and x.type.dtype != bool_:
            bounds = [self.fresh(x.type), self.fresh(x.type)]
            self.emit("clamp", x, *bounds)
            return
        self.emit("where", self.partner(x.type.with_dtype(bool_)), x, self.partner(x.type))

    def cast(self) -> None:
        x = self.pick()
        self.emit("cast", x, dtype=self.rng.choice(self.dtypes))

    def layout(self) -> None:
        x = self.pick(known=self.rng.random() < 0.8)
        shape, rank, rng = x.type.shape, x.type.rank, self.rng
        name = rng.choice(["broadcast", "reshape", "transpose", "slice", "pad", "concat", "flip"])
        if name == "broadcast":
            dims = sorted(rng.sample(range(rank + 1), rank))
            wide = [rng.choice([1, 2, 3, 5])] * (rank + 1)
            for size, dim in zip(shape, dims, strict=True):
                wide[dim] = size if size != 1 or rng.random() < 0.4 else rng.choice([1, 2, 4])
            self.emit(name, x, shape=tuple(wide), dims=tuple(dims))
        elif name == "reshape":
            self.emit(name, x, shape=self.regrouped(shape))
        elif name == "transpose":
            self.emit(name, x, perm=tuple(rng.sample(range(rank), rank)))
        elif name == "flip":
            self.emit(name, x, axes=self.some_axes(rank))
        elif name == "slice":
            start = [rng.randint(0, n // 2) for n in shape]
            least = 0 if rng.random() < 0.1 else 1  # now and then an empty slice
            stop = [rng.randint(min(s + least, n), n) for s, n in zip(start, shape, strict=True)]
            self.emit(name, x, start=tuple(start), stop=tuple(stop), step=tuple(rng.randint(1, 2) for _ in shape))
        elif name == "pad":
            value = {"float": 0.5, "bool": True}.get(x.type.dtype.kind, 1)
            low, high, interior = (tuple(rng.choice([0, 0, 1, 2]) for _ in shape) for _ in range(3))
            self.emit(name, x, low=low, high=high, interior=interior, value=value)
        else:
            self.emit(name, *[x, *(self.partner(x.type) for _ in range(rng.randint(0, 2)))], axis=self.axis(x.type))

    def regrouped(self, shape: Shape) -> Shape:
        """Another shape of as many elements: two axes merged, one split, or ones added."""
        axes = list(shape)
        roll = self.rng.random()
        if roll < 0.4 and len(axes) > 1:
            i = self.rng.randrange(len(axes) - 1)
            axes[i : i + 2] = [axes[i] * axes[i + 1]]
        elif roll < 0.7 and any(n > 1 for n in axes):
            i = self.rng.choice([i for i, n in enumerate(axes) if n > 1])
            factor = self.rng.choice([f for f in range(1, axes[i] + 1) if axes[i] % f == 0])
            axes[i : i + 1] = [factor, axes[i] // factor]
        else:
            axes.insert(self.rng.randint(0, len(axes)), 1)
        return tuple(axes)

    def reduce(self) -> None:
        x = self.pick(known=self.rng.random() < 0.9)
        name = self.rng.choice(_REDUCE)
        axes = (self.axis(x.type),) if name.startswith("arg") else self.some_axes(x.type.rank)
        self.emit(name, x, axes=axes, keepdims=self.rng.random() < 0.5)

    def contract(self) -> None:
        a = self.pick(lambda t: not t.type.dtype.is_bool, known=self.rng.random() < 0.9)
        rng = self.rng
        ours = _LETTERS[: a.type.rank]
        sizes = dict(zip(ours, a.type.shape, strict=True))
        summed = {x for x in ours if rng.random() < 0.5}
        batch = {x for x in ours if x not in summed and rng.random() < 0.3}
        theirs = [*summed, *batch]
        for letter in _LETTERS[a.type.rank :][: rng.randint(0, 2)]:
            sizes[letter] = rng.choice([1, 2, 3, 5])
            theirs.append(letter)
        theirs.sort()
        rng.shuffle(theirs)
        result = sorted({*ours, *theirs} - summed)
        rng.shuffle(result)
        b = self.partner(TensorType(a.type.dtype, tuple(sizes[x] for x in theirs)))
        if rng.random() < 0.5:
            self.emit("contract", a, b, spec=f"{ours},{''.join(theirs)}->{''.join(result)}")
        else:
            self.emit("contract", b, a, spec=f"{''.join(theirs)},{ours}->{''.join(result)}")

    def index(self) -> None:
        name = self.rng.choice(["take", "gather", "index_add", "scatter_add"])
        x = self.pick(lambda t: t.type.rank > 0, known=self.rng.random() < 0.8)
        axis = self.axis(x.type)
        shape = x.type.shape
        if name in ("take", "index_add"):
            shape = tuple(self.rng.choice([1, 2, 3]) for _ in range(self.rng.randint(0, 2)))
            spread = (*x.type.shape[:axis], *shape, *x.type.shape[axis + 1 :])
        else:
            shape = spread = tuple(self.rng.randint(1, n) if n else 0 for n in shape)
        indices = self.indices(shape, x.type.shape[axis])
        if name in ("take", "gather"):
            self.emit(name, x, indices, axis=axis)
        else:
            self.emit(name, x, indices, self.partner(x.type.with_shape(spread)), axis=axis)

    def indices(self, shape: Shape, extent: int) -> _Tracked:
        """Integers from 0 to below `extent`: fresh ones, or some at hand taken modulo it."""
        if extent == 0:
            raise _Unfit
        dtype = self.rng.choice([i64, i64, i32])
        type = TensorType(dtype, shape)
        if self.rng.random() < 0.5:
            return self.fresh(type, self.data(type, 0, extent))
        some = self.partner(type)
        modulus = self.emit("constant", value=extent, **_described(type))
        return self.emit("check_index", self.emit("mod", some, modulus), low=0, high=extent)

    def generate(self) -> None:
        shape = self.shape()
        name = self.rng.choice(["iota", "random_uniform", "random_normal"])
        if name == "iota":
            dtype = self.rng.choice([d for d in self.dtypes if not d.is_bool])
            self.emit(name, dtype=dtype, shape=shape, axis=self.axis(TensorType(dtype, shape)))
            return
        scalar = TensorType(i64, ())
        key, offset = self.partner(scalar), self.partner(scalar)
        self.emit(name, key, offset, dtype=self.float_dtype(), shape=shape)

    def gradient(self) -> None:
        """The gradient of one or two sums, or of a tensor with a cotangent, by up to three values."""
        rng = self.rng
        targets: list[_Tracked] = []
        for _ in range(rng.choice([1, 1, 1, 2])):
            x = self.pick(lambda t: t.is_float and t.value.op is not None, known=rng.random() < 0.5)
            total = rng.random() < 0.7
            targets.append(self.emit("sum", x, axes=tuple(range(x.type.rank)), keepdims=False) if total else x)
        cotangents = [self.partner(t.type) for t in targets]
        wide = [t for t in self.values if t.is_float and t.type.dtype.itemsize > 2] or [self.pick(lambda t: t.is_float)]
        wrt = {rng.choice(wide) for _ in range(rng.randint(1, 3))}
        operands = [*targets, *cotangents, *sorted(wrt, key=self.values.index)]
        op = self.builder.emit("gradient", [t.value for t in operands], {"targets": len(targets)})
        self.values.extend(_Tracked(result, None, False) for result in op.results)

    def axis(self, type: TensorType) -> int:
        if not type.rank:
            raise _Unfit
        return self.rng.randrange(type.rank)

    def some_axes(self, rank: int) -> tuple[int, ...]:
        return tuple(sorted(self.rng.sample(range(rank), self.rng.randint(0, rank))))


def _names(kind: str, n_operands: int | None = None) -> list[str]:
    """The ops of a kind that need no attributes beyond those of a reduction."""
    plain = {"axes", "keepdims"}
    fitting = [r for r in registered().values() if r.kind == kind and n_operands in (None, r.n_operands)]
    return sorted(r.name for r in fitting if not r.attrs.keys() - plain)


_POINTWISE = {n: _names("pointwise", n) for n in (1, 2)}
_REDUCE = _names("reduce")
_GENTLE = {"add", "sub", "neg", "tanh", "stop_gradient", "where", "cast", "sum"}


def _is_linear_in_unknowns(op: Op, operands: Sequence[_Tracked]) -> bool:
    """Whether values that depend on a gradient pass without being amplified much, and none decides anything."""
    if op.name in ("mul", "contract"):
        return sum(t.array is None for t in operands) == 1
    if op.name == "cast" and not (op.result.type.dtype.is_float and op.result.type.dtype.itemsize > 2):
        return False
    return op.name in _GENTLE or lookup(op.name).kind in ("layout", "gather", "scatter")


def _known(tracked: _Tracked) -> Array:
    assert tracked.array is not None
    return tracked.array


def _described(type: TensorType) -> dict[str, Any]:
    return {"dtype": type.dtype, "shape": type.shape}


def _fits_into(small: Shape, large: Shape) -> bool:
    """Whether `small` broadcasts to `large` as NumPy would, and is not it."""
    if small == large or len(small) > len(large):
        return False
    return all(a in (1, b) for a, b in zip(reversed(small), reversed(large), strict=False))
