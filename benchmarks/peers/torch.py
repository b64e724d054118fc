from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from benchmarks.workloads import MOMENTUM, Workload


def make_step(workload: Workload, threads: int) -> Callable:
    torch.set_num_threads(threads)
    layers: list[torch.nn.Module] = []
    for i, (weight, bias) in enumerate(workload.weights()):
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
        layers += [torch.nn.ReLU(), linear] if i else [linear]
    net = torch.nn.Sequential(*layers)
    optimizer: torch.optim.Optimizer
    if workload.optimizer == "adam":
        optimizer = torch.optim.Adam(net.parameters(), lr=workload.lr)
    else:
        momentum = MOMENTUM if workload.optimizer == "momentum" else 0.0
        optimizer = torch.optim.SGD(net.parameters(), lr=workload.lr, momentum=momentum)

    def step(images, labels):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(torch.from_numpy(images)), torch.from_numpy(labels))
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
