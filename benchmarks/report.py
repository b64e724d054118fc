"""Tables as text and as Markdown, figures as JSON, and the machine they belong to."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


@dataclass
class Table:
    """The first `labels` columns are words, aligned to the left; the others are numbers."""

    head: tuple[str, ...]
    labels: int = 1
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """Append a row."""
        assert len(cells) == len(self.head), (cells, self.head)
        self.rows.append(cells)

    def text(self) -> str:
        """Aligned by spaces, with a rule below the head."""
        lines = self._aligned()
        return "\n".join(["  ".join(lines[0]), "  ".join("-" * len(c) for c in lines[0]), *map("  ".join, lines[1:])])

    def markdown(self) -> str:
        """A Markdown table that is aligned in its source too."""
        lines = self._aligned()
        rule = ["-" * len(c) if i < self.labels else "-" * (len(c) - 1) + ":" for i, c in enumerate(lines[0])]
        return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))

    def _aligned(self) -> list[list[str]]:
        lines = [self.head, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.head))]
        return [
            [c.ljust(w) if i < self.labels else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
            for line in lines
        ]


def ratio(ours: float, theirs: float) -> str:
    """Ours over theirs, with three significant digits."""
    return f"{ours / theirs:#.3g}"


def machine(packages: Sequence[str]) -> dict[str, Any]:
    """Date, CPU, cores this process may use, and versions of Python and of those `packages` that are installed."""
    numbers = {"python": platform.python_version()}
    for name in packages:
        try:
            numbers[name] = version(name)
        except PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0))
    return {"date": date.today().isoformat(), "cpu": _cpu(), "cores": cores, "versions": numbers}


def caption(found: dict[str, Any], threads: int) -> str:
    """When and where figures were measured."""
    return f"{found['date']}, {found['cpu']}, {found['cores']} cores, {threads} threads"


def versions(found: dict[str, Any]) -> str:
    """With what they were measured."""
    return ", ".join(f"{name} {number}" for name, number in found["versions"].items())


def write_json(path: Path, figures: dict[str, Any]) -> None:
    """Indented, and readable by other tools."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _cpu() -> str:
    """The model's name as Linux knows it; the architecture where it does not."""
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    model = fields.get("model name", platform.machine())
    family = fields.get("cpu family")
    return f"{model} (family {family}, model {fields.get('model')})" if family else model
