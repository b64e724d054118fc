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


def execute(options: argparse.Namespace) -> None:
    names = [name for name in options.passes.split(",") if name]
    unknown = [name for name in names if name not in PASSES]
    if unknown:
        raise GraphcError(f"no pass {unknown[0]!r}; there are: {', '.join(PASSES)}")
    for graph in read_graphs(options.file):
        verify(graph)
        for name in names:
            graph = PassManager([PASSES[name]]).run(graph)
            if options.print_each:
                print(f"; after {name}\n{graph}")
        if not options.print_each:
            print(graph)


def read_graphs(file: str) -> list[Graph]:
    """The graphs in a file, or on standard input for "-"."""
    text = sys.stdin.read() if file == "-" else Path(file).read_text()
    return parse_all(text, "<stdin>" if file == "-" else file)
