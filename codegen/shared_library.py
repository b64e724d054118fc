"""Turns a program's object code into a shared library, with whatever C compiler there is."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from graphc.ir.target import Target

_SYSTEM_COMPILERS = ("cc", "clang")


def find_compiler(target: Target, machine: str) -> list[str]:
    """The command of a C compiler that links for the target, on a machine of the given triple: $CC, cc, clang, or the
    package ziglang. For another architecture only the last will do. Raises OSError where there is none."""
    architecture = target.triple.split("-")[0]
    native = architecture == machine.split("-")[0]
    if native:
        if os.environ.get("CC"):
            return shlex.split(os.environ["CC"])
        for name in _SYSTEM_COMPILERS:
            found = shutil.which(name)
            if found:
                return [found]
    if find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc", "-target", f"{architecture}-linux-gnu"]
    looked_for = "$CC, cc, clang, and the package ziglang" if native else "the package ziglang"
    raise OSError(f"no C compiler for {architecture} was found (looked for {looked_for})")


def link_shared_library(image: bytes, path: Path, compiler: list[str]) -> None:
    """Write `path`, whole or not at all. Raises OSError with the compiler's words where it fails."""
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        source, made = Path(folder, "program.o"), Path(folder, path.name)
        source.write_bytes(image)
        # The soname: what links with build/x.so then looks for x.so. There is nothing to run when it is loaded.
        soname = ["-Xlinker", "-soname", "-Xlinker", path.name]
        options = ["-shared", "-nostartfiles", *soname, "-o", str(made), str(source), "-lm", "-pthread"]
        done = subprocess.run([*compiler, *options], capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            raise OSError(f"{shlex.join(compiler)} failed with status {done.returncode}: {done.stderr.strip()}")
        os.replace(made, path)
