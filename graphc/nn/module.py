"""Module: a function with parameters, buffers and submodules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

import numpy as np

from graphc.context import context, no_grad
from graphc.epoch import epoch
from graphc.errors import DTypeError, TracingError, fail
from graphc.functions.creation import require_device
from graphc.ir.types import DType, bf16, f16, f32, f64
from graphc.nn.parameter import Parameter, clear_grad
from graphc.nn.state import LoadResult, load_state, named_state
from graphc.tensors.base import TensorBase
from graphc.tensors.tensor import Tensor

M = TypeVar("M", bound="Module")
_REGISTRIES = ("_parameters", "_buffers", "_modules")


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
            home = next((r for r in _REGISTRIES if name in known[r]), None)
        if home is None:
            object.__setattr__(self, name, value)
            return
        if not _may_hold(home, value):
            raise TypeError(
                f"cannot assign {type(value).__name__} to {name!r} of {type(self).__name__}, one of its {home[1:]}: it "
                f"must be a {_KINDS[home].__name__} or None; delete it first to make it a plain attribute"
            )
        self._take_back_on_failure()
        for place in (known, *(known[r] for r in _REGISTRIES)):
            if place is not known[home]:
                place.pop(name, None)
        if home != "_buffers":
            self._transient.discard(name)
        known[home][name] = value

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
            self._fail_outliving(name)
        trace.note_attribute(self, name)
        return False

    def _fail_outliving(self, name: str) -> NoReturn:
        fail(
            TracingError,
            f"{type(self).__name__}.{name} is set to a traced tensor, which does not outlive the trace; return it, or "
            "register a buffer before the call and assign to that",
        )

    def _take_back_on_failure(self) -> None:
        """While a function is traced: what happens now to the members is taken back if the trace fails."""
        if context.trace is None:
            return
        known = self.__dict__
        before = [(place, place.copy()) for place in (known, *(known[r] for r in _REGISTRIES))]

        def restore() -> None:
            for place, members in before:
                place.clear()
                place.update(members)

        context.trace.on_failure(restore)

    def __delattr__(self, name: str) -> None:
        epoch.bump()
        self._take_back_on_failure()
        for registry in _REGISTRIES:
            if name in self.__dict__.get(registry, ()):
                del self.__dict__[registry][name]
                self._transient.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._parameters, *self._buffers, *self._modules]

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under a name; None reserves it. Raises KeyError for a name that cannot be used, TypeError for
        what is not a Parameter."""
        self._register("_parameters", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but is not trained; it is saved unless `persistent` is False. None reserves the
        name."""
        self._register("_buffers", name, tensor)
        if persistent:
            self._transient.discard(name)
        else:
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
            raise TypeError(
                f"cannot register {type(value).__name__} under {name!r} among the {registry[1:]}: it must be a "
                f"{_KINDS[registry].__name__} or None"
            )
        if hasattr(self, name) and name not in self.__dict__[registry]:
            raise KeyError(f"attribute {name!r} exists already")
        if isinstance(value, TensorBase) and value.is_traced:
            self._fail_outliving(name)
        epoch.bump()
        self._take_back_on_failure()
        self.__dict__[registry][name] = value

    # --- traversal; each parameter, buffer and module is met once

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with their paths."""
        seen = set() if memo is None else memo
        if remove_duplicate:
            if id(self) in seen:
                return
            seen.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(seen, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules right below, with their names."""
        return _distinct(self._modules.items(), True)

    def children(self) -> Iterator[Module]:
        """The modules right below."""
        return (module for _, module in self.named_children())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with their paths, such as `fc1.weight`; a shared one under its first path only, unless
        `remove_duplicate` is False."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Buffers with their paths, shared ones as in `named_parameters`."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def _named(self, registry: str, prefix: str, recurse: bool, once: bool) -> Iterator[tuple[str, Any]]:
        places = self.named_modules(prefix=prefix, remove_duplicate=once) if recurse else [(prefix, self)]
        members = (
            (f"{path}.{name}" if path else name, tensor)
            for path, module in places
            for name, tensor in module.__dict__[registry].items()
        )
        return _distinct(members, once)

    def get_submodule(self, target: str) -> Module:
        """The module at a path such as "encoder.0". Raises AttributeError where there is none."""
        module: Module = self
        for name in target.split(".") if target else []:
            found = module._modules.get(name)
            if found is None:
                raise AttributeError(f"{type(module).__name__} has no module {name!r}")
            module = found
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path such as "fc1.weight". Raises AttributeError where there is none."""
        return self._at("_parameters", target)

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path. Raises AttributeError where there is none."""
        return self._at("_buffers", target)

    def _at(self, registry: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found = module.__dict__[registry].get(name)
        if found is None:
            raise AttributeError(f"{type(module).__name__} has no {registry[1:-1]} {name!r}")
        return found

    # --- everything at once

    def apply(self: M, function: Callable[[Module], Any]) -> M:
        """Call `function` on every module below, then on this one."""
        for module in self.children():
            module.apply(function)
        function(self)
        return self

    def train(self: M, mode: bool = True) -> M:
        """Set training mode, here and below: it decides what dropout and normalisation do."""
        if not isinstance(mode, bool):
            raise ValueError(f"train() takes True or False, got {mode!r}")
        if self.training != mode:
            self.training = mode
        for module in self.children():
            module.train(mode)
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
            clear_grad(p, set_to_none)

    def to(self: M, *args: Any, dtype: DType | None = None, device: object = None) -> M:
        """Convert parameters and buffers of float types, and their gradients, in place: to(dtype), to("cpu"),
        to(tensor), or by keyword. Raises DTypeError for a dtype that is not a float type, AttributeValueError for a
        device other than "cpu"."""
        for given in args:
            if isinstance(given, TensorBase):
                dtype = given.dtype
            elif isinstance(given, DType):
                dtype = given
            else:
                device = given
        require_device(device)
        if dtype is None:
            return self
        if not dtype.is_float:
            fail(DTypeError, f"{type(self).__name__}.to takes float types, got {dtype}")
        for tensor in [*self.parameters(), *self.buffers()]:
            if tensor.is_floating_point() and tensor.dtype != dtype:
                grad = tensor._grad
                tensor.data = tensor.detach().to(dtype)
                tensor.grad = grad.to(dtype) if isinstance(grad, Tensor) else None
        return self

    def cpu(self: M) -> M:
        """The module itself."""
        return self

    def cuda(self: M, device: object = "cuda") -> M:
        """Raises AttributeValueError: this version computes on the CPU."""
        return self.to(device=device)

    def float(self: M) -> M:
        """Convert to float32."""
        return self.to(f32)

    def double(self: M) -> M:
        """Convert to float64."""
        return self.to(f64)

    def half(self: M) -> M:
        """Convert to float16."""
        return self.to(f16)

    def bfloat16(self: M) -> M:
        """Convert to bfloat16."""
        return self.to(bf16)

    # --- state dicts

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """Parameters and persistent buffers by path, in PyTorch's order: tensors of the same memory, off the tape
        unless `keep_vars`. `prefix` is put before every name."""
        return {name: x if keep_vars else x.detach() for name, x in named_state(self, prefix)}

    def load_state_dict(
        self, state_dict: Mapping[str, Tensor | np.ndarray[Any, Any]], strict: bool = True
    ) -> LoadResult:
        """Copy tensors or arrays into the parameters and buffers of the same names, converting their dtype; the memory
        stays where it is. Raises StateError, listing all of them, for entries of other shapes and (if strict) for
        missing and unexpected names; nothing has changed then."""
        return load_state(self, state_dict, strict)

    # --- printing

    def extra_repr(self) -> str:
        """What stands between the parentheses; subclasses define it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = [f"({name}): {module!r}" for name, module in self._modules.items()]
        if not lines and "\n" not in extra:
            return f"{type(self).__name__}({extra})"
        return f"{type(self).__name__}({indented([*extra.splitlines(), *lines])})"


_KINDS: dict[str, type] = {"_parameters": Parameter, "_buffers": Tensor, "_modules": Module}


def _may_hold(registry: str, value: object) -> bool:
    return value is None or isinstance(value, _KINDS[registry])


def _distinct(members: Iterable[tuple[str, Any]], once: bool) -> Iterator[tuple[str, Any]]:
    """The members that are not None, each object once if `once`."""
    seen: set[int] = set()
    for name, member in members:
        if member is not None and id(member) not in seen:
            if once:
                seen.add(id(member))
            yield name, member


def indented(lines: Iterable[str]) -> str:
    """The lines between the parentheses of a module's repr, each on its own."""
    shown = ["  " + line.replace("\n", "\n  ") for line in lines]
    return "\n".join(["", *shown, ""]) if shown else ""
