"""Autodiff against finite differences, and where gradients end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from graphc.ir import (
    Builder,
    DifferentiationError,
    DTypeError,
    Graph,
    Location,
    TensorType,
    Value,
    bf16,
    f32,
    f64,
    i64,
    lookup,
    verify,
)
from graphc.passes.autodiff import Autodiff
from tests.passes.rewriting import Array, Body, make_graph, run

F34, F4 = TensorType(f64, (3, 4)), TensorType(f64, (4,))
SCALAR = TensorType(f64, ())


def total(b: Builder, x: Value) -> Value:
    """The sum of all elements."""
    return b.sum(x, axes=tuple(range(x.type.rank)))


def gradient(b: Builder, target: Value, *wrt: Value) -> tuple[Value, ...]:
    """A gradient op of one scalar."""
    return b.emit("gradient", [target, b.full_like(target, 1.0), *wrt], {"targets": 1}).results


def differentiated(types: Sequence[TensorType], body: Body) -> Graph:
    graph = make_graph(types, body, stage="traced")
    verify(graph)
    after = Autodiff().run(graph)
    verify(after)
    assert after.stage == "differentiated"
    assert not {op.name for op in after.ops} & {"gradient", "stop_gradient"}
    return after


def random_arguments(types: Sequence[TensorType], seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.uniform(0.5, 1.5, t.shape)).astype(t.dtype.numpy) for t in types]


def finite_differences(value: Callable[[Sequence[Array]], Array], arguments: Sequence[Array], which: int) -> Array:
    """The gradient of a scalar function by one argument, by central differences."""
    x = arguments[which]
    found = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = 1e-5
        up, down = ([*arguments[:which], x + s, *arguments[which + 1 :]] for s in (step, -step))
        found[place] = (value(up) - value(down)) / 2e-5
    return found


def check_against_differences(types: Sequence[TensorType], loss: Body) -> None:
    """The gradients of `loss` by all arguments, against finite differences of its value."""

    def both(b: Builder, *args: Value) -> list[Value]:
        y = loss(b, *args)
        assert isinstance(y, Value)
        return [y, *gradient(b, y, *args)]

    graph = differentiated(types, both)
    arguments = random_arguments(types)
    _, *found = run(graph, arguments)
    for i, g in enumerate(found):
        expected = finite_differences(lambda a: run(graph, a)[0], arguments, i)
        np.testing.assert_allclose(g, expected, rtol=1e-6, atol=1e-7)


def softmax_loss(b: Builder, x: Value, w: Value) -> Value:
    logits = b.contract(b.tanh(x), w, spec="mk,nk->mn")
    top = b.broadcast(b.max(logits, axes=(1,), keepdims=True), shape=logits.type.shape, dims=(0, 1))
    e = b.exp(b.sub(logits, top))
    norm = b.log(b.sum(e, axes=(1,)))
    return b.sub(total(b, norm), total(b, b.slice(logits, start=(0, 1), stop=(3, 2), step=(1, 1))))


def normalised(b: Builder, x: Value, w: Value) -> Value:
    n = b.constant(1 / 4, TensorType(f64, (3,)))
    mean = b.broadcast(b.mul(b.sum(x, axes=(1,)), n), shape=(3, 4), dims=(0,))
    centred = b.sub(x, mean)
    var = b.mul(b.sum(b.mul(centred, centred), axes=(1,)), n)
    scale = b.broadcast(b.rsqrt(b.add(var, b.full_like(var, 1e-3))), shape=(3, 4), dims=(0,))
    y = b.mul(b.mul(centred, scale), b.broadcast(w, shape=(3, 4), dims=(1,)))
    return total(b, b.mul(y, b.sigmoid(y)))


def indexed(b: Builder, x: Value, w: Value) -> Value:
    rows = b.constant(np.array([2, 0, 2]), TensorType(i64, (3,)))
    picked = b.take(x, rows, axis=0)
    padded = b.pad(b.concat(picked, b.flip(x, axes=(1,)), axis=0), low=(1, 0), high=(0, 2), interior=(0, 1), value=0.5)
    return total(b, b.exp(b.mul(padded, b.broadcast(w, shape=padded.type.shape, dims=()))))


@pytest.mark.parametrize(
    ("types", "loss"),
    [
        ([F34, TensorType(f64, (5, 4))], softmax_loss),
        ([F34, F4], normalised),
        ([F34, SCALAR], indexed),
        ([F34], lambda b, x: total(b, b.pow(x, b.log(b.mul(x, b.mul(x, x)))))),
        ([F34, F34], lambda b, x, y: total(b, b.div(b.where(b.lt(x, y), x, b.sqrt(y)), b.maximum(x, y)))),
        ([F34], lambda b, x: total(b, b.contract(x, x, spec="ab,cb->ac"))),
    ],
    ids=["softmax", "normalised", "indexed", "pow", "choices", "x meets itself"],
)
def test_composite_functions(types: Sequence[TensorType], loss: Body) -> None:
    check_against_differences(types, loss)


def test_second_and_third_order() -> None:
    """d2 and d3 of sum(exp(x) * x): exp(x) * (x + 2) and exp(x) * (x + 3), by gradients of gradients."""

    def body(b: Builder, x: Value) -> list[Value]:
        y = total(b, b.mul(b.exp(x), x))
        (first,) = gradient(b, y, x)
        (second,) = gradient(b, total(b, first), x)
        (third,) = gradient(b, total(b, second), x)
        return [second, third]

    graph = differentiated([F4], body)
    (x,) = random_arguments([F4])
    second, third = run(graph, [x])
    np.testing.assert_allclose(second, np.exp(x) * (x + 2), rtol=1e-12)
    np.testing.assert_allclose(third, np.exp(x) * (x + 3), rtol=1e-12)


@pytest.mark.parametrize("loss", [softmax_loss, normalised], ids=["softmax", "normalised"])
def test_gradient_penalty(loss: Body) -> None:
    """A loss that holds a gradient: the squared norm of one."""

    def penalty(b: Builder, x: Value, w: Value) -> Value:
        y = loss(b, x, w)
        assert isinstance(y, Value)
        (g,) = gradient(b, y, x)
        return total(b, b.mul(g, g))

    check_against_differences([F34, TensorType(f64, (5, 4)) if loss is softmax_loss else F4], penalty)


def test_several_targets_with_cotangents() -> None:
    def body(b: Builder, x: Value, u: Value, v: Value) -> Sequence[Value]:
        y, z = b.mul(x, x), b.sin(x)
        return b.emit("gradient", [y, z, y, u, v, u, x], {"targets": 3}).results

    graph = differentiated([F4] * 3, body)
    x, u, v = random_arguments([F4] * 3)
    np.testing.assert_allclose(run(graph, [x, u, v])[0], 4 * x * u + np.cos(x) * v, rtol=1e-12)


def test_by_an_intermediate_value_and_what_it_came_from() -> None:
    """The gradient by x counts the paths through h, though h is asked for too (as torch.autograd.grad does)."""

    def body(b: Builder, x: Value) -> Sequence[Value]:
        h = b.mul(x, x)
        y = total(b, b.mul(h, b.exp(x)))
        return gradient(b, y, h, x, h)

    graph = differentiated([F4], body)
    (x,) = random_arguments([F4])
    by_h, by_x, again = run(graph, [x])
    np.testing.assert_allclose(by_h, np.exp(x), rtol=1e-12)
    np.testing.assert_allclose(by_x, np.exp(x) * (2 * x + x * x), rtol=1e-12)
    np.testing.assert_array_equal(again, by_h)


def test_by_an_intermediate_value_only() -> None:
    """Nothing upstream of h is differentiated, so it need not be differentiable, nor of a float type."""

    def body(b: Builder, x: Value) -> Sequence[Value]:
        h = b.cast(b.argmax(x, axes=(0,)), dtype=f64)
        return gradient(b, b.mul(h, h), h)

    graph = differentiated([F4], body)
    assert run(graph, [np.array([0.0, 1.0, 5.0, 2.0])]) == [4.0]


def test_by_a_target() -> None:
    def body(b: Builder, x: Value) -> Sequence[Value]:
        y = total(b, x)
        return gradient(b, y, y, x)

    by_y, by_x = run(differentiated([F4], body), random_arguments([F4]))
    assert by_y == 1.0
    np.testing.assert_array_equal(by_x, np.ones(4))


def test_stop_gradient_blocks_one_path() -> None:
    def body(b: Builder, x: Value) -> Sequence[Value]:
        frozen = b.stop_gradient(b.mul(x, x))
        return [total(b, b.mul(x, frozen)), *gradient(b, total(b, b.mul(x, frozen)), x)]

    graph = differentiated([F4], body)
    (x,) = random_arguments([F4])
    value, g = run(graph, [x])
    np.testing.assert_allclose(value, np.sum(x**3), rtol=1e-12)
    np.testing.assert_allclose(g, x * x, rtol=1e-12)


def test_by_a_detached_value() -> None:
    """stop_gradient cuts what is before it; the gradient by its result is like any other."""

    def body(b: Builder, x: Value) -> Sequence[Value]:
        leaf = b.stop_gradient(x)
        return gradient(b, total(b, b.mul(leaf, leaf)), leaf, x)

    (x,) = random_arguments([F4])
    by_leaf, by_x = run(differentiated([F4], body), [x])
    np.testing.assert_array_equal(by_leaf, 2 * x)
    np.testing.assert_array_equal(by_x, np.zeros(4))


def test_unreachable_values_get_zeros() -> None:
    graph = differentiated([F4, F34], lambda b, x, y: gradient(b, total(b, x), y, x))
    by_y, by_x = run(graph, random_arguments([F4, F34]))
    np.testing.assert_array_equal(by_y, np.zeros((3, 4)))
    np.testing.assert_array_equal(by_x, np.ones(4))


def test_no_op_without_use() -> None:
    """Nothing is emitted for operands that lead to no wrt value: here, for w and the long way to it."""

    def body(b: Builder, x: Value, w: Value) -> Sequence[Value]:
        weights = b.exp(b.sin(b.exp(w)))
        return gradient(b, total(b, b.mul(b.tanh(x), weights)), x)

    graph = differentiated([F4, F4], body)
    assert "cos" not in [op.name for op in graph.ops]
    used = {v for op in graph.ops for v in op.operands} | set(graph.results)
    dead = [op.name for op in graph.ops if not used.intersection(op.results)]
    assert dead == ["sum"]  # only the loss itself, which nobody returns


def test_way_through_integers_ends() -> None:
    def body(b: Builder, x: Value) -> Sequence[Value]:
        steps = b.cast(b.cast(x, dtype=i64), dtype=f64)
        return gradient(b, total(b, b.mul(x, steps)), x)

    np.testing.assert_array_equal(run(differentiated([F4], body), [np.full(4, 2.5)])[0], np.full(4, 2.0))


def test_gradients_carry_the_location_of_what_they_differentiate() -> None:
    def body(b: Builder, x: Value) -> Sequence[Value]:
        b.location = Location("train.py", 3)
        h = b.tanh(x)
        b.location = Location("train.py", 4)
        y = total(b, b.mul(h, h))
        b.location = Location("train.py", 9)
        return gradient(b, y, x)

    graph = make_graph([F4], body, stage="traced")
    n = len(graph.ops) - 1
    after = Autodiff().run(graph)
    lines = [op.location.line for op in after.ops[n:] if op.location]
    assert len(lines) == len(after.ops) - n
    assert lines == sorted(lines, reverse=True)
    assert set(lines) == {3, 4}


def test_names_are_carried() -> None:
    def body(b: Builder, x: Value) -> Sequence[Value]:
        (g,) = gradient(b, total(b, b.exp(x)), x)
        g.name = "dx"
        return [g]

    assert differentiated([F4], body).results[0].name == "dx"


def test_op_without_gradient_is_located(monkeypatch: pytest.MonkeyPatch) -> None:
    without = {**lookup("exp").__dict__, "vjp": None}
    monkeypatch.setattr(
        "graphc.passes.autodiff.lookup", lambda name: type(lookup("exp"))(**without) if name == "exp" else lookup(name)
    )

    def body(b: Builder, x: Value) -> Sequence[Value]:
        b.location = Location("train.py", 7)
        y = b.exp(x)
        b.location = Location("train.py", 8)
        return gradient(b, total(b, y), x)

    with pytest.raises(DifferentiationError, match=r"train.py:7: exp on \(f64\[4\]\) has no gradient.*stop_gradient"):
        Autodiff().run(make_graph([F4], body, stage="traced"))


def test_wrong_vjp_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {**lookup("exp").__dict__, "vjp": lambda b, op, cts: [total(b, cts[0])]}
    monkeypatch.setattr(
        "graphc.passes.autodiff.lookup", lambda name: type(lookup("exp"))(**wrong) if name == "exp" else lookup(name)
    )
    graph = make_graph([F4], lambda b, x: gradient(b, total(b, b.exp(x)), x), stage="traced")
    with pytest.raises(DifferentiationError, match=r"vjp of exp .* \(f64\[\]\); each must have its operand's type"):
        Autodiff().run(graph)


def test_integers_have_no_gradient() -> None:
    b = Builder(Graph("f"), Location("train.py", 5))
    loss, n = b.constant(1.0, SCALAR), b.constant(1, TensorType(i64, (3,)))
    with pytest.raises(DTypeError, match=r"train.py:5: gradient: i64\[3\].* cast it"):
        gradient(b, loss, n)


def test_half_precision() -> None:
    """Cotangents have the type of what they belong to, through casts."""
    half = TensorType(bf16, (4,))

    def body(b: Builder, x: Value) -> Sequence[Value]:
        wide = b.cast(x, dtype=f32)
        return gradient(b, total(b, b.mul(wide, wide)), x)

    graph = differentiated([half], body)
    x = np.array([0.5, 1.0, 1.5, 2.0]).astype(half.dtype.numpy)
    (g,) = run(graph, [x])
    assert g.dtype == half.dtype.numpy
    np.testing.assert_array_equal(g.astype(np.float32), [1.0, 2.0, 3.0, 4.0])
