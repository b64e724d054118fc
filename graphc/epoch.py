"""Counters of changes that compiled functions must look at before they run again. A compiled function compares integers
at each call, and looks closer only when one has moved."""

from __future__ import annotations


class Epoch:
    """A counter."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def bump(self) -> None:
        """Note a change."""
        self.value += 1


epoch = Epoch()  # attributes of modules, and of state tensors: their memory, requires_grad
grad_epoch = Epoch()  # `.grad` of state tensors
