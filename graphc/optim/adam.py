"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable

import graphc
from graphc.optim.optimizer import Group, Optimizer, check_range
from graphc.tensors.tensor import Tensor


class Adam(Optimizer):
    """p -= lr * m / (sqrt(v) + eps) with bias-corrected running means m of the gradient and v of its square
    (Kingma & Ba, 2014, arXiv:1412.6980). weight_decay adds to the gradient. The corrections 1 - beta^t are computed in
    f64. Raises ValueError for options out of range."""

    decoupled = False

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        name = type(self).__name__
        for option, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            check_range(name, option, value)
        for i, beta in enumerate(betas):
            check_range(name, f"betas[{i}]", beta, 0.0, 1.0)
        super().__init__(params, {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay})

    def initial_state(self, p: Tensor, group: Group) -> dict[str, Tensor]:
        return {
            "step": graphc.zeros((), dtype=graphc.float32),
            "exp_avg": graphc.zeros_like(p),
            "exp_avg_sq": graphc.zeros_like(p),
        }

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Tensor], group: Group) -> None:
        lr, eps = self.hyper(group, "lr"), self.hyper(group, "eps")
        beta1, beta2 = self.hyper(group, "betas", 0), self.hyper(group, "betas", 1)
        value = p
        if self.flag(group, "weight_decay"):
            decay = self.hyper(group, "weight_decay")
            if self.decoupled:
                value = p * (1.0 - lr * decay)
            else:
                grad = grad + p * decay
        step = state["step"] + 1
        first, second = state["exp_avg"], state["exp_avg_sq"]
        mean = first * beta1 + grad * (1.0 - beta1)
        square = second * beta2 + grad * grad * (1.0 - beta2)
        exact = step.double()
        step_size = lr / (1.0 - beta1**exact)
        scale = graphc.sqrt(1.0 - beta2**exact)
        state["step"].copy_(step)
        first.copy_(mean)
        second.copy_(square)
        p.copy_(value - mean * step_size / (graphc.sqrt(square) / scale + eps))


class AdamW(Adam):
    """Adam with weight decay taken out of the gradient: p *= 1 - lr * weight_decay (Loshchilov & Hutter, 2017,
    arXiv:1711.05101)."""

    decoupled = True

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(params, lr, betas, eps, weight_decay)
