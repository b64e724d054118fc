"""Running passes: order, verification, timing, observation, bisection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError, dataclass

import numpy as np
import pytest

from graphc.ir import Builder, FaultError, Graph, GraphcError, Op, TensorType, Value, VerifyError, f32, f64, i64
from graphc.passes.autodiff import Autodiff
from graphc.passes.canonicalize import Canonicalize, settle
from graphc.passes.cse import Cse
from graphc.passes.dce import Dce
from graphc.passes.fold import Fold
from graphc.passes.pass_manager import Pass, PassManager, bisect
from graphc.passes.rewriter import rewrite
from tests.passes.rewriting import make_graph

F4 = TensorType(f32, (4,))


@dataclass(frozen=True)
class Swap:
    """Before: any graph. After: every op `old` is made by `new(builder, *operands)`. Right or wrong."""

    old: str
    new: Callable[..., Value]
    name: str = "swap"

    def run(self, graph: Graph) -> Graph:
        def visit(b: Builder, op: Op, operands: tuple[Value, ...]) -> Sequence[Value] | None:
            return [self.new(b, *operands)] if op.name == self.old else None

        return rewrite(graph, visit)


@dataclass(frozen=True)
class Scramble:
    """A pass that makes an ill-formed graph: ops in reverse order."""

    name: str = "scramble"

    def run(self, graph: Graph) -> Graph:
        copy = rewrite(graph, lambda b, op, operands: None)
        copy.ops.reverse()
        return copy


def loss(b: Builder, x: Value) -> list[Value]:
    y = b.sum(b.mul(b.exp(x), b.tanh(x)), axes=(0,))
    return [y, *b.emit("gradient", [y, b.full_like(y, 1.0), x], {"targets": 1}).results]


def test_passes_are_frozen_dataclasses() -> None:
    for one in (Autodiff(), Canonicalize(), Fold(), Cse(), Dce()):
        assert isinstance(one, Pass)
        assert "Before:" in (type(one).__doc__ or "")
        assert "After:" in (type(one).__doc__ or "")
        with pytest.raises(FrozenInstanceError):
            one.name = "other"  # type: ignore[misc]


def test_runs_in_order_and_is_watched() -> None:
    seen: list[tuple[str, str]] = []
    manager = PassManager(
        [Autodiff(), Cse(), Dce()], verify_each=True, observe=lambda name, graph: seen.append((name, graph.stage))
    )
    graph = make_graph([F4], loss, stage="traced")
    after, timings = manager.run_timed(graph)
    assert seen == [(name, "differentiated") for name in ("autodiff", "cse", "dce")]
    assert [t.pass_name for t in timings] == ["autodiff", "cse", "dce"]
    assert timings[0].ops_before == len(graph.ops)
    assert timings[-1].ops_after == len(after.ops) == len(manager.run(graph).ops)
    assert all(t.seconds >= 0 for t in timings)


def test_names_the_pass_that_breaks_an_invariant() -> None:
    graph = make_graph([F4], lambda b, x: b.exp(b.exp(x)))
    with pytest.raises(VerifyError, match="after the pass scramble: "):
        PassManager([Cse(), Scramble()], verify_each=True).run(graph)
    PassManager([Scramble()]).run(graph)


def test_checks_the_graph_it_is_given() -> None:
    graph = Scramble().run(make_graph([F4], lambda b, x: b.exp(b.exp(x))))
    with pytest.raises(VerifyError, match="defined before its use"):
        PassManager([Dce()], verify_each=True).run(graph)


def test_rules_that_undo_one_another_are_reported() -> None:
    def there(b: Builder, op: Op, /, *operands: Value) -> Value | None:
        return b.neg(operands[0])

    graph = make_graph([F4], lambda b, x: b.neg(x))
    with pytest.raises(
        GraphcError, match="my-pass did not settle in 5 sweeps; the last rule to fire was there, on neg"
    ):
        settle(graph, lambda _: {"neg": [there]}, "my-pass", 5)


# --- bisection

X = np.array([0.1, -0.5, 2.0, 3.0], np.float32)


def test_finds_the_pass_that_is_wrong() -> None:
    wrong = Swap("tanh", lambda b, x: b.sin(x), name="tanh-is-sin")
    passes: list[Pass] = [Autodiff(), Cse(), wrong, Dce()]
    found = bisect(make_graph([F4], loss, stage="traced"), [X], [], passes)
    assert found is not None
    assert (found.pass_name, found.position, found.result) == ("tanh-is-sin", 2, "output 0")
    expected = abs(float(np.sum(np.exp(X) * (np.tanh(X) - np.sin(X)))))
    scale = abs(float(np.sum(np.exp(X) * np.tanh(X))))
    assert found.max_error == pytest.approx(expected / scale, rel=1e-5)
    assert str(found).startswith("pass 2 (tanh-is-sin) changes output 0: largest error 0.")


def test_right_passes_are_cleared() -> None:
    passes: list[Pass] = [Autodiff(), Canonicalize(), Fold(), Cse(), Dce()]
    assert bisect(make_graph([F4], loss, stage="traced"), [X], [], passes) is None


def test_rounding_is_not_wrong_unless_asked_for() -> None:
    other = Swap("exp", lambda b, x: b.cast(b.exp(b.cast(x, dtype=f64)), dtype=f32))
    graph = make_graph([TensorType(f32, (64,))], lambda b, x: b.exp(x))
    x = np.linspace(-3, 3, 64, dtype=np.float32)
    assert bisect(graph, [x], [], [other]) is None
    found = bisect(graph, [x], [], [other], tolerance=0.0)
    assert found is not None
    assert 0 < found.max_error < 1e-6


def test_finds_a_changed_state() -> None:
    graph = make_graph([F4, F4], lambda b, x, w: x, n_states=1)
    graph.states[0].name = "weight"
    graph.updates = {graph.states[0]: Builder(graph).add(graph.states[0], graph.inputs[0])}
    passes: list[Pass] = [Dce(), Swap("add", lambda b, x, y: b.sub(x, y), name="add-is-sub")]
    found = bisect(graph, [X], [X], passes)
    assert found is not None
    assert (found.pass_name, found.result) == ("add-is-sub", "state weight")


def test_special_values_must_stay() -> None:
    graph = make_graph([F4], lambda b, x: b.relu(x))
    broken = Swap("relu", lambda b, x: b.where(b.gt(x, b.full_like(x, 0)), x, b.full_like(x, 0)))
    assert bisect(graph, [X], [], [broken]) is None
    found = bisect(graph, [np.array([1, np.nan, -1, np.inf], np.float32)], [], [broken])
    assert found is not None
    assert found.max_error == np.inf


def test_integers_must_be_equal() -> None:
    graph = make_graph([TensorType(i64, (1,))], lambda b, x: b.add(x, b.full_like(x, 1)))
    found = bisect(graph, [np.array([2**60])], [], [Swap("add", lambda b, x, y: b.sub(x, y))])
    assert found is not None


def test_a_new_fault_is_a_difference() -> None:
    graph = make_graph([TensorType(i64, (1,))], lambda b, x: b.neg(x))
    found = bisect(graph, [np.array([5])], [], [Swap("neg", lambda b, x: b.check_index(x, low=0, high=3))])
    assert found is not None
    assert "5 is out of range" in found.result
    assert found.max_error == np.inf
    faulty = make_graph([TensorType(i64, (1,))], lambda b, x: b.check_index(x, low=0, high=3))
    with pytest.raises(FaultError):
        bisect(faulty, [np.array([5])], [], [Dce()])


def test_a_changed_type_is_an_error() -> None:
    @dataclass(frozen=True)
    class Drop:
        name: str = "drop"

        def run(self, graph: Graph) -> Graph:
            copy = rewrite(graph, lambda b, op, operands: None)
            copy.results = [Builder(copy).sum(copy.results[0], axes=(0,))]
            return copy

    with pytest.raises(GraphcError, match=r"drop changed the type of output 0: f32\[4\] became f32\[\]"):
        bisect(make_graph([F4], lambda b, x: b.exp(x)), [X], [], [Drop()])
