"""Gives every value of a graph a name to print it by."""

from __future__ import annotations

from collections.abc import Iterable

from graphc.ir.graph import Block, Value
from graphc.ir.text.lexer import name_text

Names = dict[Value, str]


def value_names(block: Block) -> Names:
    """The printed name of every value, regions included: its hint where it has one, made unique within its block;
    otherwise a number. Regions are isolated, so each numbers its own values."""
    names: Names = {}
    scope = _Scope()
    for arg in block.args:
        names[arg] = scope.fresh(arg.name)
    for op in block.ops:
        for result in op.results:
            names[result] = scope.fresh(result.name or None)
        for region in op.regions:
            names.update(value_names(region))
    return names


def name_list(values: Iterable[Value], names: Names) -> str:
    """The names of values, comma-separated. A value that nothing defines shows as `%<undefined>`."""
    return ", ".join(names.get(v, f"%<undefined{' ' + v.name if v.name else ''}>") for v in values)


class _Scope:
    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.numbered = 0
        self.repeats: dict[str, int] = {}

    def fresh(self, hint: str | None) -> str:
        if hint is None:
            self.numbered += 1
            return f"%{self.numbered - 1}"
        name = hint
        while name in self.taken:
            self.repeats[hint] = self.repeats.get(hint, 0) + 1
            name = f"{hint}.{self.repeats[hint]}"
        self.taken.add(name)
        return name_text("%", name)
