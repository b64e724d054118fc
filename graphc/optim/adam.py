"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import graphc
from graphc.optim.optimizer import Group, Makers, Optimizer, State, check_range, counter
from graphc.tensors.tensor import Tensor


class Adam(Optimizer):
    """p -= lr * m / (sqrt(v) + eps) with bias-corrected running means m of the gradient and v of its square
    (Kingma & Ba, 2014, arXiv:1412.6980). weight_decay adds to the gradient, or if `decoupled_weight_decay` scales p by
    1 - lr * weight_decay. amsgrad uses the largest v so far (Reddi, Kale & Kumar, 2018). maximize goes uphill. The
    corrections 1 - beta^t are computed in float64. Raises ValueError for options out of range."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ):
        name = type(self).__name__
        for option, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            check_range(name, option, value)
        for i, beta in enumerate(betas):
            check_range(name, f"betas[{i}]", beta, 0.0, 1.0)
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def entries(self, p: Tensor, group: Group, known: State) -> Makers:
        zeros = partial(graphc.zeros_like, p)
        found: Makers = {"step": counter(), "exp_avg": zeros, "exp_avg_sq": zeros}
        return {**found, "max_exp_avg_sq": zeros} if self.flag(group, "amsgrad") else found

    def update(self, p: Tensor, grad: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
        lr, eps = self.hyper(group, "lr"), self.hyper(group, "eps")
        beta1, beta2 = self.hyper(group, "betas", 0), self.hyper(group, "betas", 1)
        if self.flag(group, "maximize"):
            grad = -grad
        if self.flag(group, "weight_decay"):
            decay = self.hyper(group, "weight_decay")
            if self.flag(group, "decoupled_weight_decay"):
                p = p * (1.0 - lr * decay)
            else:
                grad = grad + p * decay
        step = state["step"] + 1
        mean = state["exp_avg"] + (grad - state["exp_avg"]) * (1.0 - beta1)
        square = state["exp_avg_sq"] * beta2 + grad * grad * (1.0 - beta2)
        changed = {"step": step, "exp_avg": mean, "exp_avg_sq": square}
        if self.flag(group, "amsgrad"):
            square = changed["max_exp_avg_sq"] = graphc.maximum(state["max_exp_avg_sq"], square)
        exact = step.double()
        scale = graphc.sqrt(1.0 - beta2**exact)
        step_size = lr * scale / (1.0 - beta1**exact)  # the paper's form at the end of section 2
        return p - mean * step_size / (graphc.sqrt(square) + eps * scale), changed


class AdamW(Adam):
    """Adam with weight decay taken out of the gradient: p *= 1 - lr * weight_decay (Loshchilov & Hutter, 2017,
    arXiv:1711.05101)."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)
