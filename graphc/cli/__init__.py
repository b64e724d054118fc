"""The command line: `graphc demo`, `graphc inspect`, `graphc opt`, `graphc run`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from graphc.cli import demo, inspect, opt, run
from graphc.ir.errors import GraphcError

COMMANDS = {"demo": demo, "inspect": inspect, "opt": opt, "run": run}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. 0 when it succeeds; 1 with a message on standard error for what the user can mend."""
    parser = argparse.ArgumentParser(prog="graphc", description="A static-graph compiler for training neural networks.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        text = (module.__doc__ or "").strip()
        module.add_arguments(
            commands.add_parser(
                name, help=text.splitlines()[0], description=text, formatter_class=argparse.RawDescriptionHelpFormatter
            )
        )
    options = parser.parse_args(arguments)
    try:
        COMMANDS[options.command].execute(options)
    except (GraphcError, OSError, ModuleNotFoundError) as error:
        print(f"graphc {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
