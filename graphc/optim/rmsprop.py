"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable

import graphc
from graphc.optim.optimizer import Group, Optimizer, check_range
from graphc.tensors.tensor import Tensor


class RMSprop(Optimizer):
    """p -= lr * g / (sqrt(v) + eps), v the running mean of g^2 (Hinton, Coursera lecture 6e, 2012); centered subtracts
    the squared running mean of g from v (Graves, 2013, arXiv:1308.0850); momentum accumulates the steps. Raises
    ValueError for options out of range."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ):
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
        for option, value in defaults.items():
            check_range("RMSprop", option, value)
        super().__init__(params, {**defaults, "centered": centered})

    def initial_state(self, p: Tensor, group: Group) -> dict[str, Tensor]:
        state = {"step": graphc.zeros((), dtype=graphc.float32), "square_avg": graphc.zeros_like(p)}
        if group["momentum"]:
            state["momentum_buffer"] = graphc.zeros_like(p)
        if group["centered"]:
            state["grad_avg"] = graphc.zeros_like(p)
        return state

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Tensor], group: Group) -> None:
        lr, alpha, eps = self.hyper(group, "lr"), self.hyper(group, "alpha"), self.hyper(group, "eps")
        if self.flag(group, "weight_decay"):
            grad = grad + p * self.hyper(group, "weight_decay")
        square = state["square_avg"] * alpha + grad * grad * (1.0 - alpha)
        spread = square
        if self.flag(group, "centered"):
            average = state["grad_avg"]
            mean = average + (grad - average) * (1.0 - alpha)
            average.copy_(mean)
            spread = square - mean * mean
        state["step"].copy_(state["step"] + 1)
        state["square_avg"].copy_(square)
        change = grad / (graphc.sqrt(spread) + eps)
        if self.flag(group, "momentum"):
            buffer = state["momentum_buffer"]
            change = buffer * self.hyper(group, "momentum") + change
            buffer.copy_(change)
        p.copy_(p - change * lr)
