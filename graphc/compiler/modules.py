"""`graphc.compile` on modules: a class, or an instance."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from graphc.compiler.function import CompiledFunction
from graphc.context import context
from graphc.nn.module import Module


def compile_module(module: Module, **options: Any) -> Module:
    """The same module, compiled: an instance of a subclass that shares all attributes with `module`, which itself stays
    eager. Parameters, names and modes are common to both."""
    cls = type(module)
    forward = CompiledFunction(_call_of(module), options.pop("name", None) or cls.__name__, **options)

    def call(self: Module, *args: Any, **kwargs: Any) -> Any:
        return forward(*args, **kwargs)

    def lower(self: Module, *args: Any, **kwargs: Any) -> Any:
        """The stages of the compile for these arguments."""
        return forward.lower(*args, **kwargs)

    made = type(cls.__name__, (cls,), {"__call__": call, "lower": lower, "__module__": cls.__module__})
    found: Module = object.__new__(made)
    object.__setattr__(found, "__dict__", module.__dict__)
    return found


def _call_of(module: Module) -> Any:
    """The eager call of a module, as a function of its own."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        return module(*args, **kwargs)

    return forward


def compile_class(cls: type[Module], **options: Any) -> type[Module]:
    """The same class; calls of its instances are compiled."""
    eager = cls.__call__
    name = options.pop("name", None) or cls.__name__
    compiled: WeakKeyDictionary[Module, CompiledFunction] = WeakKeyDictionary()

    def of(instance: Module) -> CompiledFunction:
        found = compiled.get(instance)
        if found is None:
            found = compiled[instance] = CompiledFunction(eager.__get__(instance), name, **options)
        return found

    def call(self: Module, *args: Any, **kwargs: Any) -> Any:
        return eager(self, *args, **kwargs) if context.trace is not None else of(self)(*args, **kwargs)

    def lower(self: Module, *args: Any, **kwargs: Any) -> Any:
        """The stages of the compile for these arguments."""
        return of(self).lower(*args, **kwargs)

    cls.__call__ = call  # type: ignore[method-assign]
    cls.lower = lower  # type: ignore[attr-defined]
    return cls
