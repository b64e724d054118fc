"""What a trace relies on besides its arguments: Python values that it read.

Values that the function's code names (globals, closure variables, attributes and constant subscripts of them) are found
in its bytecode: numbers, strings and None are compared at each call, other objects by identity. Modules are looked at
as a whole, when the epoch has moved.
"""

from __future__ import annotations

import dis
import inspect
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from graphc.nn.module import Module
from graphc.tensors.base import TensorBase

HELD = "_graphc_compiled"  # the attribute of an instance that holds its compiled methods
SCALARS = (bool, int, float, str, bytes, type(None))
_MISSING: Any = object()


@dataclass(frozen=True, eq=False)
class Reading:
    """A value that was read, and how to read it again. Equal keys read the same place."""

    getter: Callable[[], Any]
    name: str
    value: Any
    key: tuple[Any, ...]

    @staticmethod
    def of(getter: Callable[[], Any], name: str) -> Reading:
        """Read now. Closures of one function over the same objects read the same place."""
        cells = getattr(getter, "__closure__", None)
        code = getattr(getter, "__code__", None)
        key: tuple[Any, ...] = (getter,)
        if code is not None:
            contents = [c.cell_contents for c in cells or ()]
            key = (code, *(v if isinstance(v, SCALARS) else id(v) for v in contents))
        return Reading(getter, name, getter(), key)

    @property
    def changed(self) -> bool:
        """Whether the place holds another value now."""
        try:
            return not same_value(self.value, self.getter())
        except (AttributeError, KeyError, IndexError, TypeError, ValueError):
            return True


def same_value(a: Any, b: Any) -> bool:
    """Numbers, strings and tuples of them are compared with their types, other objects by identity."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same_value, a, b))
    return isinstance(a, SCALARS) and (a == b or (a != a and b != b))


class Reads:
    """What a function's code, and that of the functions it calls by name, reads from outside."""

    def __init__(self, function: Callable[..., Any]):
        self.readings: list[Reading] = []
        self.modules: dict[str, Module] = {}
        self.tensors: dict[str, TensorBase] = {}
        self._seen: set[tuple[int, int]] = set()
        self._found_in: dict[tuple[Any, ...], set[CodeType]] = {}
        self._function(function)

    def _function(self, function: Any) -> None:
        function = _unwrapped(function)
        owner: Any = None
        if isinstance(function, MethodType):
            owner, function = function.__self__, function.__func__
        if not isinstance(function, FunctionType) or (id(function), id(owner)) in self._seen:
            return
        if _is_library(function):
            if hasattr(function, "__wrapped__"):  # the user's function, under no_grad or grad
                self._function(function.__wrapped__)
            return
        self._seen.add((id(function), id(owner)))
        if owner is not None:
            self.add("self", owner)
        for default in (function.__defaults__ or ()) + tuple((function.__kwdefaults__ or {}).values()):
            self.add("default", default)
        starts = {
            name: (_cell_reader(cell), id(cell))
            for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        }
        if owner is not None and function.__code__.co_argcount:
            starts[function.__code__.co_varnames[0]] = (lambda: owner, id(owner))
        for code, chain in _chains(function.__code__, set(starts)):
            name = chain[0][1]
            namespace = function.__globals__
            known = starts.get(name) or (_global_reader(namespace, name), id(namespace))
            self._chain(code, chain, *known)

    def _chain(self, code: CodeType, chain: tuple[Any, ...], start: Callable[[], Any], origin: int) -> None:
        label: str = chain[0][1]
        getter, value = start, start()
        if value is _MISSING or _is_library(value):
            return
        for kind, key in chain[1:]:
            if isinstance(value, (Module, TensorBase, FunctionType)):
                break
            try:
                after = getattr(value, key) if kind == "attribute" else value[key]
            except (AttributeError, KeyError, IndexError, TypeError):
                break
            if isinstance(after, MethodType):
                self._function(after)
                break
            if not _can_be_read(after):
                break
            getter, value = _step_reader(getter, kind, key), after
            label += f".{key}" if kind == "attribute" else f"[{key!r}]"
        if isinstance(value, (list, tuple, dict)):
            getter = _contents_reader(getter)
        if not isinstance(value, (type, ModuleType)):
            self._read(code, getter, label, value, (origin, label))

    def _read(self, code: CodeType, getter: Callable[[], Any], label: str, value: Any, key: tuple[Any, ...]) -> None:
        if key not in self._found_in:
            self._found_in[key] = set()
            self.readings.append(Reading(getter, label, getter(), key))
            self.add(label, value)
        self._found_in[key].add(code)

    def besides(self, getters: Sequence[Callable[[], Any]]) -> list[Reading]:
        """The readings without those that only `getters` read."""
        codes = {getattr(getter, "__code__", None) for getter in getters}
        return [reading for reading in self.readings if not self._found_in[reading.key] <= codes]

    def add(self, label: str, value: Any) -> None:
        """Note the modules and tensors that an object is or holds, and what a function reads in turn."""
        if isinstance(value, Module):
            self.modules.setdefault(label, value)
            for module in value.modules():
                self._function(type(module).forward)
        elif isinstance(value, TensorBase):
            self.tensors.setdefault(label, value)
        elif callable(value):
            self._function(value)
        elif isinstance(value, (list, tuple)):
            for i, item in enumerate(value):
                if isinstance(item, (Module, TensorBase)):
                    self.add(f"{label}.{i}", item)
        elif isinstance(value, dict):
            for key, item in value.items():
                if isinstance(item, (Module, TensorBase)):
                    self.add(f"{label}.{key}", item)


