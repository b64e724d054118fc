"""`graphc.compile` on modules: a class, or an instance."""

from __future__ import annotations

import copy
from typing import Any

from graphc.compiler.function import CompiledFunction, bound_to
from graphc.context import context
from graphc.nn.module import Module


def compile_module(module: Module, **options: Any) -> Module:
    """The same module, compiled: an instance of a subclass that shares all attributes with `module`, which itself stays
    eager. Parameters, names and modes are common to both."""
    cls = type(module)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return module(*args, **kwargs)

    compiled = CompiledFunction(forward, **{**options, "name": options["name"] or cls.__name__})

    def call(self: Module, *args: Any, **kwargs: Any) -> Any:
        return compiled(*args, **kwargs)

    def lower(self: Module, *args: Any, **kwargs: Any) -> Any:
        """The stages of the compile for these arguments."""
        return compiled.lower(*args, **kwargs)

    def deepcopy(self: Module, memo: dict[int, Any]) -> Module:
        return compile_module(copy.deepcopy(module, memo), **options)

    methods = {"__call__": call, "lower": lower, "__deepcopy__": deepcopy, "__module__": cls.__module__}
    found: Module = object.__new__(type(cls.__name__, (cls,), methods))
    object.__setattr__(found, "__dict__", module.__dict__)
    return found


def compile_class(cls: type[Module], **options: Any) -> type[Module]:
    """The same class; calls of its instances are compiled."""
    eager = cls.__call__

    def of(instance: Module) -> CompiledFunction:
        named = {**options, "name": options["name"] or cls.__name__}
        return bound_to(instance, id(cls), lambda: CompiledFunction(eager.__get__(instance), **named))

    def call(self: Module, *args: Any, **kwargs: Any) -> Any:
        return eager(self, *args, **kwargs) if context.trace is not None else of(self)(*args, **kwargs)

    def lower(self: Module, *args: Any, **kwargs: Any) -> Any:
        """The stages of the compile for these arguments."""
        return of(self).lower(*args, **kwargs)

    cls.__call__ = call  # type: ignore[method-assign]
    cls.lower = lower  # type: ignore[attr-defined]
    return cls
