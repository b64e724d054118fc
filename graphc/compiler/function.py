"""Compiled functions: `@graphc.compile` on a function, and the choice of the version that fits a call."""

from __future__ import annotations

import copy
import inspect
import threading
import warnings
from collections.abc import Callable, Sequence
from functools import update_wrapper
from types import MethodType
from typing import Any

import numpy as np

from graphc.compiler.entry import STALE, Entry
from graphc.compiler.lowered import Lowered, dump_folder
from graphc.compiler.options import DEFAULT, ProgramOptions
from graphc.context import context
from graphc.dtypes import type_of_array
from graphc.ir.types import TensorType
from graphc.pytree import Static, flatten, is_array, paths, unflatten
from graphc.runtime.forks import Level, whole_at_fork
from graphc.runtime.messages import log
from graphc.tensors.base import TensorBase
from graphc.tracing.capture import Captured, InputType, capture
from graphc.tracing.guards import HELD, Reads

Key = tuple[Any, ...]
MANY = 16  # versions for the same types of tensors, from which on a warning says that something always changes

_tracing = whole_at_fork(
    threading.RLock(), Level.TRACING
)  # one trace at a time: it runs the user's Python, which may change modules and optimizers


class RecompileWarning(UserWarning):
    """A function is compiled again and again, because something that it reads keeps changing."""


