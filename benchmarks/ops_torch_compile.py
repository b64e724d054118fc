"""PyTorch, compiled: forward and backward in one graph, and the optimizer that is made of single operations, which the
compiler fuses."""

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
        parameter = torch.nn.Parameter(inputs[0])
        parameter.grad = inputs[1]
        optimizer = torch.optim.Adam([parameter], RATE, BETAS, ADAM_EPSILON, foreach=True)
        update = torch.compile(optimizer.step)

        def results() -> list[Any]:
            state = optimizer.state[parameter]
            return [x.detach().numpy() for x in (parameter, state["exp_avg"], state["exp_avg_sq"])]

        return lambda: update() and None, results

    step = torch.compile(
        _cross_entropy if operation.kind == "cross_entropy" else _layer_norm, fullgraph=True, dynamic=False
    )

    def call() -> None:
        found[:] = step(*inputs)

    return call, lambda: [x.detach().numpy() for x in found]


def _cross_entropy(logits: Any, labels: Any) -> Any:
    gradient, loss = torch.func.grad_and_value(F.cross_entropy)(logits, labels)
    return loss, gradient


def _layer_norm(x: Any, weight: Any, bias: Any, ct: Any) -> Any:
    found = torch.func.vjp(lambda *a: F.layer_norm(a[0], (x.shape[-1],), a[1], a[2], EPSILON), x, weight, bias)
    return found[0], *found[1](ct)
