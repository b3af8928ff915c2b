"""``fastsoftmax cache``: the compiled kernels on disk."""

from __future__ import annotations

import argparse
import contextlib
import os
from typing import Any

from fastsoftmax.cli.common import OK, Failure


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    command = commands.add_parser(
        "cache",
        help="the folder of compiled kernels: where it is, how large, and --clear",
        description="Show the folder of compiled kernels, how many it holds and their size. It is "
        "$FASTSOFTMAX_CACHE_DIR, or one in the user's cache folder.",
    )
    command.add_argument(
        "--clear", action="store_true", help="delete the kernels, and nothing else; they are compiled anew when needed"
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show the folder, or empty it."""
    from fastsoftmax import cache

    folder, entries = cache.folder(), cache.entries()
    if os.path.lexists(folder) and not cache.is_private(folder):
        raise Failure(f"{folder} is not used: it is no folder that only this user may write to")
    size = 0
    for entry in entries:
        with contextlib.suppress(OSError):  # deleted meanwhile
            size += entry.stat().st_size
    if options.clear:
        print(f"{folder}: {cache.clear()} of {len(entries)} kernels deleted, {size / 1e6:.1f} MB")
    else:
        print(f"{folder}: {len(entries)} kernels, {size / 1e6:.1f} MB")
    return OK
