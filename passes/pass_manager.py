"""Runs passes over a graph."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from graphc.ir.graph import Graph


@runtime_checkable
class Pass(Protocol):
    """A frozen dataclass whose fields are its options and whose docstring says what must hold before and after."""

    @property
    def name(self) -> str: ...

    def run(self, graph: Graph) -> Graph:
        """A new graph; `graph` stays as it is."""
        ...
