"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import graphc
from graphc.optim.optimizer import Group, Makers, Optimizer, State, check_range, counter
from graphc.tensors.tensor import Tensor


class SGD(Optimizer):
    """p -= lr * v, where v is the gradient plus weight_decay * p, or with momentum its running sum
    v = momentum * v + (1 - dampening) * g (g itself at first); nesterov steps along g + momentum * v
    (Sutskever et al., 2013). maximize goes uphill. Raises ValueError for options out of range."""

    derived = ("step",)

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ):
        for option, value in (("lr", lr), ("momentum", momentum), ("weight_decay", weight_decay)):
            check_range("SGD", option, value)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("SGD: nesterov needs a momentum and no dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def entries(self, p: Tensor, group: Group, known: State) -> Makers:
        if not self.flag(group, "momentum"):
            return {}
        found: Makers = {"momentum_buffer": partial(graphc.zeros_like, p)}
        if self.flag(group, "dampening"):  # only to tell the first step, which is not dampened
            found = {"step": counter(1 if "momentum_buffer" in known else 0), **found}
        return found

    def update(self, p: Tensor, grad: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
        changed: State = {}
        if self.flag(group, "maximize"):
            grad = -grad
        if self.flag(group, "weight_decay"):
            grad = grad + p * self.hyper(group, "weight_decay")
        if self.flag(group, "momentum"):
            momentum, scaled = self.hyper(group, "momentum"), grad
            if self.flag(group, "dampening"):
                scaled = graphc.where(state["step"] == 0, grad, grad * (1.0 - self.hyper(group, "dampening")))
                changed["step"] = state["step"] + 1
            velocity = changed["momentum_buffer"] = state["momentum_buffer"] * momentum + scaled
            grad = grad + velocity * momentum if self.flag(group, "nesterov") else velocity
        return p - grad * self.hyper(group, "lr"), changed
