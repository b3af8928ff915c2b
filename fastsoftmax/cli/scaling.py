"""``fastsoftmax scaling``: how much faster more threads are."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fastsoftmax.cli.common import INTERRUPTED, OK, Failure, check_writable, need, progress, write
from fastsoftmax.threads import available_cpus

NEEDED = ("scipy", "sklearn", "rich", "threadpoolctl")


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    command = commands.add_parser(
        "scaling",
        help="how much faster more threads are, here and in other libraries",
        description="Time fastsoftmax and the other libraries with 1, 2, 4 and more threads each, on standard shapes "
        "or on FILE. Best times into a result that is already there.",
    )
    command.add_argument("file", nargs="?", metavar="FILE.npy", help="your own array, saved with numpy.save")
    command.add_argument("--axis", type=int, default=-1, help="the axis of FILE to reduce (default: -1)")
    command.add_argument("--op", choices=("softmax", "log_softmax", "logsumexp"), help="one function only")
    command.add_argument("--threads", metavar="A,B", help="these numbers of threads (default: 1, 2, 4, ... all CPUs)")
    command.add_argument("--json", metavar="FILE", help="write the results there too")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure, show the table, and keep the results where that is asked for."""
    need("scaling", NEEDED)
    if options.json is not None:
        check_writable(Path(options.json))

    from fastsoftmax.compare import contenders, scaling, workloads

    counts = _counts(options.threads) or scaling.thread_counts(available_cpus())
    try:
        for threads in counts:
            contenders.check_threads(threads)
        if options.file is not None:
            workloads.from_file(options.file, options.axis)
    except workloads.InputError as error:
        raise Failure(error) from None
    results, interrupted = [], False
    with progress() as tell:
        try:
            measured = scaling.run(counts, options.file or "", options.axis, options.op)
            for i, threads in enumerate(counts):
                tell(i, len(counts), f"{threads} thread{'s' if threads > 1 else ''}")
                results.append(next(measured))
        except ChildProcessError as error:
            raise Failure(f"with {threads} threads: {error}") from None
        except KeyboardInterrupt:
            if not results:
                raise
            interrupted = True
    try:
        _show(results)
    finally:  # also when nobody reads the report to its end
        if options.json is not None:
            write(scaling.to_json(results), options.json)
    return INTERRUPTED if interrupted else OK


def _counts(text: str | None) -> list[int]:
    """Return the numbers of threads in a text like "1,2,4"; none for None."""
    try:
        return sorted({int(part) for part in text.split(",")}) if text is not None else []
    except ValueError:
        raise Failure(f"--threads takes numbers as in 1,2,4, not {text}") from None


def _show(results: list[Any]) -> None:
    """Print the table."""
    from rich.table import Table

    from fastsoftmax.compare import scaling
    from fastsoftmax.compare.report import LOOK, conditions, plain_console

    heads, rows = scaling.lines(results)
    grid = Table(title="ns/element against threads", **LOOK)
    for i, head in enumerate(heads):
        grid.add_column(head, justify="left" if i < 2 else "right", no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    console = plain_console()
    console.print(grid)
    console.print(conditions(results[-1]), style="dim", soft_wrap=True)
