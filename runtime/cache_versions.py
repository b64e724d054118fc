"""What compiled code depends on besides the program: graphc's own code, and the packages that take part.

Graphc's code is told by its content, so that an edited checkout never gets stale programs, and one that is copied, or
checked out again, keeps its cache. That is 1.5 ms for 150 files. (Times and sizes would take 0.5 ms, and differ where
files are copied; they do tell whether anything has changed since.) It is read when this module is imported, which is
before anything is compiled.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from functools import cache
from importlib.util import find_spec

import llvmlite
import ml_dtypes
import numpy as np

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KERNEL_CODE = ("ir", "codegen")  # what turns a kernel's source into machine code
PROGRAM_CODE = ("ir", "passes", "codegen", "runtime")  # what turns a traced graph into a program


def files_of(folder: str) -> list[tuple[str, int, int]]:
    """The Python files in a folder of graphc, in order: path, time of the last change, size. None of them where some
    cannot be looked at: graphc is in an archive, or its files are just being replaced."""
    found = []
    remaining = [os.path.join(_ROOT, folder)]
    try:
        while remaining:
            with os.scandir(remaining.pop()) as entries:
                for entry in entries:
                    if entry.name.endswith(".py"):
                        state = entry.stat()
                        found.append((entry.path, state.st_mtime_ns, state.st_size))
                    elif entry.is_dir() and entry.name != "__pycache__":
                        remaining.append(entry.path)
    except OSError:
        return []
    return sorted(found)


def hash_of_code(folder: str) -> str:
    """A short hash of what those files hold; empty where there are none, or where they are just being replaced."""
    digest = hashlib.sha256()
    files = files_of(folder)
    try:
        for path, _, _ in files:
            with open(path, "rb") as file:
                content = file.read()
            digest.update(f"{path[len(_ROOT) :]} {len(content)}\n".encode())
            digest.update(content)
    except OSError:
        return ""
    return digest.hexdigest()[:12] if files else ""


_FILES = {folder: files_of(folder) for folder in PROGRAM_CODE}
_AT_START = {folder: hash_of_code(folder) for folder in PROGRAM_CODE}


def versions(folders: tuple[str, ...]) -> dict[str, str]:
    """By name, the versions of what compiles with the code in `folders`: `KERNEL_CODE` or `PROGRAM_CODE`."""
    return {**{f"graphc.{folder}": _AT_START[folder] for folder in folders}, **_packages()}


def code_is_unchanged(folders: tuple[str, ...]) -> bool:
    """Whether the code on disk is what this process began with. What is compiled after an edit is not kept: nobody
    knows which of the code was loaded before it."""
    return all(_is_unchanged(folder) for folder in folders)


def _is_unchanged(folder: str) -> bool:
    before = _AT_START[folder]
    return before != "" and (files_of(folder) == _FILES[folder] or hash_of_code(folder) == before)


@cache
def _packages() -> dict[str, str]:
    return {
        "numba": _numba(),
        "llvmlite": llvmlite.__version__,
        "numpy": np.__version__,
        "ml_dtypes": ml_dtypes.__version__,
        "python": f"{sys.implementation.name} {sys.version.split()[0]}",
    }


def _numba() -> str:
    """Numba's version, without importing it: that alone would take longer than all the rest of a start."""
    spec = find_spec("numba")
    if spec is None or not spec.submodule_search_locations:
        return "none"
    with open(os.path.join(spec.submodule_search_locations[0], "_version.py"), encoding="utf-8") as file:
        text = file.read()
    found = re.search(r'"version": "([^"]+)"', text)
    return found[1] if found else hashlib.sha256(text.encode()).hexdigest()[:16]
