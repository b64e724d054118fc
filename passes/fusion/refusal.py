"""Why two kernels are not made one."""

from __future__ import annotations

from typing import NamedTuple

from graphc.ir.graph import Value


class Refusal(NamedTuple):
    """A rule that forbids a kernel. `text` has a `{}` for each of `about`: values, nodes, clusters, numbers. Nothing is
    formatted until somebody asks, for fusion refuses far more than it explains."""

    text: str
    about: tuple[object, ...] = ()


class Elsewhere(NamedTuple):
    """In `Refusal.about`: where else than in one place of the kernel a value is needed."""

    value: Value
