"""Module: a function with parameters, buffers and submodules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from graphc.context import context, no_grad
from graphc.epoch import epoch
from graphc.errors import StateError, TracingError, fail
from graphc.functions.creation import as_tensor
from graphc.ir.types import DType, f32, f64
from graphc.nn.parameter import Parameter
from graphc.tensors.base import TensorBase
from graphc.tensors.tensor import Tensor

M = TypeVar("M", bound="Module")
_REGISTRIES = ("_parameters", "_buffers", "_modules")


class LoadResult(NamedTuple):
    """Names that a checkpoint lacked, and names in it that the module has no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base of all modules. A subclass calls `super().__init__()`, assigns parameters and submodules to attributes, and
    defines `forward`. Assignments are found by name, as PyTorch does, so state dicts have the same keys."""

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Any]
    _transient: set[str]

    def __init__(self) -> None:
        self.__dict__.update(_parameters={}, _buffers={}, _modules={}, _transient=set(), training=True)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What a call computes; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if context.trace is not None:
            context.trace.visit(self)
        return self.forward(*args, **kwargs)

    # --- attributes

    def __getattr__(self, name: str) -> Any:
        for registry in _REGISTRIES:
            found = self.__dict__.get(registry)
            if found is not None and name in found:
                return found[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        known = self.__dict__
        if "_parameters" not in known:
            if isinstance(value, (Parameter, Module)):
                raise AttributeError(f"{type(self).__name__}.__init__ must call super().__init__() first")
            known[name] = value
            return
        if context.trace is not None and self._assign_in_trace(name, value):
            return
        epoch.bump()
        home = "_parameters" if isinstance(value, Parameter) else "_modules" if isinstance(value, Module) else None
        if home is None:
            home = next((r for r in _REGISTRIES if name in known[r] and _may_hold(r, value)), None)
        if home is None and any(name in known[r] for r in ("_parameters", "_modules")):
            raise TypeError(f"cannot assign {type(value).__name__} to {name!r}, a parameter or module; delete it first")
        for place in (known, *(known[r] for r in _REGISTRIES)):
            if home is None or place is not known[home]:
                place.pop(name, None)
        (known if home is None else known[home])[name] = value

    def _assign_in_trace(self, name: str, value: Any) -> bool:
        """Assignments while a function is traced: to a parameter or buffer, a write to it; of anything but a tensor,
        noted, so that a failed trace can take it back."""
        trace = context.trace
        assert trace is not None
        held = self._parameters.get(name) if name in self._parameters else self._buffers.get(name)
        if held is not None and isinstance(value, Tensor):
            if value is not held:
                with no_grad():
                    held.copy_(value)
            return True
        if isinstance(value, TensorBase) and value.is_traced:
            fail(
                TracingError,
                f"{type(self).__name__}.{name} is set to a traced tensor, which does not outlive the trace; return it, "
                "or register a buffer before the call and assign to that",
            )
        trace.note_attribute(self, name)
        return False

    def __delattr__(self, name: str) -> None:
        epoch.bump()
        for registry in _REGISTRIES:
            if name in self.__dict__[registry]:
                del self.__dict__[registry][name]
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._parameters, *self._buffers, *self._modules]

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under a name; None reserves it."""
        self._register("_parameters", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but is not trained; it is saved unless `persistent` is False."""
        self._register("_buffers", name, tensor)
        if not persistent:
            self._transient.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule under a name."""
        self._register("_modules", name, module)

    register_module = add_module

    def _register(self, registry: str, name: str, value: Any) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}.__init__ must call super().__init__() first")
        if not name or "." in name:
            raise KeyError(f"{name!r} cannot be the name of a parameter, buffer or module: it is empty or has a dot")
        if value is not None and not _may_hold(registry, value):
            raise TypeError(f"cannot register {type(value).__name__} under {name!r} among the {registry[1:]}")
        if hasattr(self, name) and name not in self.__dict__[registry]:
            raise KeyError(f"attribute {name!r} exists already")
        epoch.bump()
        self.__dict__[registry][name] = value

    # --- traversal; each parameter, buffer and module is met once

    def named_modules(self, prefix: str = "", memo: set[int] | None = None) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with their paths."""
        seen = set() if memo is None else memo
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules right below, with their names."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules right below."""
        return (module for _, module in self.named_children())

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Parameters with their paths, such as `fc1.weight`; a shared one appears under its first path."""
        return self._named("_parameters", prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Buffers with their paths."""
        return self._named("_buffers", prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def _named(self, registry: str, prefix: str, recurse: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, tensor in module.__dict__[registry].items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield f"{path}.{name}" if path else name, tensor

    def get_submodule(self, target: str) -> Module:
        """The module at a path. Raises AttributeError where there is none."""
        module: Module = self
        for name in target.split(".") if target else []:
            found = module._modules.get(name)
            if found is None:
                raise AttributeError(f"{type(module).__name__} has no module {name!r}")
            module = found
        return module

    # --- everything at once

    def apply(self: M, function: Callable[[Module], Any]) -> M:
        """Call `function` on every module below, then on this one."""
        for module in self.children():
            module.apply(function)
        function(self)
        return self

    def train(self: M, mode: bool = True) -> M:
        """Set training mode, here and below: it decides what dropout and normalisation do."""
        for module in self.modules():
            if module.training != mode:
                module.training = mode
        return self

    def eval(self: M) -> M:
        """Leave training mode."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Train the parameters, or freeze them."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zero."""
        for p in self.parameters():
            if set_to_none or p.grad is None:
                p.grad = None
            else:
                p.grad.zero_()

    def to(self: M, *args: Any, dtype: DType | None = None, device: object = None) -> M:
        """Convert parameters and buffers of float types in place. Raises for a device other than "cpu"."""
        for given in args:
            if isinstance(given, DType):
                dtype = given
            else:
                device = given
        for tensor in [*self.parameters(), *self.buffers()]:
            target = dtype if dtype is not None and tensor.is_floating_point() else None
            found = tensor.detach().to(dtype=target, device=device)
            if found.dtype != tensor.dtype:
                tensor.data = found
                tensor.grad = None
        return self

    def float(self: M) -> M:
        """Convert to float32."""
        return self.to(f32)

    def double(self: M) -> M:
        """Convert to float64."""
        return self.to(f64)

    # --- state dicts

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """Parameters and persistent buffers by path, in PyTorch's order; tensors of the same memory, off the tape."""
        found: dict[str, Tensor] = {}
        for path, module in self._paths(prefix):
            start = f"{path}." if path else ""
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    found[start + name] = parameter.detach()
            for name, buffer in module._buffers.items():
                if buffer is not None and name not in module._transient:
                    found[start + name] = buffer.detach()
        return found

    def _paths(self, prefix: str) -> Iterator[tuple[str, Module]]:
        """As named_modules, but shared modules appear under each of their paths."""
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module._paths(f"{prefix}.{name}" if prefix else name)

    def load_state_dict(
        self, state_dict: Mapping[str, Tensor | np.ndarray[Any, Any]], strict: bool = True
    ) -> LoadResult:
        """Copy tensors or arrays into the parameters and buffers of the same names. Raises StateError, listing all of
        them, for shapes that differ and (if strict) for missing and unexpected names; nothing has changed then."""
        own = self.state_dict()
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        problems = []
        if strict and missing:
            problems.append(f"missing: {', '.join(missing)}")
        if strict and unexpected:
            problems.append(f"unexpected: {', '.join(unexpected)}")
        for name in own:
            if name in state_dict and tuple(state_dict[name].shape) != tuple(own[name].shape):
                problems.append(f"{name} has shape {tuple(state_dict[name].shape)}, needed {tuple(own[name].shape)}")
        if problems:
            raise StateError(f"the state does not fit {type(self).__name__}: {'; '.join(problems)}")
        with no_grad():
            for name, tensor in own.items():
                if name in state_dict:
                    tensor.copy_(as_tensor(state_dict[name]).detach())
        return LoadResult(missing, unexpected)

    # --- printing

    def extra_repr(self) -> str:
        """What stands between the parentheses; subclasses define it."""
        return ""

    def __repr__(self) -> str:
        inner = [f"({name}): {module!r}".replace("\n", "\n  ") for name, module in self._modules.items()]
        extra = self.extra_repr()
        if not inner:
            return f"{type(self).__name__}({extra})"
        return "\n  ".join([f"{type(self).__name__}({extra}", *inner]) + "\n)"


def _may_hold(registry: str, value: object) -> bool:
    if value is None:
        return True
    kind = {"_parameters": Parameter, "_buffers": Tensor, "_modules": Module}[registry]
    return isinstance(value, kind)
