"""Dropout."""

from __future__ import annotations

import graphc.nn.functional as F
from graphc.nn.module import Module
from graphc.tensors.tensor import Tensor


class Dropout(Module):
    """`functional.dropout` with probability `p` in training mode; the identity in eval mode."""

    def __init__(self, p: float = 0.5):
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"Dropout: p must be between 0 and 1, got {p}")
        self.p = p

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
