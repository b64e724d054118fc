"""graphc: compiled functions of what a user writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc
import graphc.nn.functional as F
from benchmarks.ops_workloads import ADAM_EPSILON, BETAS, EPSILON, RATE, Operation
from graphc import nn, optim


def make(operation: Operation, threads: int) -> tuple[Callable[[], None], Callable[[], list[Any]]]:
    inputs = [graphc.tensor(x) for x in operation.inputs()]
    found: list[Any] = []
    if operation.kind == "adam":
        parameter = nn.Parameter(inputs[0])
        optimizer = optim.Adam([parameter], RATE, BETAS, ADAM_EPSILON)

        @graphc.compile
        def update(gradient: Any) -> None:
            parameter.grad = gradient
            optimizer.step()

        def results() -> list[Any]:
            state = optimizer.state[parameter]
            return [x.detach().numpy() for x in (parameter, state["exp_avg"], state["exp_avg_sq"])]

        return lambda: update(inputs[1]), results

    if operation.kind == "cross_entropy":
        inputs[0].requires_grad_()

        @graphc.compile
        def step(logits: Any, labels: Any) -> Any:
            loss = F.cross_entropy(logits, labels)
            return loss.detach(), *graphc.autograd.grad(loss, logits)
    else:
        for x in inputs[:3]:
            x.requires_grad_()

        @graphc.compile
        def step(x: Any, weight: Any, bias: Any, gradient: Any) -> Any:
            y = F.layer_norm(x, (x.shape[-1],), weight, bias, EPSILON)
            return y.detach(), *graphc.autograd.grad(y, (x, weight, bias), gradient)

    def call() -> None:
        found[:] = step(*inputs)

    return call, lambda: [np.asarray(x.detach()) for x in found]
