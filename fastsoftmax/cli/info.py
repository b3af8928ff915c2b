"""``fastsoftmax info``: what a bug report needs."""

from __future__ import annotations

import argparse
from typing import Any

from fastsoftmax.cli.common import OK


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    command = commands.add_parser("info", help="versions, CPU, SIMD width, threads: what a bug report needs")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the configuration."""
    import fastsoftmax

    fastsoftmax.show_config()
    return OK
