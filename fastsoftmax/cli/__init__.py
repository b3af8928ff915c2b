"""The command line, a module a command. Each imports only what it needs, when it runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from fastsoftmax.cli import accuracy, cache, compare, gate, history, info, prove, scaling
from fastsoftmax.cli.common import INTERRUPTED, OK, USAGE, Failure

COMMANDS = (compare, scaling, accuracy, prove, gate, history, info, cache)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message} (--help shows what works)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        What was typed after ``fastsoftmax``; ``sys.argv`` by default.

    Returns
    -------
    int
        0; 1 where a bound was found not to hold; 2 for anything the user can mend (one line on stderr says what); 130
        after Ctrl-C.
    """
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except Failure as failure:
        print(f"fastsoftmax: {failure}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("\nfastsoftmax: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has left, as in `fastsoftmax compare | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    result = _Parser(
        prog="fastsoftmax",
        description="Fast and exact softmax, log_softmax and logsumexp, and how other libraries compare.",
    )
    result.add_argument("--version", action="version", version=f"fastsoftmax {version('fastsoftmax')}")
    commands = result.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    return result