class CompiledFunction:
    """A function that is traced, compiled for the types of its arguments, and run as one program.

    A call with new types, static arguments, or Python values that the function reads compiles a new version. Tensors
    that it reaches otherwise (parameters, buffers, optimizer state) are state, updated in place.

    Raises what the function raises while it is traced, TracingError for what cannot be traced, StateError for state
    that changed its shape; everything is as before then.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str | None = None,
        keep_grads: bool = False,
        static_argnames: Sequence[str] = (),
        dump: str | None = None,
        options: ProgramOptions = DEFAULT,
    ):
        self.function = function
        self.name = str(name or getattr(function, "__name__", "graph"))
        self._keep_grads = keep_grads
        self._static = static_argnames if not isinstance(static_argnames, str) else (static_argnames,)
        self._positions = _positions(function, self._static)
        self._dump = dump
        self._options = options
        self._entries: dict[Key, list[Entry]] = {}
        self._last: tuple[list[tuple[Any, ...]], Entry, bool] | None = None
        update_wrapper(self, function)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        return bound_to(instance, id(self), lambda: self._with(MethodType(self.function, instance)))

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledFunction:
        return self._with(copy.deepcopy(self.function, memo))

    def _with(self, function: Callable[..., Any]) -> CompiledFunction:
        return CompiledFunction(function, self.name, self._keep_grads, self._static, self._dump, self._options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if context.trace is not None:
            return self.function(*args, **kwargs)
        last = self._last
        if last is not None and not kwargs and _fits(args, last[0]) and context.grad_enabled == last[2]:
            found = last[1].call(args)
            if found is not STALE:
                return found
        return self._choose(args, kwargs)

    def reset(self) -> None:
        """Forget all compiled versions."""
        self._entries.clear()
        self._last = None

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """Trace for these arguments, without running anything, to look at the stages of the compile."""
        leaves, structure = self._flatten(args, kwargs)
        with _tracing:
            captured = self._capture(leaves, structure)
            captured.roll_back()
        return Lowered(captured, options=self._options)

    @property
    def versions(self) -> int:
        """How many versions have been compiled."""
        return sum(map(len, self._entries.values()))

    # --- signatures

    def _flatten(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[list[Any], Any]:
        if self._static:
            args = [Static(x) if i in self._positions else x for i, x in enumerate(args)]
            kwargs = {name: Static(x) if name in self._static else x for name, x in kwargs.items()}
        leaves: list[Any] = []
        return leaves, flatten((tuple(args), kwargs), leaves)

    def _choose(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        leaves, structure = self._flatten(args, kwargs)
        specs = [_spec(x) for x in leaves]
        key = (structure, tuple(specs), context.grad_enabled)
        tried = -1
        reason = None
        while True:
            known = self._entries.setdefault(key, [])
            for entry in reversed(known):
                found = entry.call(leaves)
                if found is not STALE:
                    self._remember(args, kwargs, specs, entry)
                    return found
                reason = entry.stale()
            with _tracing:
                if tried == len(known):  # no other thread has compiled one in the meantime
                    entry = self._compile(key, leaves, structure, reason)
                    break
                tried = len(known)
        self._remember(args, kwargs, specs, entry)
        return entry.call(leaves, first=True)

    def _remember(self, args: Sequence[Any], kwargs: dict[str, Any], specs: list[Any], entry: Entry) -> None:
        simple = not kwargs and not self._static and all(map(is_array, args))
        self._last = (specs, entry, context.grad_enabled) if simple else None

    def _compile(self, key: Key, leaves: list[Any], structure: Any, reason: str | None) -> Entry:
        if self.versions:
            why = reason or "new argument types: " + ", ".join(str(s[0]) for s in key[1])
            log("recompile", f"{self.name}: {why}")
        captured = self._capture(leaves, structure)
        try:
            entry = Entry(self.name, captured, self._options)
            folder = dump_folder(self._dump)
            if folder is not None:
                Lowered(captured, options=self._options).dump(folder)
        except BaseException:
            captured.roll_back()
            raise
        self._entries[key].append(entry)
        if sum(len(found) for other, found in self._entries.items() if other[1] == key[1]) == MANY:
            warnings.warn(
                f"{self.name!r} has been compiled {MANY} times for the same types of tensors, last because "
                f"{reason or 'another argument than a tensor changed'}. Set GRAPHC_LOG=recompile to see each time",
                RecompileWarning,
                stacklevel=4,
            )
        return entry

    def _capture(self, leaves: list[Any], structure: Any) -> Captured:
        names = _names(self.function, structure)
        inputs = [
            InputType(_type(x), name, isinstance(x, TensorBase) and x._requires_grad)
            for x, name in zip(leaves, names, strict=True)
        ]

        def run(tensors: Sequence[Any]) -> Any:
            remaining = iter(tensors)
            args, kwargs = unflatten(structure, lambda: next(remaining))
            return self.function(*args, **kwargs)

        reads = Reads(self.function)
        for name, value in _statics(self.function, structure):
            reads.add(name, value)
        return capture(run, reads, self.name, inputs, flatten, self._keep_grads)


def bound_to(instance: Any, key: int, make: Callable[[], CompiledFunction]) -> CompiledFunction:
    """The compiled function that belongs to one instance; it lives as long as the instance does."""
    held: dict[int, CompiledFunction] = instance.__dict__.setdefault(HELD, {})
    if key not in held:
        held[key] = make()
    return held[key]


def _fits(args: Sequence[Any], specs: Sequence[tuple[Any, ...]]) -> bool:
    """Whether arrays have the types of a remembered call."""
    if len(args) != len(specs):
        return False
    for x, (type_, requires_grad) in zip(args, specs, strict=True):
        if isinstance(x, TensorBase):
            if (x._type is not type_ and x._type != type_) or x._requires_grad is not requires_grad:
                return False
        elif not isinstance(x, np.ndarray) or requires_grad or type_of_array(x) != type_:
            return False
    return True


def _spec(x: Any) -> tuple[TensorType, bool]:
    return (_type(x), isinstance(x, TensorBase) and x._requires_grad)


def _type(x: Any) -> TensorType:
    if not isinstance(x, TensorBase):
        return type_of_array(x)
    if x._array is None:
        x._storage.fail_leaked()
    return x._type


def _positions(function: Callable[..., Any], static: Sequence[str]) -> frozenset[int]:
    if not static:
        return frozenset()
    known = list(inspect.signature(function).parameters)
    for name in static:
        if name not in known:
            raise ValueError(f"static_argnames: {name!r} is not a parameter; there are {', '.join(known) or 'none'}")
    return frozenset(i for i, name in enumerate(known) if name in static)


def _statics(function: Callable[..., Any], structure: Any) -> list[tuple[str, Any]]:
    """The arguments that are not tensors, by parameter."""
    arguments, keywords = structure.children
    parameters = list(inspect.signature(function).parameters)
    named = [*zip(parameters, arguments.children, strict=False), *zip(keywords.keys, keywords.children, strict=True)]
    return [(name, child.value) for name, child in named if isinstance(child, Static)]


def _names(function: Callable[..., Any], structure: Any) -> list[str]:
    """What to call the tensors among the arguments: by parameter."""
    arguments, keywords = structure.children
    parameters = list(inspect.signature(function).parameters.values())
    found: list[str] = []
    for i, child in enumerate(arguments.children):
        at = parameters[i] if i < len(parameters) else parameters[-1] if parameters else None
        if at is None or at.kind in (at.VAR_POSITIONAL, at.KEYWORD_ONLY, at.VAR_KEYWORD):
            found += paths(child, f"{at.name if at else 'arg'}.{i}")
        else:
            found += paths(child, at.name)
    return found + paths(keywords, "")
