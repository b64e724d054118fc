from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from benchmarks.workloads import MOMENTUM, Workload


def make_step(workload: Workload, threads: int) -> Callable:
    del threads  # XLA's pool follows the CPU affinity that the worker set
    params = [(jnp.array(w), jnp.array(b)) for w, b in workload.weights()]
    zeros = jax.tree.map(jnp.zeros_like, params)
    moments = (zeros, jax.tree.map(jnp.copy, zeros)) if workload.optimizer == "adam" else (zeros, None)

    def loss_of(params, images, labels):
        x = images
        for i, (weight, bias) in enumerate(params):
            x = (jax.nn.relu(x) if i else x) @ weight.T + bias
        picked = jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], axis=1)
        return -picked.mean()

    def update(params, moments, t, grads):
        lr = workload.lr
        if workload.optimizer == "sgd":
            return jax.tree.map(lambda p, g: p - lr * g, params, grads), moments
        if workload.optimizer == "momentum":
            velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, moments[0], grads)
            return jax.tree.map(lambda p, v: p - lr * v, params, velocity), (velocity, None)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], grads)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, moments[1], grads)
        scale, correction = lr / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
        params = jax.tree.map(lambda p, m, v: p - scale * m / (jnp.sqrt(v) / correction + 1e-8), params, first, second)
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

    return step
