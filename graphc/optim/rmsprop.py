"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import graphc
from graphc.optim.optimizer import Group, Makers, Optimizer, State, check_range, counter
from graphc.tensors.tensor import Tensor


class RMSprop(Optimizer):
    """p -= lr * g / (sqrt(v) + eps), v the running mean of g^2 (Hinton, Coursera lecture 6e, 2012); centered subtracts
    the squared running mean of g from v (Graves, 2013, arXiv:1308.0850); momentum accumulates the steps. maximize goes
    uphill. Raises ValueError for options out of range."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
        for option, value in defaults.items():
            check_range("RMSprop", option, value)
        super().__init__(params, {**defaults, "centered": centered, "maximize": maximize})

    def entries(self, p: Tensor, group: Group, known: State) -> Makers:
        zeros = partial(graphc.zeros_like, p)
        found: Makers = {"step": counter(), "square_avg": zeros}
        if self.flag(group, "momentum"):
            found["momentum_buffer"] = zeros
        if self.flag(group, "centered"):
            found["grad_avg"] = zeros
        return found

    def update(self, p: Tensor, grad: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
        lr, alpha, eps = self.hyper(group, "lr"), self.hyper(group, "alpha"), self.hyper(group, "eps")
        if self.flag(group, "maximize"):
            grad = -grad
        if self.flag(group, "weight_decay"):
            grad = grad + p * self.hyper(group, "weight_decay")
        square = spread = state["square_avg"] * alpha + grad * grad * (1.0 - alpha)
        changed = {"step": state["step"] + 1, "square_avg": square}
        if self.flag(group, "centered"):
            mean = changed["grad_avg"] = state["grad_avg"] + (grad - state["grad_avg"]) * (1.0 - alpha)
            spread = square - mean * mean
        change = grad / (graphc.sqrt(spread) + eps)
        if self.flag(group, "momentum"):
            change = state["momentum_buffer"] * self.hyper(group, "momentum") + change
            changed["momentum_buffer"] = change
        return p - change * lr, changed
