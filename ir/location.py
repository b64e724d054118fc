"""Where in the user's program an op came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Location:
    """A line of the user's source. Locations never take part in graph equality."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"
