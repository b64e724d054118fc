"""Binding state to programs: which memory a program works in, and who may run at the same time."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

import numpy as np

from graphc.errors import StateError
from graphc.ir.types import TensorType, type_of
from graphc.runtime.forks import Level, whole_at_fork
from graphc.runtime.memory import address_of
from graphc.tensors.storage import Storage, aligned_copy

Array = np.ndarray[Any, Any]
Result = TypeVar("Result")


class Group:
    """The states of compiled functions that share some of them. Calls on one group take turns.

    last: of the compiled functions that have to do with `.grad`, the one that ran last: it finds what it left behind.
    """

    def __init__(self) -> None:
        self.lock = whole_at_fork(threading.RLock(), Level.STATES)
        self.last: Any = None
        self._joined: Group | None = None

    @property
    def root(self) -> Group:
        """The group that this one has become part of."""
        group = self
        while group._joined is not None:
            group = group._joined
        return group

    def run(self, call: Callable[..., Result], *arguments: Any) -> Result:
        """What `call(root, *arguments)` returns, while no other call on the group is under way."""
        while True:
            group = self.root
            with group.lock:  # by a statement: Ctrl-C between `acquire` and what releases would leave it locked
                if group._joined is None:
                    return call(group, *arguments)

    @staticmethod
    def join(groups: Iterable[Group]) -> Group:
        """One group out of several; calls on any of them are waited for."""
        roots = sorted({id(g.root): g.root for g in groups}.values(), key=id)
        if not roots:
            return Group()
        first, *rest = roots
        with ExitStack() as held:
            for group in roots:
                held.enter_context(group.lock)
            for group in rest:
                group._joined = first
            first.last = None
        return first


_joining = whole_at_fork(threading.Lock(), Level.JOINING)


class BoundStates:
    """The states of one program.

    arrays: the memory that the program works in: that of the storages, where it is dense and aligned, or a copy that
    is loaded before and stored after each call.
    """

    def __init__(self, storages: Sequence[Storage]):
        self.storages = list(storages)
        self.types: list[TensorType] = [type_of(s.array) for s in storages]
        self.arrays: list[Array] = []
        self._copied: list[tuple[Storage, Array]] = []
        for storage, type in zip(self.storages, self.types, strict=True):
            if storage.bindable:
                array = storage.array
            else:
                array = aligned_copy(storage.array, type)
                self._copied.append((storage, array))
            self.arrays.append(array)
        self._homes = [storage.array for storage in self.storages]
        with _joining:
            self.group = Group.join(s.binding for s in self.storages if s.binding is not None)
            for storage in self.storages:
                if storage.binding is None:
                    storage.binding = self.group
        ranges = sorted(map(_bounds, (a for a in self._homes if a.size)))
        self._starts = [start for start, _ in ranges]
        self._ends = [end for _, end in ranges]
        if any(end > start for end, start in zip(self._ends, self._starts[1:], strict=False)):
            raise StateError(
                "two tensors that a compiled function uses as state were made from overlapping arrays; make one "
                "tensor, and take views of it"
            )

    @property
    def intact(self) -> bool:
        """Whether every storage still has the memory it was bound with."""
        return all(s.array is home for s, home in zip(self.storages, self._homes, strict=True))

    def load(self) -> None:
        """Before a call: copy in what the program cannot work on in place."""
        for storage, array in self._copied:
            np.copyto(array, storage.array)

    def store(self) -> None:
        """After a call: copy it out again."""
        for storage, array in self._copied:
            if storage.array.flags.writeable:
                np.copyto(storage.array, array)

    def overlap(self, array: Array) -> bool:
        """Whether an array shares memory with a state."""
        if not array.size:
            return False
        start, end = _bounds(array)
        last = bisect_left(self._starts, end) - 1
        return last >= 0 and self._ends[last] > start


def _bounds(array: Array) -> tuple[int, int]:
    """The first address of an array, and the first behind it."""
    if array.flags.c_contiguous:
        start = address_of(array)
        return start, start + array.nbytes
    return np.lib.array_utils.byte_bounds(array)
