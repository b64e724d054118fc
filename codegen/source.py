"""Writes kernel source: a tree of open blocks, each of which remembers what has been computed in it.

A block is attached to its parent when it closes, so a line added to an outer block while an inner one is open comes
before the inner block. That is how loop-invariant work is hoisted.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

INDENT = "    "
WIDTH = 120


@dataclass
class Block:
    """One open block. Nothing computed inside a `guard` block may be hoisted out of it. `memo` maps what has been
    computed here to where it is."""

    header: str
    guard: bool = False
    body: list[str | Block] = field(default_factory=list)
    memo: dict[Hashable, Any] = field(default_factory=dict)


class Source:
    """The text of one kernel under construction."""

    def __init__(self, header: str, comments: Sequence[str] = ()):
        self.open = [Block(header)]
        self._comments = comments
        self._constants: dict[str, str] = {}
        self._names: dict[str, int] = {}
        self._last_comment = ""

    @property
    def depth(self) -> int:
        """The depth of the innermost open block."""
        return len(self.open) - 1

    @property
    def guard_depth(self) -> int:
        """The depth of the innermost guard: the least depth at which anything may now be computed."""
        return max((depth for depth, block in enumerate(self.open) if block.guard), default=0)

    def fresh(self, hint: str) -> str:
        """A name not used before in this kernel: the hint and a number."""
        count = self._names[hint] = self._names.get(hint, -1) + 1
        return f"{hint}_{count}"

    def constant(self, name: str, definition: str) -> str:
        """Define a constant outside of the kernel function; returns its name."""
        if self._constants.setdefault(name, definition) != definition:
            raise ValueError(f"the constant {name} is both {self._constants[name]} and {definition}")
        return name

    def line(self, text: str, comment: str = "", depth: int | None = None) -> None:
        """Append a statement to the block at `depth` (default: the innermost). The same comment is not written twice
        in a row."""
        body = self.open[self.depth if depth is None else depth].body
        repeated, self._last_comment = comment == self._last_comment, comment or self._last_comment
        if not comment or repeated:
            body.append(text)
        elif len(text) + len(comment) + 2 + len(INDENT) * (self.depth + 1) <= WIDTH:
            body.append(f"{text}  # {comment}")
        else:
            body += [f"# {comment}", text]

    def comment(self, text: str) -> None:
        """Append a comment line to the innermost block."""
        self.line(f"# {text}")

    def begin(self, header: str, guard: bool = False) -> int:
        """Open a nested block, e.g. `for j in range(8):`; returns its depth."""
        self.open.append(Block(header, guard))
        return self.depth

    def end(self) -> None:
        """Close the innermost block. One left empty is dropped."""
        inner = self.open.pop()
        if inner.body:
            self.open[-1].body.append(inner)

    @contextmanager
    def block(self, header: str, guard: bool = False) -> Iterator[int]:
        """A nested block around what is written meanwhile; yields its depth."""
        yield self.begin(header, guard)
        self.end()

    @contextmanager
    def at(self, depth: int) -> Iterator[None]:
        """Write into the block at `depth`, as if those inside it were not open yet."""
        inner = self.open[depth + 1 :]
        del self.open[depth + 1 :]
        yield
        self.open.extend(inner)

    def recall(self, key: Hashable) -> Any | None:
        """What was remembered under `key` in an open block."""
        for block in reversed(self.open):
            if key in block.memo:
                return block.memo[key]
        return None

    def remember(self, key: Hashable, value: Any, depth: int) -> None:
        """Remember `value` for as long as the block at `depth` is open."""
        self.open[depth].memo[key] = value

    def text(self) -> str:
        """The whole kernel. Every nested block must be closed."""
        if self.depth:
            raise ValueError(f"{self.depth} blocks are still open")
        lines = [f"# {c}" for c in self._comments]
        lines += [f"{name} = {definition}" for name, definition in self._constants.items()]
        lines += ["", ""] * bool(self._constants)
        return "\n".join([*lines, *_lines(self.open[0], 0)]) + "\n"


def _lines(block: Block, level: int) -> Iterator[str]:
    yield INDENT * level + block.header
    for item in block.body or ["pass"]:
        if isinstance(item, Block):
            yield from _lines(item, level + 1)
        else:
            yield INDENT * (level + 1) + item
