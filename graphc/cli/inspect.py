"""Print a stage of the compile of a step in a script.

    graphc inspect train.py:train_step --stage fused -- --data folder
    graphc inspect train.py:train_step --stage explain
    graphc inspect train.py:train_step --inputs "f32[64,784] i64[64]"

The script runs, with the arguments after `--`, until it first calls the compiled function of that name; it is stopped
there, before the function has run. With --inputs the script is only imported, and the function is traced for arguments
of these types.
"""

from __future__ import annotations

import argparse
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import graphc
from graphc.compiler.function import CompiledFunction
from graphc.compiler.lowered import ALL_STAGES, Lowered
from graphc.ir.errors import GraphcError
from graphc.ir.types import DTYPES

_TYPE = re.compile(r"(\w+)\[([\d,\s]*)\]")
# What can be asked for besides the stages.
_ABOUT: dict[str, Callable[[Lowered], object]] = {"explain": Lowered.explain, "cost": Lowered.cost}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("step", help="FILE.py:NAME, NAME a compiled function")
    parser.add_argument("--stage", default="fused", choices=[*ALL_STAGES, *_ABOUT], help="default: fused")
    parser.add_argument("--inputs", help='types to trace for, such as "f32[64,784] i64[64]"')


def execute(options: argparse.Namespace) -> None:
    file, _, name = options.step.rpartition(":")
    if not file or not name:
        raise GraphcError(f"{options.step!r} names no function; write FILE.py:NAME")
    if not Path(file).is_file():
        raise FileNotFoundError(f"{file} does not exist")
    with _as_script(file, options.rest):
        lowered = _first_call(file, name) if options.inputs is None else _traced_for(file, name, options.inputs)
    about = _ABOUT.get(options.stage)
    print(about(lowered) if about else lowered.text(options.stage))


class _Reached(BaseException):
    """The script has come to the call. Not an Exception, so that the script does not handle it."""

    def __init__(self, lowered: Lowered):
        self.lowered = lowered


def _first_call(file: str, name: str) -> Lowered:
    original = CompiledFunction.__call__
    seen: set[str] = set()

    def call(self: CompiledFunction, *args: Any, **kwargs: Any) -> Any:
        seen.add(self.name)
        if self.name == name:
            _stop(self.lower(*args, **kwargs))
        return original(self, *args, **kwargs)

    CompiledFunction.__call__ = call  # type: ignore[method-assign]
    try:
        runpy.run_path(file, run_name="__main__")
    except _Reached as reached:
        return reached.lowered
    except SystemExit as stop:
        raise _not_called(file, name, seen, f"stopped with exit status {stop.code} before it called") from None
    finally:
        CompiledFunction.__call__ = original  # type: ignore[method-assign]
    raise _not_called(file, name, seen, "never called")


def _stop(lowered: Lowered) -> NoReturn:
    raise _Reached(lowered)


def _not_called(file: str, name: str, seen: set[str], what: str) -> GraphcError:
    others = f"; it called {', '.join(sorted(seen))}" if seen else ""
    return GraphcError(f"{file} {what} a compiled function named {name!r}{others}")


def _traced_for(file: str, name: str, inputs: str) -> Lowered:
    found: Any = runpy.run_path(file, run_name="__graphc_inspect__").get(name)
    if not hasattr(found, "lower"):
        raise GraphcError(f"{file} defines no compiled function {name!r}")
    lowered: Lowered = found.lower(*_arguments(inputs))
    return lowered


def _arguments(inputs: str) -> list[graphc.Tensor]:
    found = _TYPE.findall(inputs)
    unknown = [dtype for dtype, _ in found if dtype not in DTYPES]
    if unknown or _TYPE.sub("", inputs).strip(" ,"):
        raise GraphcError(f'--inputs {inputs!r} is not a list of types such as "f32[64,784] i64[64]"')
    return [graphc.zeros(*map(int, shape.split(",") if shape else ()), dtype=DTYPES[dtype]) for dtype, shape in found]


@contextmanager
def _as_script(file: str, arguments: list[str]) -> Iterator[None]:
    argv, path = sys.argv, list(sys.path)
    sys.argv = [file, *arguments]
    sys.path.insert(0, str(Path(file).resolve().parent))
    try:
        yield
    finally:
        sys.argv, sys.path[:] = argv, path
