"""Why two kernels are not made one."""

from __future__ import annotations

from typing import NamedTuple


class Refusal(NamedTuple):
    """A rule that forbids a kernel. `text` has a `{}` for each of `about`: values, nodes, clusters, numbers. Nothing is
    formatted until somebody asks, for fusion refuses far more than it explains."""

    text: str
    about: tuple[object, ...] = ()
