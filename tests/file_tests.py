"""Runs a file of IR text that says in comments what should become of it.

Before its first graph a file may name passes, which run on every graph in turn: `; passes: autodiff, dce`. After all
graphs, `; expect:` begins the text they should print as afterwards, in comments; with GRAPHC_BLESS=1 in the
environment it is rewritten to what they do print as. After a graph, `; run: inputs state states -> outputs state
states` interprets it; `-> fault: message` says that it stops. A graph with `; error: message` at the end of one of its
lines must fail to parse, to verify or to pass, there and with that message.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphc.ir import FaultError, Graph, GraphcError, Value, interpret, parse, verify
from graphc.ir.text.cursor import Cursor
from graphc.ir.text.dense import parse_payload
from graphc.ir.text.lexer import Source
from graphc.passes.pipeline import PASSES
from tests.closeness import check_close

Array = np.ndarray[Any, Any]

BLESS = os.environ.get("GRAPHC_BLESS") == "1"
_EXPECT = "; expect:\n"


@dataclass(frozen=True)
class Section:
    """One graph's text with what follows it, after as many empty lines as stand before it in the file."""

    text: str
    file: str

    def comments(self, key: str) -> list[tuple[int, str]]:
        """Line number and rest of every comment that begins with `key:`."""
        found = [(i, re.search(rf";\s*{key}:(.*)", line)) for i, line in enumerate(self.text.split("\n"), 1)]
        return [(i, match[1].strip()) for i, match in found if match]


def run_file(path: Path) -> None:
    """Fails, with pytest's assertions, unless the file's graphs do what it says."""
    text = path.read_text()
    source, marker, expected = text.partition(_EXPECT)
    head, *sections = _sections(source, path.name)
    names = [name.strip() for _, line in head.comments("passes") for name in line.split(",")]
    assert sections, f"{path.name} holds no graph"
    printed = []
    for section in sections:
        if section.comments("error"):
            _check_error(section, names)
        else:
            result = _apply(section, names, locate=False)
            for line, command in section.comments("run"):
                _run(result, command, f"{path.name}:{line}")
            printed.append(str(result))
    actual = "\n\n".join(printed)
    if BLESS and (marker or names) and printed:
        commented = "".join(f"; {line}".rstrip() + "\n" for line in actual.split("\n"))
        path.write_text(f"{source.rstrip()}\n\n{_EXPECT}{commented}")
    elif marker:
        assert actual.split("\n") == [line[2:] for line in expected.rstrip("\n").split("\n")]
    else:
        assert not names or not printed, f"{path.name} names passes but expects nothing; run with GRAPHC_BLESS=1"


def _sections(source: str, file: str) -> list[Section]:
    lines = source.split("\n")
    starts = [0, *(i for i, line in enumerate(lines) if line.startswith("graph "))]
    return [
        Section("\n" * start + "\n".join(lines[start:stop]), file)
        for start, stop in zip(starts, [*starts[1:], len(lines)], strict=True)
    ]


def _apply(section: Section, passes: Sequence[str], locate: bool) -> Graph:
    graph = parse(section.text, section.file, locate=locate)
    verify(graph)
    for name in passes:
        graph = PASSES[name].run(graph)
        verify(graph)
    return graph


def _check_error(section: Section, passes: Sequence[str]) -> None:
    ((line, message),) = section.comments("error")
    with pytest.raises(GraphcError) as caught:
        _apply(section, passes, locate=True)
    error = caught.value
    assert message in error.message
    found = error.location.line if error.location else _first_line(section)
    assert found == line, f"{section.file}: the error stands on line {found}, not {line}: {error}"


def _first_line(section: Section) -> int:
    """Where an error of the graph as a whole is expected."""
    return len(section.text) - len(section.text.lstrip("\n")) + 1


def _run(graph: Graph, command: str, where: str) -> None:
    cursor = Cursor(Source(command, where))
    inputs = _arrays(cursor, graph.inputs, "->")
    states = _arrays(cursor, graph.states, "->") if cursor.accept("state") else []
    cursor.expect("->")
    if cursor.accept("fault"):
        with pytest.raises(FaultError, match=re.escape(command.partition("fault: ")[2])):
            interpret(graph, inputs, states)
        return
    outputs = _arrays(cursor, graph.results, "end")
    new_states = _arrays(cursor, graph.states, "end") if cursor.accept("state") else states
    cursor.expect("end")
    actual = interpret(graph, inputs, states)
    check_close(actual[0], outputs, role=f"{where}: output")
    check_close(actual[1], new_states, role=f"{where}: state")


def _arrays(cursor: Cursor, values: Sequence[Value], end: str) -> list[Array]:
    arrays = []
    for i, value in enumerate(values):
        if i:
            cursor.expect(",")
        arrays.append(parse_payload(cursor, value.type).array)
    assert cursor.at(end) or cursor.at("state"), f"expected {len(values)} values before {cursor.token}"
    return arrays
