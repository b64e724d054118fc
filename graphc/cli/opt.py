"""Run passes over IR text and print the result.

graphc opt --passes autodiff,dce file.gir
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from graphc.ir.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ir.text import parse_all
from graphc.ir.verify import verify
from graphc.passes.pass_manager import PassManager
from graphc.passes.pipeline import PASSES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="IR text, one graph or more; - for standard input")
    parser.add_argument("--passes", default="", help=f"comma-separated, of: {', '.join(PASSES)}")
    parser.add_argument("--print-each", action="store_true", help="print the graph after every pass")
    parser.add_argument("--times", action="store_true", help="print what each pass took, on standard error")


def execute(options: argparse.Namespace) -> None:
    names = [name for name in options.passes.split(",") if name]
    unknown = [name for name in names if name not in PASSES]
    if unknown:
        raise GraphcError(f"no pass {unknown[0]!r}; there are: {', '.join(PASSES)}")

    def show(name: str, graph: Graph) -> None:
        if options.print_each:
            print(f"; after {name}\n{graph}")

    manager = PassManager([PASSES[name] for name in names], verify_each=True, observe=show)
    for graph in read_graphs(options.file):
        verify(graph)
        result, timings = manager.run_timed(graph)
        if not options.print_each:
            print(result)
        for timing in timings if options.times else ():
            print(
                f"{timing.pass_name:24} {timing.seconds * 1e3:8.2f} ms, {timing.ops_before} -> {timing.ops_after} ops",
                file=sys.stderr,
            )


def read_graphs(file: str) -> list[Graph]:
    """The graphs in a file, or on standard input for "-". Ops that name no line of a program get their own. Raises
    ParseError, OSError, and GraphcError for what is no text or holds no graph."""
    filename = "<stdin>" if file == "-" else file
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise GraphcError(f"{filename} is not IR text: {error}") from None
    graphs = parse_all(text, filename, locate=True)
    if not graphs:
        raise GraphcError(f"{filename} holds no graph")
    return graphs