def _unwrapped(function: Any) -> Any:
    """The Python function behind a callable: of a compiled function, a partial one, an object with `__call__`."""
    while True:
        if isinstance(function, partial):
            function = function.func
        elif not isinstance(function, (FunctionType, MethodType)) and hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            break
    call = inspect.getattr_static(type(function), "__call__", None)
    if not isinstance(function, (FunctionType, MethodType)) and isinstance(call, FunctionType):
        return MethodType(call, function)
    return function


_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def _is_library(value: Any) -> bool:
    """Whether a function or a Python module is not the user's own: what it reads is taken to stay as it is."""
    if isinstance(value, FunctionType):
        file, package = value.__code__.co_filename, value.__module__
    elif isinstance(value, ModuleType):
        file, package = getattr(value, "__file__", None) or _LIBRARIES[0], value.__name__
    else:
        return False
    return file.startswith(_LIBRARIES) or (package or "").split(".")[0] == "graphc"


def _can_be_read(value: Any) -> bool:
    """Whether a value can be guarded: a scalar, or an object with something in it."""
    if isinstance(value, (*SCALARS, Module, TensorBase, dict, list, tuple)):
        return True
    return hasattr(value, "__dict__") and not callable(value)


def _global_reader(namespace: dict[str, Any], name: str) -> Callable[[], Any]:
    return lambda: namespace.get(name, _MISSING)


def _cell_reader(cell: CellType) -> Callable[[], Any]:
    def read() -> Any:
        try:
            return cell.cell_contents
        except ValueError:
            return _MISSING

    return read


def _step_reader(getter: Callable[[], Any], kind: str, key: Any) -> Callable[[], Any]:
    if kind == "attribute":
        return lambda: getattr(getter(), key)
    return lambda: getter()[key]


def _contents_reader(getter: Callable[[], Any]) -> Callable[[], Any]:
    """Reads a container, with the numbers and strings in it."""

    def read() -> Any:
        found = getter()
        if isinstance(found, dict):
            return (id(found), *((k, v) for k, v in found.items() if isinstance(v, SCALARS)))
        return (id(found), *(v for v in found if isinstance(v, SCALARS)))

    return read


def _chains(code: CodeType, free: set[str]) -> Iterator[tuple[CodeType, tuple[Any, ...]]]:
    """What the code, and code defined inside it, loads from outside: names, and attributes and constant subscripts of
    them. Each with the code that does."""
    chain: list[tuple[str, Any]] = []
    subscript: Any = _MISSING
    for instruction in dis.get_instructions(code):
        name, argument = instruction.opname, instruction.argval
        if name in ("CACHE", "PUSH_NULL", "EXTENDED_ARG", "RESUME", "NOT_TAKEN"):
            continue
        if chain and name in ("LOAD_ATTR", "LOAD_METHOD") and subscript is _MISSING:
            chain.append(("attribute", argument))
            continue
        if chain and name in ("LOAD_CONST", "LOAD_SMALL_INT") and subscript is _MISSING:
            subscript = argument
            continue
        if subscript is not _MISSING and (
            name == "BINARY_SUBSCR" or (name == "BINARY_OP" and "[" in instruction.argrepr)
        ):
            chain.append(("subscript", subscript))
            subscript = _MISSING
            continue
        if chain:
            yield code, tuple(chain)
        chain, subscript = [], _MISSING
        if isinstance(argument, tuple) and argument:  # one instruction that loads two variables
            argument = argument[-1]
        if name == "LOAD_GLOBAL" or (name.startswith(("LOAD_DEREF", "LOAD_FAST", "LOAD_CLASS")) and argument in free):
            chain = [("name", argument)]
    if chain:
        yield code, tuple(chain)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _chains(constant, free)


# --- modules


def snapshot(module: Module) -> dict[str, Any]:
    """What a trace may have read from a module: its scalar attributes, and which objects the others are."""
    found: dict[str, Any] = {}
    for name, value in module.__dict__.items():
        if name == HELD:
            continue
        if name in ("_parameters", "_buffers", "_modules"):
            found.update((key, _identity(item)) for key, item in value.items())
        elif isinstance(value, SCALARS):
            found[name] = (type(value), value)
        elif isinstance(value, (tuple, list)) and all(isinstance(v, SCALARS) for v in value):
            found[name] = tuple(value)
        elif isinstance(value, (np.ndarray, TensorBase)) or callable(value):
            found[name] = id(value)
    return found


def _identity(item: Any) -> Any:
    """Of a tensor also its memory, and whether it is trained."""
    return (id(item), id(item._storage), item._requires_grad) if isinstance(item, TensorBase) else id(item)


def difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What two snapshots of a module differ in, for a message."""
    for name in {**before, **after}:
        old, new = before.get(name, _MISSING), after.get(name, _MISSING)
        if old == new:
            continue
        if isinstance(old, tuple) and isinstance(new, tuple) and isinstance(old[0], type):
            return f"{name} changed from {old[1]!r} to {new[1]!r}"
        return f"{name} changed"
    return "nothing changed"
