"""graphc, as its README shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphc
import graphc.nn.functional as F
from benchmarks.workloads import MOMENTUM, Workload
from graphc import nn, optim


def make(workload: Workload, threads: int) -> tuple[Callable, Any]:
    del threads  # from GRAPHC_NUM_THREADS
    layers: list[nn.Module] = []
    for i, (weight, bias) in enumerate(workload.weights()):
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": graphc.from_numpy(weight), "bias": graphc.from_numpy(bias)})
        layers += [nn.ReLU(), linear] if i else [linear]
    net = nn.Sequential(*layers)
    optimizer: optim.Optimizer
    if workload.optimizer == "adam":
        optimizer = optim.Adam(net.parameters(), lr=workload.lr)
    else:
        momentum = MOMENTUM if workload.optimizer == "momentum" else 0.0
        optimizer = optim.SGD(net.parameters(), lr=workload.lr, momentum=momentum)

    @graphc.compile
    def step(images, labels):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    def put(images, labels):
        return graphc.from_numpy(images), graphc.from_numpy(labels)

    return put, step
