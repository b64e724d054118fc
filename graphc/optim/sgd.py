"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable

import graphc
from graphc.optim.optimizer import Group, Optimizer, check_range
from graphc.tensors.tensor import Tensor


class SGD(Optimizer):
    """p -= lr * v, where v is the gradient plus weight_decay * p, or with momentum its running sum
    v = momentum * v + (1 - dampening) * g (g itself at first); nesterov steps along g + momentum * v
    (Sutskever et al., 2013). Raises ValueError for options out of range."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
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
        }
        super().__init__(params, defaults)

    def initial_state(self, p: Tensor, group: Group) -> dict[str, Tensor]:
        if not group["momentum"]:
            return {}
        state = {"momentum_buffer": graphc.zeros_like(p)}
        if group["dampening"]:
            state["step"] = graphc.zeros((), dtype=graphc.float32)
        return state

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Tensor], group: Group) -> None:
        if self.flag(group, "weight_decay"):
            grad = grad + p * self.hyper(group, "weight_decay")
        if self.flag(group, "momentum"):
            momentum, velocity = self.hyper(group, "momentum"), state["momentum_buffer"]
            scaled = grad
            if self.flag(group, "dampening"):
                scaled = graphc.where(state["step"] == 0, grad, grad * (1.0 - self.hyper(group, "dampening")))
                state["step"].copy_(state["step"] + 1)
            velocity.copy_(velocity * momentum + scaled)
            grad = grad + velocity * momentum if self.flag(group, "nesterov") else velocity
        p.copy_(p - grad * self.hyper(group, "lr"))
