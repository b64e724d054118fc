"""A training step through every stage."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.ir import STAGES, Builder, Graph, Location, TensorType, Value, f32, i64, interpret, same_graph, verify
from graphc.ir.target import GENERIC_X86_64_V4
from graphc.passes.pass_manager import PassManager, bisect
from graphc.passes.pipeline import PASSES, PIPELINE, lower
from tests.passes.rewriting import Array, assert_close

BATCH, N_IN, HIDDEN, CLASSES = 6, 8, 5, 3
STATES = {"w1": (HIDDEN, N_IN), "b1": (HIDDEN,), "w2": (CLASSES, HIDDEN), "b2": (CLASSES,)}


def linear(b: Builder, x: Value, w: Value, bias: Value) -> Value:
    y = b.contract(x, b.transpose(w, perm=(1, 0)), spec="mk,kn->mn")
    return b.add(y, b.broadcast(bias, shape=y.type.shape, dims=(1,)))


def cross_entropy(b: Builder, logits: Value, labels: Value) -> Value:
    """Mean of -log softmax at the labels, as the surface composes it: keepdims, broadcasts, a gather."""
    shape = logits.type.shape
    top = b.stop_gradient(b.max(logits, axes=(1,), keepdims=True))
    shifted = b.sub(logits, b.broadcast(top, shape=shape, dims=(0, 1)))
    norm = b.log(b.sum(b.exp(shifted), axes=(1,), keepdims=True))
    log_p = b.sub(shifted, b.broadcast(norm, shape=shape, dims=(0, 1)))
    index = b.reshape(b.check_index(labels, low=0, high=shape[1]), shape=(shape[0], 1))
    picked = b.sum(b.gather(log_p, index, axis=1), axes=(0, 1))
    return b.div(b.neg(picked), b.full_like(picked, float(shape[0])))


def training_step() -> Graph:
    """Two layers, cross entropy, gradients, and SGD with a learning rate that is an input."""
    inputs = [
        Value(TensorType(f32, (BATCH, 2, N_IN // 2)), name="images"),
        Value(TensorType(i64, (BATCH,)), name="labels"),
        Value(TensorType(f32, ()), name="lr"),
    ]
    states = [Value(TensorType(f32, shape), name=name) for name, shape in STATES.items()]
    graph = Graph("train_step", inputs, states)
    b = Builder(graph, Location("train.py", 10))
    images, labels, lr = inputs
    w1, b1, w2, b2 = states
    h = b.relu(linear(b, b.reshape(images, shape=(BATCH, N_IN)), w1, b1))
    loss = cross_entropy(b, linear(b, h, w2, b2), labels)
    b.location = Location("train.py", 20)
    gradients = b.emit("gradient", [loss, b.full_like(loss, 1.0), *states], {"targets": 1}).results
    b.location = Location("train.py", 30)
    for state, g in zip(states, gradients, strict=True):
        graph.updates[state] = b.sub(state, b.mul(g, b.broadcast(lr, shape=g.type.shape, dims=())))
    graph.results = [loss]
    return graph


def arguments() -> tuple[list[Array], list[Array]]:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(BATCH, 2, N_IN // 2)).astype(np.float32)
    inputs = [images, rng.integers(0, CLASSES, BATCH), np.float32(0.1).reshape(())]
    return inputs, [rng.normal(size=shape).astype(np.float32) for shape in STATES.values()]


def reference(inputs: list[Array], states: list[Array]) -> list[Array]:
    """The same step in NumPy, by hand."""
    x, labels, lr = inputs[0].reshape(BATCH, N_IN), inputs[1], inputs[2]
    w1, b1, w2, b2 = states
    a = x @ w1.T + b1
    h = np.maximum(a, 0)
    e = np.exp(h @ w2.T + b2)
    p = e / e.sum(1, keepdims=True)
    loss = -np.mean(np.log(p[np.arange(BATCH), labels]))
    d = (p - np.eye(CLASSES, dtype=np.float32)[labels]) / BATCH
    dh = (d @ w2) * (a > 0)
    new = [w1 - lr * dh.T @ x, b1 - lr * dh.sum(0), w2 - lr * d.T @ h, b2 - lr * d.sum(0)]
    return [np.asarray(loss), *(n.astype(np.float32) for n in new)]


def test_every_stage_computes_the_step() -> None:
    inputs, states = arguments()
    expected = reference(inputs, states)
    lowered = lower(training_step(), verify_each=True)
    assert list(lowered.graphs) == list(STAGES)
    for stage in STAGES[1:]:
        graph = lowered.graphs[stage]
        verify(graph)
        assert graph.stage == stage
        outputs, new = interpret(graph, inputs, states)
        assert_close([*outputs, *new], [a.astype(np.float32) for a in expected])


def test_no_transpose_is_left() -> None:
    names = [op.name for op in lower(training_step()).graphs["optimized"].ops]
    assert "transpose" not in names
    assert names.count("contract") == 5  # two forward, three backward: the gradient by the images is not asked for


def test_no_pass_changes_a_result() -> None:
    passes = [one for stage in STAGES[1:] for one in PIPELINE[stage]]
    assert bisect(training_step(), *arguments(), passes) is None


def test_optimizing_again_changes_nothing() -> None:
    optimized = lower(training_step()).graphs["optimized"]
    assert same_graph(PassManager(PIPELINE["optimized"]).run(optimized), optimized)


def test_locations_reach_the_last_stage() -> None:
    lowered = lower(training_step())
    assert all(op.location and op.location.line in (10, 20, 30) for op in lowered.graphs["optimized"].ops)


@pytest.mark.parametrize("stage", STAGES)
def test_lowering_starts_anywhere(stage: str) -> None:
    graph = lower(training_step()).graphs[stage]
    lowered = lower(graph, GENERIC_X86_64_V4)
    assert list(lowered.graphs) == list(STAGES[STAGES.index(stage) :])
    assert lowered.schedule.launches
    assert same_graph(lowered.graphs["fused"], lower(training_step()).graphs["fused"])


def test_passes_are_timed_and_watched() -> None:
    seen = []
    lowered = lower(training_step(), observe=lambda name, graph: seen.append(name))
    assert seen == [one.name for stage in STAGES[1:] for one in PIPELINE[stage]]
    assert [t.pass_name for t in lowered.timings] == seen


def test_the_registry_names_every_pass_of_the_pipeline() -> None:
    assert {one.name for passes in PIPELINE.values() for one in passes} <= set(PASSES)
    assert all(name == one.name for name, one in PASSES.items())
