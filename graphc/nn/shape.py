"""Modules that change no element."""

from __future__ import annotations

from typing import Any

from graphc.nn.module import Module
from graphc.tensors.tensor import Tensor


class Flatten(Module):
    """Merge the dimensions `start_dim` to `end_dim` into one: [N, C, H, W] -> [N, C*H*W] by default."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Identity(Module):
    """Returns its input. Takes and ignores any arguments, so that it can stand in for another module."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input
