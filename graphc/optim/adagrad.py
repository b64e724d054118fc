"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import graphc
from graphc.optim.optimizer import Group, Makers, Optimizer, State, check_range, counter
from graphc.tensors.tensor import Tensor


class Adagrad(Optimizer):
    """p -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(sum of g^2) + eps) (Duchi, Hazan & Singer, 2011). maximize goes
    uphill. Raises ValueError for options out of range."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
        }
        for option, value in defaults.items():
            check_range("Adagrad", option, value)
        super().__init__(params, {**defaults, "maximize": maximize})

    def entries(self, p: Tensor, group: Group, known: State) -> Makers:
        return {"step": counter(), "sum": partial(graphc.full_like, p, group["initial_accumulator_value"])}

    def update(self, p: Tensor, grad: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
        rate = self.hyper(group, "lr")
        if self.flag(group, "maximize"):
            grad = -grad
        if self.flag(group, "weight_decay"):
            grad = grad + p * self.hyper(group, "weight_decay")
        if self.flag(group, "lr_decay"):
            rate = rate / (1.0 + state["step"].double() * self.hyper(group, "lr_decay"))
        total = state["sum"] + grad * grad
        change = grad * rate / (graphc.sqrt(total) + self.hyper(group, "eps"))
        return p - change, {"step": state["step"] + 1, "sum": total}
