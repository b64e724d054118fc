"""Dropout."""

from __future__ import annotations

import graphc.nn.functional as F
from graphc.errors import AttributeValueError, fail
from graphc.nn.module import Module
from graphc.tensors.tensor import Tensor


class Dropout(Module):
    """`functional.dropout` with probability `p` in training mode; the identity in eval mode. Raises
    AttributeValueError for p outside [0, 1]."""

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        if not 0.0 <= p <= 1.0:
            fail(AttributeValueError, f"Dropout: p must be between 0 and 1, got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
