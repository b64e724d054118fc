"""Gradients that a compiled function computed and did not keep."""

from __future__ import annotations

from typing import NoReturn

from graphc.errors import StateError, fail


class ElidedGrad:
    """Stands in `.grad` after a call of a compiled function that differentiated without keeping the gradient."""

    __slots__ = ("function",)

    def __init__(self, function: str):
        self.function = function

    def read(self) -> NoReturn:
        """Raise StateError: there is nothing to read."""
        fail(
            StateError,
            f"the compiled function {self.function!r} computed this gradient and did not keep it: return it from the "
            "function, compile it with keep_grads=True, or clear it with zero_grad() before a backward pass",
        )
