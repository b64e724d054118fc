"""What compiled code depends on besides the program: graphc's own code, and the packages that take part.

Graphc's code is told by its content, so that an edited checkout never gets stale programs, and one that is copied, or
checked out again, keeps its cache. That is 1.5 ms for 150 files. (Times and sizes would be 0.5 ms, and differ wherever
files are copied.) It is read when this module is imported, which is before anything is compiled.
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


def hash_of_code(folder: str) -> str:
    """A short hash of the Python files in a folder of graphc, as they are now; empty where they are not files."""
    digest = hashlib.sha256()
    root = os.path.join(_ROOT, folder)
    if not os.path.isdir(root):
        return ""
    remaining = [root]
    while remaining:
        with os.scandir(remaining.pop()) as found:
            for entry in sorted(found, key=lambda entry: entry.name):
                if entry.name.endswith(".py"):
                    with open(entry.path, "rb") as file:
                        content = file.read()
                    digest.update(f"{entry.path[len(root) :]} {len(content)}\n".encode())
                    digest.update(content)
                elif entry.is_dir() and entry.name != "__pycache__":
                    remaining.append(entry.path)
    return digest.hexdigest()[:12]


_AT_START = {folder: hash_of_code(folder) for folder in PROGRAM_CODE}


def versions(folders: tuple[str, ...]) -> dict[str, str]:
    """By name, the versions of what compiles with the code in `folders`: `KERNEL_CODE` or `PROGRAM_CODE`."""
    return {**{f"graphc.{folder}": _AT_START[folder] for folder in folders}, **_packages()}


def code_is_unchanged(folders: tuple[str, ...]) -> bool:
    """Whether the code on disk is what this process began with. What is compiled after an edit is not kept: nobody
    knows which of the code was loaded before it."""
    return all(hash_of_code(folder) == _AT_START[folder] != "" for folder in folders)


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
