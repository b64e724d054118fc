"""PyTorch, eager: its fused forward and backward operators, and its fused optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.ops_workloads import ADAM_EPSILON, BETAS, EPSILON, RATE, Operation


def make(operation: Operation, threads: int) -> tuple[Callable[[], None], Callable[[], list[Any]]]:
    torch.set_num_threads(threads)
    inputs = [torch.from_numpy(x) for x in operation.inputs()]
    found: list[Any] = []
    if operation.kind == "adam":
        return adam(inputs, lambda optimizer: optimizer.step)

    if operation.kind == "cross_entropy":
        inputs[0].requires_grad_()

        def call() -> None:
            logits, labels = inputs
            loss = F.cross_entropy(logits, labels)
            found[:] = [loss, *torch.autograd.grad(loss, logits)]
    else:
        for x in inputs[:3]:
            x.requires_grad_()

        def call() -> None:
            x, weight, bias, gradient = inputs
            y = F.layer_norm(x, (x.shape[-1],), weight, bias, EPSILON)
            found[:] = [y, *torch.autograd.grad(y, (x, weight, bias), gradient)]

    return call, lambda: [x.detach().numpy() for x in found]


def adam(inputs: list[torch.Tensor], step_of: Callable[..., Any]) -> tuple[Callable[[], None], Callable[[], list[Any]]]:
    """`step_of(optimizer)` is what updates."""
    parameter = torch.nn.Parameter(inputs[0])
    parameter.grad = inputs[1]
    optimizer = torch.optim.Adam([parameter], RATE, BETAS, ADAM_EPSILON, fused=True)
    step = step_of(optimizer)

    def results() -> list[Any]:
        state = optimizer.state[parameter]
        return [x.detach().numpy() for x in (parameter, state["exp_avg"], state["exp_avg_sq"])]

    return lambda: step() and None, results
