"""``fastsoftmax compare``: the race of all implementations."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastsoftmax.cli.common import INTERRUPTED, OK, Failure, check_writable, need, progress, split_names, write

if TYPE_CHECKING:
    from fastsoftmax.compare.results import Result

NEEDED = ("scipy", "sklearn", "rich", "threadpoolctl")


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    command = commands.add_parser(
        "compare",
        help="race all implementations, on real input or on your own array",
        description="Compare all rungs with NumPy, SciPy and those of torch, jax and onnxruntime that are "
        "installed, for speed and (against exact values) for accuracy: on real input and standard shapes, "
        "or on FILE.",
    )
    command.add_argument("file", nargs="?", metavar="FILE.npy", help="your own array, saved with numpy.save")
    command.add_argument("--axis", type=int, help="the axis of FILE to reduce (default: -1)")
    command.add_argument(
        "--op", choices=("softmax", "log_softmax", "logsumexp"), help="one function only (default: all three)"
    )
    command.add_argument("--json", metavar="FILE", help="write the result there too")
    command.add_argument("--html", metavar="FILE", help="write a page with pictures there, to open in a browser")
    command.add_argument("--markdown", metavar="FILE", help="write tables in Markdown there")
    command.add_argument("--from", dest="saved", metavar="RESULT.json", help="show what --json saved; measure nothing")
    command.add_argument("--threads", type=int, default=1, metavar="N", help="threads for each (default: 1)")
    command.add_argument("--methods", metavar="A,B", help="these rungs only, as in stable,auto (default: all)")
    command.add_argument("--quick", action="store_true", help="some seconds, not two minutes; rougher figures")
    command.add_argument(
        "--list", action="store_true", help="list the contenders and stop: versions, threads, functions"
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare, show the result, and keep it where that is asked for."""
    need("compare", NEEDED)
    if options.list:
        return _list()
    if options.axis is not None and options.file is None:
        raise Failure("--axis goes with a FILE.npy; the built-in inputs have axes of their own")
    for path in (options.json, options.html, options.markdown):
        if path is not None:
            check_writable(Path(path))
    if options.saved is not None and options.file is not None:
        raise Failure("--from shows a saved result: it goes without a FILE.npy")
    result = _measure(options) if options.saved is None else _load(options.saved)

    from fastsoftmax.compare import report

    try:
        report.show(result)
    finally:  # also when nobody reads the report to its end
        _keep(result, options)
    return INTERRUPTED if result.interrupted else OK


def _measure(options: argparse.Namespace) -> Result:
    """Run the comparison; interrupted, it returns what was measured."""
    from fastsoftmax.compare import contenders, lab, workloads

    try:
        contenders.pin(options.threads)
        candidates = contenders.contenders(split_names(options.methods))
        inputs: Sequence[workloads.Workload] = workloads.WORKLOADS
        if options.html is not None:
            inputs = [*inputs, *workloads.CURVES]
        if options.file is not None:
            axis = -1 if options.axis is None else options.axis
            inputs = [workloads.from_file(options.file, axis, options.op)]
        elif options.quick:
            inputs = [workload for workload in inputs if workload.quick]
    except workloads.InputError as error:
        raise Failure(error) from None

    with progress() as tell:
        able, skipped = contenders.installed(candidates)
        plan = lab.Plan(
            inputs,
            able,
            threads=options.threads,
            ops=(options.op,) if options.op else workloads.OPS,
            seconds_a_table=_seconds(quick=options.quick, own=options.file is not None),
        )
        result = lab.new_result(plan, skipped)
        try:
            lab.run(plan, result, tell)
        except KeyboardInterrupt:
            if not any(table.rows for table in result.tables):
                raise
            result.interrupted = True
    return result


def _seconds(*, quick: bool, own: bool) -> float:
    """Return how long to time a table; all the built-in ones and the rest have to fit into two minutes."""
    if quick:
        return 0.2
    return 5.0 if own else 1.5


def _load(path: str) -> Result:
    """Read a saved result; raise in one line where that fails."""
    from fastsoftmax.compare.results import Result

    try:
        return Result.load(path)
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise Failure(f"cannot use {path}: {error}") from None


def _keep(result: Result, options: argparse.Namespace) -> None:
    """Write the files that are asked for; raise in one line where that fails after all."""
    from fastsoftmax.compare import markdown, page

    if options.json is not None:
        write(result.to_json(), options.json)
    if options.html is not None:
        name = Path(options.file).name if options.file else "this machine"
        write(page.document(result, f"softmax, log_softmax and logsumexp on {name}"), options.html)
    if options.markdown is not None:
        write(markdown.document(result), options.markdown)


def _list() -> int:
    """Print who takes part, with what, and who cannot."""
    from fastsoftmax.compare import contenders, report

    candidates = contenders.contenders()
    _, skipped = contenders.installed(candidates)
    report.show_contenders(candidates, skipped)
    return OK
