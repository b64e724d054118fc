"""What all optimizers share: parameter groups, per-parameter state, saving and loading.

Inside a compiled step, the floats of a group (lr, betas, ...) are inputs of the program, read from the group at every
call: changing `group["lr"]` never recompiles. Whether one of them is zero may decide which ops exist; that much is
guarded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import graphc
from graphc.errors import StateError
from graphc.tensors.tensor import Tensor
from graphc.tracing.protocol import create_state, guard, scalar_input

Group = dict[str, Any]


class Optimizer:
    """Base of optimizers. A subclass defines `update(p, grad, state, group)`, which writes the new value of `p` and of
    its state in place.

    params: tensors, or dicts that hold tensors under "params" and their own values of the options. Raises ValueError
    for no parameters, or one that occurs twice; TypeError for what is not a tensor.
    """

    def __init__(self, params: Iterable[Tensor] | Iterable[Group], defaults: dict[str, Any]):
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        groups = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__} got no parameters to train")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)  # type: ignore[arg-type]

    def add_param_group(self, group: Group) -> None:
        """Train more parameters, with options of their own where `group` gives them."""
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        known = {id(p) for other in self.param_groups for p in other["params"]}
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"{type(self).__name__} trains tensors, got {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError(f"{type(self).__name__} trains leaf tensors; one was computed from others")
            if id(p) in known:
                raise ValueError(f"{type(self).__name__}: a parameter occurs twice")
            known.add(id(p))
        self.param_groups.append({**self.defaults, **group, "params": params})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zero."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad = graphc.zeros_like(p)

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update every parameter that has a gradient. `closure`, if given, recomputes the loss first."""
        loss = None
        if closure is not None:
            with graphc.enable_grad():
                loss = closure()
        with graphc.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    grad = p.grad
                    if grad is not None:
                        state = create_state(self.state, p, partial(self.initial_state, p, group), of=p)
                        self.update(p, grad, state, group)
        return loss

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Tensor], group: Group) -> None:
        """Write the new value of one parameter and of its state."""
        raise TypeError(f"{type(self).__name__} does not define update()")

    def initial_state(self, p: Tensor, group: Group) -> dict[str, Tensor]:
        """The state of a parameter before its first update. Called outside any trace."""
        return {}

    def hyper(self, group: Group, name: str, index: int | None = None) -> Any:
        """One float option of a group: a Python float, or inside a trace an f64 scalar that is read at every call."""
        label = f"{name}{'' if index is None else index}"
        if len(self.param_groups) > 1:
            label = f"group{next(i for i, g in enumerate(self.param_groups) if g is group)}.{label}"
        return scalar_input(lambda: float(group[name] if index is None else group[name][index]), f"optimizer.{label}")

    def flag(self, group: Group, name: str) -> bool:
        """Whether an option is set (nonzero): a Python bool that decides which ops exist, so a compiled step is made
        anew when it changes."""
        return bool(guard(lambda: bool(group[name]), f"optimizer.{name}"))

    def state_dict(self) -> dict[str, Any]:
        """{"state": {index: {name: tensor}}, "param_groups": [options, with indices under "params"]}, as PyTorch has
        it. The tensors are copies."""
        numbers = self._numbers()
        state = {
            numbers[id(p)]: {name: value.detach().clone() for name, value in entries.items()}
            for p, entries in self.state.items()
        }
        groups = [{**group, "params": [numbers[id(p)] for p in group["params"]]} for group in self.param_groups]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned. Raises StateError where groups or shapes differ; nothing has changed
        then."""
        saved = state_dict["param_groups"]
        ours = [len(group["params"]) for group in self.param_groups]
        theirs = [len(group["params"]) for group in saved]
        if ours != theirs:
            raise StateError(f"the optimizer has parameter groups of sizes {ours}, the saved one {theirs}")
        tensors = [p for group in self.param_groups for p in group["params"]]
        numbers = [n for group in saved for n in group["params"]]
        loaded: list[tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]] = []
        for p, n, group in zip(tensors, numbers, self._groups_of_tensors(), strict=True):
            entries = state_dict["state"].get(n, state_dict["state"].get(str(n)))
            if entries is None:
                continue
            fresh = self.initial_state(p, group)
            if fresh.keys() != entries.keys():
                raise StateError(
                    f"the state of parameter {n} has entries {sorted(entries)}; "
                    f"{type(self).__name__} keeps {sorted(fresh)}"
                )
            for name, value in fresh.items():
                if tuple(value.shape) != tuple(entries[name].shape):
                    raise StateError(
                        f"{name} of parameter {n} has shape {list(entries[name].shape)}, needed {list(value.shape)}"
                    )
            loaded.append((p, fresh, entries))
        with graphc.no_grad():
            for p, fresh, entries in loaded:
                for name, value in create_state(self.state, p, partial(dict, fresh), of=p).items():
                    value.copy_(graphc.as_tensor(entries[name]).to(value.dtype))
        for group, options in zip(self.param_groups, saved, strict=True):
            group.update({name: value for name, value in options.items() if name != "params"})

    def _groups_of_tensors(self) -> list[Group]:
        return [group for group in self.param_groups for _ in group["params"]]

    def _numbers(self) -> dict[int, int]:
        tensors = [p for group in self.param_groups for p in group["params"]]
        return {id(p): i for i, p in enumerate(tensors)}

    def __repr__(self) -> str:
        options = ", ".join(f"{k}={v!r}" for k, v in self.defaults.items())
        return f"{type(self).__name__}({sum(len(g['params']) for g in self.param_groups)} parameters, {options})"


def check_range(name: str, option: str, value: float, low: float = 0.0, high: float = float("inf")) -> None:
    """Raises ValueError unless low <= value < high."""
    if not low <= value < high:
        limit = "" if high == float("inf") else f" and below {high}"
        raise ValueError(f"{name}: {option} must be at least {low}{limit}, got {value}")
