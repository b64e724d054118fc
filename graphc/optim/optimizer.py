"""What all optimizers share: parameter groups, per-parameter state, saving and loading.

Inside a compiled step, the floats of a group (lr, betas, ...) are inputs of the program, read from the group at every
call: changing `group["lr"]` never recompiles. Whether one of them is zero may decide which ops exist; that much is
guarded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import graphc
from graphc.errors import StateError, fail
from graphc.nn.parameter import clear_grad
from graphc.tensors.tensor import Tensor
from graphc.tracing.protocol import create_state, guard, scalar_input

Group = dict[str, Any]
State = dict[str, Tensor]
Makers = dict[str, Callable[[], Tensor]]

# Options of PyTorch's that say how it computes, not what.
_EXECUTION = ("capturable", "differentiable", "foreach", "fused")


class Optimizer:
    """Base of optimizers. A subclass defines `update`, which computes the new value of one parameter and of its state,
    and `entries`, which says what that state is. `derived` names entries that a state dict may lack.

    params: tensors, or dicts that hold tensors under "params" and their own values of the options. Raises ValueError
    for no parameters, for one that occurs twice and for one that is not a leaf; TypeError for what is not a tensor.
    """

    derived: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: Iterable[Tensor] | Iterable[Group], defaults: dict[str, Any]):
        if isinstance(params, Tensor):
            raise TypeError(f"{type(self).__name__} takes a list of tensors or dicts, got one tensor")
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, State] = {}
        groups: list[Any] = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__} got no parameters to train")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, group: Group) -> None:
        """Train more parameters, with options of their own where `group` gives them."""
        name = type(self).__name__
        if not isinstance(group, dict):
            raise TypeError(f"{name}: a parameter group is a dict, got {type(group).__name__}")
        if isinstance(group["params"], (set, frozenset)):
            raise TypeError(
                f"{name}: parameters need an order that does not change between runs; pass a list, not a set"
            )
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        known = {id(p) for p, _ in self._members()}
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"{name} trains tensors, got {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError(f"{name} trains leaf tensors; one of type {p._type} was computed from others")
            if id(p) in known:
                raise ValueError(f"{name}: a parameter of type {p._type} occurs twice")
            known.add(id(p))
        self.param_groups.append({**self.defaults, **group, "params": params})

    def _members(self) -> Iterator[tuple[Tensor, Group]]:
        """Every parameter, with its group, in the order of their numbers in a state dict."""
        return ((p, group) for group in self.param_groups for p in group["params"])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zero."""
        for p, _ in self._members():
            clear_grad(p, set_to_none)

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update every parameter that has a gradient. `closure`, if given, recomputes the loss first."""
        loss = None
        if closure is not None:
            with graphc.enable_grad():
                loss = closure()
        guard(lambda: len(self.param_groups), "the number of the optimizer's param_groups")
        stepped = []
        with graphc.no_grad():
            for p, group in self._members():
                grad = p.grad
                if grad is not None:
                    self._step(p, grad, group)
                    stepped.append(p)
        if stepped:
            guard(lambda: stepped[0] in self.state, "whether the optimizer has state")
        return loss

    def _step(self, p: Tensor, grad: Tensor, group: Group) -> None:
        state: State = create_state(self.state, p, dict)
        for name, make in self.entries(p, group, state).items():
            create_state(state, name, make, of=p)
        known = {name: x if name == "step" else _working(x) for name, x in state.items()}
        value, changed = self.update(_working(p), _working(grad), known, group)
        for name, new in changed.items():
            _store(state[name], new)
        _store(p, value)

    def entries(self, p: Tensor, group: Group, known: State) -> Makers:
        """What makes each entry of a parameter's state before its first use, where `known` exist. An entry "step" is a
        count without dimensions; the others have the shape of the parameter."""
        return {}

    def update(self, p: Tensor, grad: Tensor, state: State, group: Group) -> tuple[Tensor, State]:
        """The new value of a parameter, and of those entries of its state that change. All come in the precision to
        compute in: half precisions as float32."""
        raise NotImplementedError(f"{type(self).__name__} does not define update()")

    def hyper(self, group: Group, name: str, index: int | None = None) -> Any:
        """One float option of a group: a Python float, or inside a trace an f64 scalar that is read at every call."""
        label = f"{name}{'' if index is None else index}"
        if len(self.param_groups) > 1:
            label = f"group{next(i for i, g in enumerate(self.param_groups) if g is group)}.{label}"
        return scalar_input(lambda: float(group[name] if index is None else group[name][index]), f"optimizer.{label}")

    def flag(self, group: Group, name: str) -> bool:
        """Whether an option is set (nonzero): a Python bool that decides which ops exist, so a compiled step is made
        anew when it changes."""
        return guard(lambda: bool(group[name]), f"whether the optimizer's {name} is set")

    # --- state dicts

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number: {name: tensor}}, "param_groups": [options, with numbers under "params"]}, as PyTorch has
        it. The tensors are copies."""
        numbers = {id(p): i for i, (p, _) in enumerate(self._members())}
        state = {
            numbers[id(p)]: {name: value.detach().clone() for name, value in entries.items()}
            for p, entries in self.state.items()
        }
        groups = [{**group, "params": [numbers[id(p)] for p in group["params"]]} for group in self.param_groups]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, here or of PyTorch's optimizer of the same name (of tensors or arrays).
        Raises StateError, listing all that does not fit: groups of other sizes, entries that are missing, unexpected or
        of other shapes; nothing has changed then."""
        loaded = self._fitting(state_dict["param_groups"], state_dict["state"])
        for group, options in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.update({k: v for k, v in options.items() if k != "params" and k not in _EXECUTION})
        with graphc.no_grad():
            for (p, group), entries in zip(self._members(), loaded, strict=True):
                if entries or p in self.state:
                    self._load(p, group, entries)

    def _fitting(self, groups: list[Group], state: Mapping[Any, Mapping[str, Any]]) -> list[State]:
        """The saved entries of every parameter, as tensors."""
        ours, theirs = ([len(group["params"]) for group in side] for side in (self.param_groups, groups))
        if ours != theirs:
            fail(StateError, f"the optimizer has parameter groups of sizes {ours}, the saved one {theirs}")
        numbers = [(n, options) for options in groups for n in options["params"]]
        problems: list[str] = []
        found = []
        for (p, group), (n, options) in zip(self._members(), numbers, strict=True):
            saved = {k: v for k, v in state.get(n, state.get(str(n), {})).items() if v is not None}
            entries = {name: graphc.as_tensor(value).detach() for name, value in saved.items()}
            wanted = {name: make() for name, make in self.entries(p, {**group, **options}, entries).items()}
            if entries:
                lacking = [k for k in wanted if k not in entries and k not in self.derived]
                problems += [f"parameter {n} lacks {k}" for k in lacking]
                problems += [f"parameter {n} has an unexpected {k}" for k in entries if k not in wanted]
                problems += [
                    f"{k} of parameter {n} has shape {list(x.shape)}, needed {list(wanted[k].shape)}"
                    for k, x in entries.items()
                    if k in wanted and x.shape != wanted[k].shape
                ]
            found.append(entries)
        if problems:
            fail(StateError, f"the state dict does not fit {type(self).__name__}: {'; '.join(problems)}")
        return found

    def _load(self, p: Tensor, group: Group, entries: State) -> None:
        """Write to state in place, since compiled steps hold its memory; what was not saved starts anew."""
        state: State = create_state(self.state, p, dict)
        for name, make in self.entries(p, group, entries).items():
            create_state(state, name, make, of=p).copy_(entries[name] if name in entries else make())

    def __repr__(self) -> str:
        lines = [
            f"Parameter Group {i}\n" + "".join(f"    {k}: {group[k]}\n" for k in sorted(group) if k != "params")
            for i, group in enumerate(self.param_groups)
        ]
        return "\n".join([f"{type(self).__name__} (", *lines]) + ")"


def counter(value: int = 0) -> Callable[[], Tensor]:
    """Makes a count of steps."""
    return partial(graphc.full, (), value, dtype=graphc.float32)


def check_range(name: str, option: str, value: float, low: float = 0.0, high: float = float("inf")) -> None:
    """Raises ValueError unless low <= value < high, TypeError for what is no number."""
    if not isinstance(value, (int, float)):
        raise TypeError(
            f"{name}: {option} must be a Python number, got {type(value).__name__}; to change it between steps, set it "
            "in param_groups: a compiled step reads it at every call"
        )
    if not low <= value < high:
        limit = "" if high == float("inf") else f" and below {high}"
        raise ValueError(f"{name}: {option} must be at least {low}{limit}, got {value}")


def _working(x: Tensor) -> Tensor:
    """As an update computes with it: half precisions in float32; a tensor without dimensions as a vector of one, so
    that f64 scalars do not make it f64."""
    wide = x.to(x.dtype.accumulator)
    return wide if wide.ndim else wide.reshape(1)


def _store(target: Tensor, value: Tensor) -> None:
    target.copy_(value if value.shape == target.shape else value.reshape(target.shape))
