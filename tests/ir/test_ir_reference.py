"""The language reference: its table of ops is that of the registry, and what it shows as code is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphc.ir import DTYPES, KINDS, STAGES, AttrSpec, DType, parse, registered, verify
from graphc.ir.attributes import MAX_DEPTH, MAX_ITEMS
from graphc.ir.types import MAX_RANK
from tests.file_tests import BLESS, run_file

PAGE = Path(__file__).parents[2] / "docs" / "ir.md"
BEGIN, END = "<!-- ops -->\n", "<!-- end of ops -->"


def table() -> str:
    rows = ["| op | kind | operands | attributes | meaning |", "|---|---|---|---|---|"]
    for record in sorted(registered().values(), key=lambda r: (KINDS.index(r.kind), r.name)):
        operands = "any" if record.n_operands is None else str(record.n_operands)
        attributes = ", ".join(f"`{key}`: {_attribute(spec)}" for key, spec in record.attrs.items()) or "-"
        meaning = record.doc.replace("|", "\\|")
        rows.append(f"| `{record.name}` | {record.kind} | {operands} | {attributes} | {meaning} |")
    return "\n".join(rows) + "\n"


_KINDS_OF_ATTRIBUTES: dict[Any, str] = {
    "ints": "integers",
    "scalar": "number",
    "any": "number or array",
    DType: "element type",
    str: "string",
    int: "integer",
    bool: "bool",
}


def _attribute(spec: AttrSpec) -> str:
    kind = " or ".join(f'"{choice}"' for choice in spec.choices) or _KINDS_OF_ATTRIBUTES[spec.type]
    return kind if spec.required else f"{kind} = {str(spec.default).lower()}"


def test_the_table_of_ops_is_that_of_the_registry() -> None:
    head, _, rest = PAGE.read_text().partition(BEGIN)
    shown, _, tail = rest.partition(END)
    if BLESS:
        PAGE.write_text(f"{head}{BEGIN}{table()}{END}{tail}")
    else:
        assert shown.split("\n") == table().split("\n")


@pytest.mark.parametrize("word", [*DTYPES, *STAGES, f"{MAX_RANK} axes", f"{MAX_ITEMS} items, {MAX_DEPTH} deep"])
def test_the_page_names_what_the_code_knows(word: str) -> None:
    assert word in PAGE.read_text()


def test_the_file_test_on_the_page_passes(tmp_path: Path) -> None:
    (shown,) = re.findall(r"^    ; passes:(?:.*\n|\n)*", PAGE.read_text(), re.MULTILINE)
    text = "\n".join(line[4:] for line in shown.splitlines())
    path = tmp_path / "shown.gir"
    path.write_text(f"{text}\n; expect:\n" + "\n".join(f"; {line}" for line in EXPECTED.splitlines()) + "\n")
    run_file(path)


EXPECTED = """graph @f [differentiated] (%x: f32[2]) -> f32[2] {
  %0 = exp %x : f32[2]
  return %0
}"""


def test_the_python_on_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (shown,) = re.findall(r"^    from graphc\.ir import(?:.*\n)+?(?:    .*\n|\n)*", PAGE.read_text(), re.MULTILINE)
    code = "\n".join(line[4:] for line in shown.splitlines())
    exec(compile(code, str(PAGE), "exec"), {"numpy": np})
    verify(parse(capsys.readouterr().out))
