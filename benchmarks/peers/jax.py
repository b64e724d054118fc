"""JAX: one jitted step with donated parameters and moments. Labels are i32, its default integer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from benchmarks.workloads import ADAM, MOMENTUM, Workload


def put(images, labels):
    return jax.device_put((images, labels.astype("int32")))


def make(workload: Workload, threads: int) -> tuple[Callable, Callable]:
    del threads  # XLA's pool follows the CPU affinity that the worker set
    params = jax.tree.map(jnp.array, workload.weights())  # copies: what JAX does not own it cannot donate
    count = {"sgd": 0, "momentum": 1, "adam": 2}[workload.optimizer]
    moments = tuple(jax.tree.map(jnp.zeros_like, params) for _ in range(count))
    lr, (beta1, beta2, eps) = workload.lr, ADAM

    def loss_of(params, images, labels):
        x = images
        for i, (weight, bias) in enumerate(params):
            x = (jax.nn.relu(x) if i else x) @ weight.T + bias
        picked = jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], axis=1)
        return -picked.mean()

    def update(params, moments, t, grads):
        if workload.optimizer == "sgd":
            return jax.tree.map(lambda p, g: p - lr * g, params, grads), moments
        if workload.optimizer == "momentum":
            velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, moments[0], grads)
            return jax.tree.map(lambda p, v: p - lr * v, params, velocity), (velocity,)
        first = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, moments[0], grads)
        second = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, moments[1], grads)
        scale, correction = lr / (1 - beta1**t), jnp.sqrt(1 - beta2**t)
        params = jax.tree.map(lambda p, m, v: p - scale * m / (jnp.sqrt(v) / correction + eps), params, first, second)
        return params, (first, second)

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def train(params, moments, t, images, labels):
        loss, grads = jax.value_and_grad(loss_of)(params, images, labels)
        params, moments = update(params, moments, t + 1, grads)
        return params, moments, t + 1, loss

    t = jnp.zeros(())

    def step(images, labels):
        nonlocal params, moments, t
        params, moments, t, loss = train(params, moments, t, images, labels)
        return loss

    return put, step
