"""Every file of IR text below the tests does what it says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.file_tests import run_file

TESTS = Path(__file__).parents[1]
FILES = sorted(TESTS.glob("*/filetests/**/*.gir"))


@pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(TESTS)) for p in FILES])
def test_a_file_does_what_it_says(path: Path) -> None:
    run_file(path)


EXP = "graph @f [differentiated] (%x: f32[2]) -> f32[2] {\n  %0 = exp %x : f32[2]%\n  return %0\n}\n"


@pytest.mark.parametrize(
    "text",
    [
        "; nothing\n",
        EXP.replace("%\n", "  ; error: no such thing\n"),
        EXP.replace("exp", "exq").replace("%\n", "\n").replace("return %0", "return %0 ; error: unknown op"),
        EXP.replace("exp", "exq").replace("%\n", " ; error: another message\n"),
        EXP.replace("%\n", "\n") + "; run: [0.0, 0.0] -> [1.0, 2.0]\n",
        EXP.replace("%\n", "\n") + "; run: [0.0, 0.0] -> fault: it does not\n",
        EXP.replace("%\n", "\n") + "; run: [0.0, 0.0] -> \n",
        "; passes: dce\n" + EXP.replace("%\n", "\n"),
        EXP.replace("%\n", "\n") + "; expect:\n; graph\n",
    ],
    ids=range(9),
)
def test_a_file_that_does_not_do_what_it_says_fails(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.file_tests.BLESS", False)
    path = tmp_path / "a.gir"
    path.write_text(text)
    with pytest.raises((AssertionError, pytest.fail.Exception, ValueError)):
        run_file(path)


def test_blessing_writes_what_the_graphs_print_as(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.gir"
    dead = EXP.replace("%\n", "\n  %1 = neg %x : f32[2]\n")
    path.write_text(f"; passes: dce\n\n{dead}")
    monkeypatch.setattr("tests.file_tests.BLESS", True)
    run_file(path)
    blessed = path.read_text()
    commented = "".join(f"; {line}\n" for line in EXP.replace("%\n", "\n").rstrip().split("\n"))
    assert blessed == f"; passes: dce\n\n{dead}\n; expect:\n{commented}"
    run_file(path)
    assert path.read_text() == blessed
    monkeypatch.setattr("tests.file_tests.BLESS", False)
    run_file(path)
