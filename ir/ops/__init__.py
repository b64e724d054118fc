"""The op records. Importing this package registers every op."""

from __future__ import annotations

from graphc.ir.ops import (
    arithmetic,
    comparison,
    constant,
    contraction,
    control,
    conversion,
    indexing,
    layout,
    random,
    reduction,
    transcendental,
)

__all__ = [
    "arithmetic",
    "comparison",
    "constant",
    "contraction",
    "control",
    "conversion",
    "indexing",
    "layout",
    "random",
    "reduction",
    "transcendental",
]
