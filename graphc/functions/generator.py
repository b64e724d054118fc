"""Generators of random numbers: a key, and an offset that counts the numbers drawn.

Number i depends on the key and on offset + i alone (Philox 4x32-10), so a sequence is the same eagerly, compiled, and
after a checkpoint. Key and offset are tensors: a compiled function holds them as state.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from graphc.context import context
from graphc.dispatch import apply, write
from graphc.ir.types import DType, TensorType, i64
from graphc.promotion import splat
from graphc.runtime.memory import aligned_empty
from graphc.tensors.base import wrap

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor

_SCALAR = TensorType(i64, ())


class Generator:
    """A source of random numbers. `Generator(seed)` starts the sequence of that seed."""

    def __init__(self, seed: int | None = None):
        self.key = _integer(0)
        self.offset = _integer(0)
        self.key._storage.label = (None, "rng.key")
        self.offset._storage.label = (None, "rng.offset")
        self.manual_seed(_fresh_seed() if seed is None else seed)

    def manual_seed(self, seed: int) -> Generator:
        """Start the sequence of a seed (any Python integer; 64 bits of it count)."""
        _assign(self.key, _signed(seed))
        _assign(self.offset, 0)
        return self

    def seed(self) -> int:
        """Start a sequence that no one can predict, and return its seed."""
        seed = _fresh_seed()
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        """The seed of the sequence under way."""
        return int(self.key.item()) % 2**64

    def get_state(self) -> Tensor:
        """Key and offset, an int64 tensor of two elements."""
        return wrap(np.array([self.key.item(), self.offset.item()], np.int64))

    def set_state(self, state: Tensor) -> None:
        """Go on from what `get_state` returned."""
        key, offset = state.tolist()
        _assign(self.key, key)
        _assign(self.offset, offset)

    def draw(self, name: str, shape: tuple[int, ...], dtype: DType) -> Tensor:
        """Apply the random op `name` and step past the numbers it used."""
        before = self.offset.detach().clone()
        found = apply(name, [self.key, before], dtype=dtype, shape=shape)
        write(self.offset, apply("add", [before, splat(found.numel(), i64, ())]))
        return found


def _integer(value: int) -> Tensor:
    array = aligned_empty(_SCALAR)
    array[...] = value
    return wrap(array, _SCALAR)


def _assign(tensor: Tensor, value: int) -> None:
    if context.trace is not None:
        write(tensor, splat(value, i64, ()))
        return
    tensor.fill_(value)


def _signed(seed: int) -> int:
    low = int(seed) % 2**64
    return low - 2**64 if low >= 2**63 else low


def _fresh_seed() -> int:
    return int.from_bytes(os.urandom(8), "little")


@cache
def default() -> Generator:
    """The generator that random functions use where none is given."""
    return Generator(0)
