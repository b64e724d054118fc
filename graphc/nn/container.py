"""Modules that hold modules, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, TypeVar

from graphc.nn.module import Module, indented
from graphc.tensors.tensor import Tensor

S = TypeVar("S", bound="_Sequence")


class _Sequence(Module):
    """What Sequential and ModuleList share: list's operations on their modules, which are named "0", "1", ... unless
    names were given. Indices may be negative; those that do not exist raise IndexError."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._of({name: self._modules[name] for name in self._names()[index]})
        return self._modules[self._name(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name(index), module)

    def __delitem__(self, index: int | slice) -> None:
        names = self._names()
        for name in names[index] if isinstance(index, slice) else [self._name(index)]:
            delattr(self, name)
        if all(name.isdigit() for name in names):
            self._replace(list(self))

    def append(self: S, module: Module) -> S:
        """Add a module at the end."""
        number = len(self)
        while str(number) in self._modules:  # a slice keeps the names that its modules had
            number += 1
        self.add_module(str(number), module)
        return self

    def extend(self: S, modules: Iterable[Module]) -> S:
        """Add several modules at the end."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self: S, index: int, module: Module) -> S:
        """Add a module before a place; all are numbered anew."""
        modules = list(self)
        modules.insert(index, module)
        self._replace(modules)
        return self

    def pop(self, index: int = -1) -> Any:
        """Remove a module, and return it."""
        module = self[index]
        del self[index]
        return module

    def __iadd__(self: S, modules: Iterable[Module]) -> S:
        return self.extend(modules)

    def __add__(self: S, modules: Iterable[Module]) -> S:
        return self._of({}).extend(self).extend(modules)

    def _names(self) -> list[str]:
        return list(self._modules)

    def _name(self, index: int) -> str:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range: the {type(self).__name__} has {len(self)} modules")
        return self._names()[index]

    def _of(self: S, modules: Mapping[str, Module]) -> S:
        raise NotImplementedError

    def _replace(self, modules: Iterable[Module]) -> None:
        for name in self._names():
            delattr(self, name)
        self.extend(modules)


class Sequential(_Sequence):
    """Calls its modules in order, each with the result of the one before. Takes them one by one, or one dict of names
    to modules. A slice is a Sequential of the same modules under the same names."""

    def __init__(self, *modules: Module | Mapping[str, Module]):
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named = dict(modules[0])
        else:
            named = {str(i): module for i, module in enumerate(modules)}  # type: ignore[misc]
        for name, module in named.items():
            self.add_module(name, module)

    def forward(self, input: Tensor) -> Tensor:
        for module in self:
            input = module(input)
        return input

    def _of(self, modules: Mapping[str, Module]) -> Sequential:
        return Sequential(modules)


class ModuleList(_Sequence):
    """A list of modules whose parameters are found. It has no forward of its own. A slice is a ModuleList of the same
    modules, numbered anew."""

    def __init__(self, modules: Iterable[Module] | None = None):
        super().__init__()
        self.extend(modules or ())

    def _of(self, modules: Mapping[str, Module]) -> ModuleList:
        return ModuleList(modules.values())

    def __repr__(self) -> str:
        """Modules that print alike are printed once: `(0-2): 3 x Linear(...)`."""
        runs = [list(run) for _, run in groupby(enumerate(map(repr, self)), key=lambda pair: pair[1])]
        lines = [
            f"({run[0][0]}): {run[0][1]}" if len(run) == 1 else f"({run[0][0]}-{run[-1][0]}): {len(run)} x {run[0][1]}"
            for run in runs
        ]
        return f"{type(self).__name__}({indented(lines)})"
