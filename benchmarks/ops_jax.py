"""JAX: one jitted function; the optimizer's arrays are donated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.ops_workloads import ADAM_EPSILON, BETAS, EPSILON, RATE, Operation


def make(operation: Operation, threads: int) -> tuple[Callable[[], None], Callable[[], list[Any]]]:
    del threads  # XLA's pool follows the cores that this process may use
    inputs = [jnp.array(x) for x in operation.inputs()]
    found: list[Any] = []
    if operation.kind == "adam":
        found[:] = [inputs[0], jnp.zeros_like(inputs[0]), jnp.zeros_like(inputs[0])]
        number = jnp.zeros(())

        def update() -> None:
            nonlocal number
            *found[:], number = jax.block_until_ready(_adam(*found, number, inputs[1]))

        return update, lambda: [np.asarray(x) for x in found]

    step = jax.jit(_cross_entropy if operation.kind == "cross_entropy" else _layer_norm)

    def call() -> None:
        found[:] = jax.block_until_ready(step(*inputs))

    return call, lambda: [np.asarray(x) for x in found]


def _cross_entropy(logits: Any, labels: Any) -> Any:
    def mean_loss(logits: Any) -> Any:
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
        return -picked.mean()

    return jax.value_and_grad(mean_loss)(logits)


def _layer_norm(x: Any, weight: Any, bias: Any, ct: Any) -> Any:
    def normalise(x: Any, weight: Any, bias: Any) -> Any:
        mean = x.mean(1, keepdims=True)
        variance = jnp.square(x - mean).mean(1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + EPSILON) * weight + bias

    y, pull = jax.vjp(normalise, x, weight, bias)
    return y, *pull(ct)


def _update(p: Any, m: Any, v: Any, number: Any, g: Any) -> Any:
    number = number + 1
    m = m + (g - m) * (1 - BETAS[0])
    v = v + (g * g - v) * (1 - BETAS[1])
    correction = jnp.sqrt(1 - BETAS[1] ** number)
    p = p - (RATE / (1 - BETAS[0] ** number)) * m / (jnp.sqrt(v) / correction + ADAM_EPSILON)
    return p, m, v, number


_adam = jax.jit(_update, donate_argnums=(0, 1, 2, 3))
