"""The command line: `graphc cache`, `graphc demo`, `graphc inspect`, `graphc opt`, `graphc run`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from graphc.ir.errors import GraphcError

# A command's module is loaded when it is chosen: it has `add_arguments(parser)` and `execute(options)`; `options.rest`
# holds what follows "--".
COMMANDS = {
    "cache": "list or clear the cache of compiled programs",
    "demo": "train an MLP on bundled digits, or on MNIST in a folder",
    "inspect": "print a stage of the compile of a step in a script",
    "opt": "run passes over IR text and print the result",
    "run": "run IR text on arrays",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. 0 when it succeeds; 1 with a message on standard error for what the user can mend."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    given, rest = given[:end], given[end + 1 :]
    parser = argparse.ArgumentParser(prog="graphc", description="A static-graph compiler for training neural networks.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in given if word in COMMANDS), None)
    execute = None
    for name, help_text in COMMANDS.items():
        command = commands.add_parser(name, help=help_text, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == chosen:
            module = import_module(f"graphc.cli.{name}")
            command.description = (module.__doc__ or "").strip()
            module.add_arguments(command)
            execute = module.execute
    options = parser.parse_args(given)
    options.rest = rest
    assert execute is not None
    try:
        execute(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (GraphcError, OSError, ModuleNotFoundError) as error:
        print(f"graphc {options.command}: {error}", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"graphc {options.command}: not enough memory: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
