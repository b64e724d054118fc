"""torch.compile at its fastest here: the whole step as one graph, which a functional gradient and updates in place make
possible, with Inductor's C++ wrapper. Compiling the model and the optimizer's step apart, or a step that calls
loss.backward(), leaves several graphs with Python between them; on the small workloads both take 1.4 to 1.6 times as
long."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import torch
import torch._inductor.config
import torch.nn.functional as F

from benchmarks.peers.torch import network, put
from benchmarks.workloads import ADAM, MOMENTUM, Workload


def make(workload: Workload, threads: int) -> tuple[Callable, Callable]:
    if not any(map(shutil.which, ("g++", "c++", "clang++"))):
        raise SystemExit("torch.compile: no C++ compiler")
    torch.set_num_threads(threads)
    torch._inductor.config.cpp_wrapper = True
    net = network(workload)
    params = {name: p.detach() for name, p in net.named_parameters()}
    first, second = ({name: torch.zeros_like(p) for name, p in params.items()} for _ in range(2))
    t = torch.zeros(())
    lr, (beta1, beta2, eps) = workload.lr, ADAM

    def loss_of(params, images, labels):
        return F.cross_entropy(torch.func.functional_call(net, params, (images,)), labels)

    def step(images, labels):
        grads, loss = torch.func.grad_and_value(loss_of)(params, images, labels)
        if workload.optimizer == "adam":
            t.add_(1)
            scale, correction = lr / (1 - beta1**t), torch.sqrt(1 - beta2**t)
        for name, p in params.items():
            g, m, v = grads[name], first[name], second[name]
            if workload.optimizer == "sgd":
                p.sub_(g, alpha=lr)
            elif workload.optimizer == "momentum":
                p.sub_(m.mul_(MOMENTUM).add_(g), alpha=lr)
            else:
                m.mul_(beta1).add_(g, alpha=1 - beta1)
                v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
                p.sub_(scale * m / (torch.sqrt(v) / correction + eps))
        return loss

    return put, torch.compile(step)
