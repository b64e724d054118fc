"""Builds and runs C programs against exported steps."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CC = shutil.which("cc")
VALGRIND = shutil.which("valgrind")
needs_cc = pytest.mark.skipif(CC is None, reason="no C compiler is installed")
needs_valgrind = pytest.mark.skipif(VALGRIND is None, reason="valgrind is not installed")

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def build(folder: Path, source: str | Path, libraries: list[Path], name: str = "program") -> Path:
    """Compile a C file, or C text, and link it with shared libraries or objects in `folder`."""
    if isinstance(source, str):
        path = folder / f"{name}.c"
        path.write_text(source)
        source = path
    made = folder / name
    command = [
        "cc",
        "-std=gnu11",
        "-O1",
        "-g",
        *WARNINGS,
        f"-I{folder}",
        "-o",
        made,
        source,
        *libraries,
        "-lm",
        "-pthread",
    ]
    compile_with([*command, "-Wl,-rpath,$ORIGIN"])
    return made


def compile_with(command: list[str | Path]) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def run(program: Path, *arguments: str | Path, valgrind: bool = False, status: int = 0) -> str:
    """What the program prints. Under valgrind, any invalid access, use of uninitialised memory, or leak fails."""
    command = [str(program), *map(str, arguments)]
    if valgrind:
        command = ["valgrind", "-q", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=all", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
    return done.stdout
