"""One counter of changes that compiled functions must look at before they run again: attributes of modules, and what
of a state tensor is not its elements (`requires_grad`, `.grad`, its memory). A compiled function compares one integer
at each call, and looks closer only when it has moved."""

from __future__ import annotations


class Epoch:
    """A counter."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def bump(self) -> None:
        """Note a change."""
        self.value += 1


epoch = Epoch()
