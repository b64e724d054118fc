"""Training steps written by hand, op by op: what tracing a PyTorch-style script gives."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.ir import Builder, Graph, Location, TensorType, Value, bool_, f32, f64, i64

Array = np.ndarray[Any, Any]
SCALAR = TensorType(f64, ())


@dataclass
class Step:
    """A graph of the stage `traced` under construction."""

    graph: Graph = field(default_factory=lambda: Graph("train_step"))
    n_states: int = 0

    def __post_init__(self) -> None:
        self.b = Builder(self.graph, Location("train.py", 1))

    def input(self, name: str, type: TensorType) -> Value:
        value = Value(type, name=name)
        self.graph.args.insert(self.graph.n_inputs, value)
        self.graph.n_inputs += 1
        return value

    def state(self, name: str, type: TensorType) -> Value:
        value = Value(type, name=name)
        self.graph.args.append(value)
        return value

    def parameter(self, name: str, *shape: int) -> Value:
        return self.state(name, TensorType(f32, shape))

    # --- compositions

    def splat(self, number: float, like: Value) -> Value:
        return self.b.full_like(like, number)

    def spread(self, x: Value, like: Value) -> Value:
        """`x` broadcast along leading axes."""
        if x.type.shape == like.type.shape:
            return x
        offset = like.type.rank - x.type.rank
        return self.b.broadcast(x, shape=like.type.shape, dims=tuple(range(offset, like.type.rank)))

    def linear(self, x: Value, weight: Value, bias: Value | None = None) -> Value:
        y = self.b.contract(x, weight, spec="mk,nk->mn")
        return y if bias is None else self.b.add(y, self.spread(bias, y))

    def mean(self, x: Value, axes: tuple[int, ...] | None = None, keepdims: bool = False) -> Value:
        total = self.b.sum(x, axes=tuple(range(x.type.rank)) if axes is None else axes, keepdims=keepdims)
        return self.b.div(total, self.splat(x.type.size / total.type.size, total))

    def log_softmax(self, x: Value) -> Value:
        b = self.b
        last = (x.type.rank - 1,)
        shifted = b.sub(x, self.spread(b.stop_gradient(b.max(x, axes=last, keepdims=True)), x))
        return b.sub(shifted, self.spread(b.log(b.sum(b.exp(shifted), axes=last, keepdims=True)), x))

    def cross_entropy(self, logits: Value, labels: Value) -> Value:
        """The mean negative log-likelihood, its label picked by a mask."""
        b = self.b
        classes = b.iota(dtype=i64, shape=logits.type.shape, axis=1)
        chosen = b.eq(classes, b.broadcast(labels, shape=logits.type.shape, dims=(0,)))
        logp = self.log_softmax(logits)
        picked = b.sum(b.where(chosen, logp, self.splat(0.0, logp)), axes=(1,), keepdims=False)
        return self.mean(b.neg(picked))

    def layer_norm(self, x: Value, gain: Value, shift: Value) -> Value:
        b = self.b
        last = (x.type.rank - 1,)
        centred = b.sub(x, self.spread(self.mean(x, last, True), x))
        variance = self.mean(b.mul(centred, centred), last, True)
        scale = b.rsqrt(b.add(variance, self.splat(1e-5, variance)))
        normal = b.mul(centred, self.spread(scale, x))
        return b.add(b.mul(normal, self.spread(gain, x)), self.spread(shift, x))

    def gelu(self, x: Value) -> Value:
        b = self.b
        inner = b.erf(b.mul(x, self.splat(math.sqrt(0.5), x)))
        return b.mul(b.mul(x, self.splat(0.5, x)), b.add(inner, self.splat(1.0, x)))

    def dropout(self, x: Value, key: Value, offset: Value, p: float) -> Value:
        b = self.b
        uniform = b.random_uniform(key, offset, dtype=x.type.dtype, shape=x.type.shape)
        kept = b.ge(uniform, self.splat(p, x))
        return b.where(kept, b.mul(x, self.splat(1 / (1 - p), x)), self.splat(0.0, x))

    def scalar(self, x: Value, like: Value) -> Value:
        """The f64 scalar `x` in the type of `like`."""
        return self.spread(self.b.cast(x, dtype=like.type.dtype), like)

    # --- the end of a step

    def gradients(self, loss: Value, wrt: list[Value]) -> list[Value]:
        one = self.b.full_like(loss, 1.0)
        return list(self.b.emit("gradient", [loss, one, *wrt], {"targets": 1}).results)

    def sgd(self, parameters: Mapping[Value, Value], momentum: bool = False) -> None:
        """`parameters` maps each to its gradient."""
        b = self.b
        rate = self.input("lr", SCALAR)
        for p, g in parameters.items():
            if momentum:
                buffer = self.state(f"{p.name}.momentum", p.type)
                g = b.add(b.mul(buffer, self.splat(0.9, p)), g)
                self.graph.updates[buffer] = g
            self.graph.updates[p] = b.sub(p, b.mul(self.scalar(rate, p), g))

    def adam(self, parameters: Mapping[Value, Value], decay: bool = False) -> None:
        """Adam, or AdamW where the weights decay."""
        b = self.b
        rate, beta1, beta2, eps = (self.input(n, SCALAR) for n in ("lr", "beta1", "beta2", "eps"))
        step = self.state("step", TensorType(i64, ()))
        now = self.graph.updates[step] = b.add(step, self.splat(1, step))
        one = self.splat(1.0, beta1)
        count = b.cast(now, dtype=f64)
        correction1 = b.sub(one, b.pow(beta1, count))
        correction2 = b.sqrt(b.sub(one, b.pow(beta2, count)))
        size = b.div(rate, correction1)
        for p, g in parameters.items():
            m, v = (self.state(f"{p.name}.{n}", p.type) for n in ("exp_avg", "exp_avg_sq"))
            w = p
            if decay:
                w = b.mul(p, self.scalar(b.sub(one, b.mul(rate, self.splat(0.01, rate))), p))
            new_m = b.add(b.mul(m, self.scalar(beta1, p)), b.mul(g, self.scalar(b.sub(one, beta1), p)))
            new_v = b.add(b.mul(v, self.scalar(beta2, p)), b.mul(b.mul(g, g), self.scalar(b.sub(one, beta2), p)))
            bottom = b.add(b.div(b.sqrt(new_v), self.scalar(correction2, p)), self.scalar(eps, p))
            self.graph.updates |= {m: new_m, v: new_v}
            self.graph.updates[p] = b.sub(w, b.mul(self.scalar(size, p), b.div(new_m, bottom)))


def mlp(
    optimizer: str = "sgd", sizes: tuple[int, ...] = (784, 128, 10), batch: int = 64, dropout: bool = False
) -> Graph:
    """A multi-layer perceptron with relu, cross-entropy and "sgd", "momentum", "adam" or "adamw"."""
    step = Step()
    x = step.input("x", TensorType(f32, (batch, sizes[0])))
    labels = step.input("labels", TensorType(i64, (batch,)))
    parameters: list[Value] = []
    h = x
    if dropout:
        key, counter = step.state("key", TensorType(i64, ())), step.state("counter", TensorType(i64, ()))
        offset = counter
    for i, (n, m) in enumerate(itertools.pairwise(sizes), 1):
        weight, bias = step.parameter(f"fc{i}.weight", m, n), step.parameter(f"fc{i}.bias", m)
        parameters += [weight, bias]
        h = step.linear(h, weight, bias)
        if i < len(sizes) - 1:
            h = step.b.relu(h)
            if dropout:
                h = step.dropout(h, key, offset, 0.25)
                offset = step.b.add(offset, step.splat(h.type.size, offset))
    if dropout:
        step.graph.updates[counter] = offset
    loss = step.cross_entropy(h, labels)
    loss.name = "loss"
    found = dict(zip(parameters, step.gradients(loss, parameters), strict=True))
    optimizers: dict[str, Callable[[], None]] = {
        "sgd": lambda: step.sgd(found),
        "momentum": lambda: step.sgd(found, momentum=True),
        "adam": lambda: step.adam(found),
        "adamw": lambda: step.adam(found, decay=True),
    }
    optimizers[optimizer]()
    step.graph.results = [loss]
    return step.graph


def transformer_block(batch: int = 4, width: int = 32) -> Graph:
    """Layer norm, a GELU MLP and a residual connection, trained on squared error by AdamW."""
    step = Step()
    b = step.b
    x, target = (step.input(n, TensorType(f32, (batch, width))) for n in ("x", "target"))
    gain, shift = step.parameter("ln.weight", width), step.parameter("ln.bias", width)
    w1, b1 = step.parameter("fc1.weight", 4 * width, width), step.parameter("fc1.bias", 4 * width)
    w2, b2 = step.parameter("fc2.weight", width, 4 * width), step.parameter("fc2.bias", width)
    h = step.gelu(step.linear(step.layer_norm(x, gain, shift), w1, b1))
    error = b.sub(b.add(x, step.linear(h, w2, b2)), target)
    loss = step.mean(b.mul(error, error))
    parameters = [gain, shift, w1, b1, w2, b2]
    step.adam(dict(zip(parameters, step.gradients(loss, parameters), strict=True)), decay=True)
    step.graph.results = [loss]
    return step.graph


def arguments(graph: Graph, seed: int = 0) -> tuple[list[Array], list[Array]]:
    """Inputs and states for a graph: small numbers; integers that are valid labels of three classes."""
    numbers = np.random.default_rng(seed)
    hyper = {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}

    def array(value: Value) -> Array:
        dtype, shape = value.type.dtype, value.type.shape
        if value.name in hyper:
            return np.asarray(hyper[value.name])
        if dtype == bool_:
            return numbers.integers(0, 2, shape).astype(bool)
        if dtype.is_integer:
            return np.asarray(numbers.integers(0, 3, shape), dtype.numpy)
        if (value.name or "").endswith("exp_avg_sq"):
            return np.asarray(numbers.uniform(0.1, 1.0, shape), dtype.numpy)
        return np.asarray(numbers.uniform(-0.5, 0.5, shape), dtype.numpy)

    return [array(v) for v in graph.inputs], [array(v) for v in graph.states]
