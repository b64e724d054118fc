"""The default generator of random numbers, which all random functions use that are not given one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphc.functions.generator import Generator, default

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor

__all__ = [
    "Generator",
    "default_generator",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "set_rng_state",
]

default_generator = default()


def manual_seed(seed: int) -> Generator:
    """Start the default generator's sequence of a seed; returns the generator."""
    return default_generator.manual_seed(seed)


def initial_seed() -> int:
    """The seed of the default generator's sequence."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator, an int64 tensor of two elements."""
    return default_generator.get_state()


def set_rng_state(state: Tensor) -> None:
    """Set the default generator to a state that `get_rng_state` returned."""
    default_generator.set_state(state)
