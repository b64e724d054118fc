"""`graphc.compile`: functions and modules of tensors become programs."""

from __future__ import annotations

from graphc.compiler.decorator import compile

__all__ = ["compile"]
