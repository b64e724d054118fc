"""PyTorch, eager. Of the optimizers' CPU implementations, the fastest here: fused, but foreach for plain SGD."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from benchmarks.workloads import MOMENTUM, Workload


def network(workload: Workload) -> torch.nn.Sequential:
    """The workload's layers, with its weights."""
    layers: list[torch.nn.Module] = []
    for i, (weight, bias) in enumerate(workload.weights()):
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
        layers += [torch.nn.ReLU(), linear] if i else [linear]
    return torch.nn.Sequential(*layers)


def put(images, labels):
    return torch.from_numpy(images), torch.from_numpy(labels)


def make(workload: Workload, threads: int) -> tuple[Callable, Callable]:
    torch.set_num_threads(threads)
    net = network(workload)
    optimizer: torch.optim.Optimizer
    if workload.optimizer == "adam":
        optimizer = torch.optim.Adam(net.parameters(), lr=workload.lr, fused=True)
    elif workload.optimizer == "momentum":
        optimizer = torch.optim.SGD(net.parameters(), lr=workload.lr, momentum=MOMENTUM, fused=True)
    else:
        optimizer = torch.optim.SGD(net.parameters(), lr=workload.lr, foreach=True)

    def step(images, labels):
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return put, step
