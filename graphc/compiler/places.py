"""The users' lines in a cached program: those of the graph that it is found for.

Of a graph's lines a program has only what its faults say. So it is found wherever the function has moved to (further
down in its file, or to a new notebook cell), and its faults are told anew.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from graphc.ir.graph import Graph
from graphc.ir.location import Location
from graphc.runtime.program import Fault, Program


def places_of(graph: Graph) -> tuple[list[Location], list[int]]:
    """The different places that a graph's ops come from, and for each op which of them it is; -1 for none."""
    numbers: dict[Location, int] = {}
    locations = [op.location for op in graph.walk()]
    pattern = [-1 if place is None else numbers.setdefault(place, len(numbers)) for place in locations]
    return list(numbers), pattern


def moved(program: Program, before: Sequence[Location], now: Sequence[Location]) -> Program:
    """The program with the places `now` instead of `before`. Messages hold places in parentheses."""
    if before == now:
        return program
    table = dict(zip(before, now, strict=True))
    texts = {f"({old})": f"({new})" for old, new in table.items()}
    pattern = re.compile("|".join(map(re.escape, texts)))

    def told(fault: Fault) -> Fault:
        message = pattern.sub(lambda found: texts[found[0]], fault.message)
        return dataclasses.replace(fault, message=message, location=fault.location and table[fault.location])

    return dataclasses.replace(program, faults=tuple(map(told, program.faults)))
