"""The command line: ``fastsoftmax compare`` and ``fastsoftmax info``. Each imports only what it needs."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from fastsoftmax.compare.results import Result

OK, INTERRUPTED, USAGE = 0, 130, 2

# What `compare` cannot do without; all of it comes with the bench extra.
_NEEDED = ("scipy", "sklearn", "rich", "threadpoolctl")


class _Failure(Exception):
    """One clear line for the user, and exit status 2."""


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
        0; 2 for anything the user can mend (one line on stderr says what); 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except _Failure as failure:
        print(f"fastsoftmax: {failure}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("\nfastsoftmax: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has left, as in `fastsoftmax compare | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastsoftmax",
        description="Fast and exact softmax, log_softmax and logsumexp, and how other libraries compare.",
    )
    parser.add_argument("--version", action="version", version=f"fastsoftmax {version('fastsoftmax')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    compare = commands.add_parser(
        "compare",
        help="race all implementations, on real input or on your own array",
        description="Compare all rungs with NumPy, SciPy and those of torch, jax and onnxruntime that are "
        "installed, for speed and (against exact values) for accuracy: on real input and standard shapes, "
        "or on FILE.",
    )
    compare.add_argument("file", nargs="?", metavar="FILE.npy", help="your own array, saved with numpy.save")
    compare.add_argument("--axis", type=int, help="the axis of FILE to reduce (default: -1)")
    compare.add_argument(
        "--op", choices=("softmax", "log_softmax", "logsumexp"), help="one function only (default: all three)"
    )
    compare.add_argument("--json", metavar="FILE", help="write the result there too")
    compare.add_argument("--threads", type=int, default=1, metavar="N", help="threads for each (default: 1)")
    compare.add_argument("--methods", metavar="A,B", help="these rungs only, as in stable,auto (default: all)")
    compare.add_argument("--quick", action="store_true", help="a few seconds, not a minute; rougher figures")
    compare.set_defaults(run=_compare)

    info = commands.add_parser("info", help="versions, CPU, SIMD width, threads: what a bug report needs")
    info.set_defaults(run=_info)
    return parser


def _info(options: argparse.Namespace) -> int:
    import fastsoftmax

    fastsoftmax.show_config()
    return OK


def _compare(options: argparse.Namespace) -> int:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise _Failure(f'compare needs {", ".join(missing)}: pip install "fastsoftmax[bench]"')
    if options.axis is not None and options.file is None:
        raise _Failure("--axis goes with a FILE.npy; the built-in inputs have axes of their own")
    if options.json is not None:
        _check_writable(Path(options.json))

    from fastsoftmax.compare import contenders, lab, report, workloads

    try:
        contenders.pin(options.threads)
        methods = None if options.methods is None else options.methods.replace(" ", "").split(",")
        candidates = contenders.contenders(methods)
        inputs: Sequence[workloads.Workload] = workloads.WORKLOADS
        if options.file is not None:
            axis = -1 if options.axis is None else options.axis
            inputs = [workloads.from_file(options.file, axis, options.op)]
        elif options.quick:
            inputs = [workload for workload in inputs if workload.quick]
    except workloads.InputError as error:
        raise _Failure(error) from None

    with _progress() as progress:
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
            lab.run(plan, result, progress)
        except KeyboardInterrupt:
            if not any(table.rows for table in result.tables):
                raise
            result.interrupted = True

    try:
        report.show(result)
    finally:  # also when nobody reads the report to its end
        if options.json is not None:
            _save(result, options.json)
    return INTERRUPTED if result.interrupted else OK


def _seconds(*, quick: bool, own: bool) -> float:
    """Return how long to time a table; all the built-in ones and the rest have to fit into a minute."""
    if quick:
        return 0.1
    return 3.0 if own else 0.7


def _save(result: Result, path: str) -> None:
    """Write the JSON; raise in one line where that fails after all."""
    try:
        result.save(path)
    except OSError as error:
        raise _Failure(f"cannot write {path}: {error.strerror}") from None


def _check_writable(path: Path) -> None:
    """Raise before the work, not after it, if a file cannot be written."""
    if path.is_dir():
        raise _Failure(f"cannot write {path}: it is a folder")
    if not path.absolute().parent.is_dir():
        raise _Failure(f"cannot write {path}: no folder {path.absolute().parent}")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise _Failure(f"cannot write {path}: permission denied")


@contextmanager
def _progress() -> Iterator[Callable[[float, int, str], object]]:
    """Show progress on stderr: a bar on a terminal, else a plain line for each table."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        last = 0

        def plain(done: float, of: int, text: str) -> None:
            nonlocal last
            if last <= done < of:
                last = int(done) + 1
                print(f"[{last}/{of}] {text.partition(':')[0]}", file=sys.stderr, flush=True)

        yield plain
        return

    columns = (BarColumn(30), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console, transient=True) as bar:
        task = bar.add_task("", total=1)
        yield lambda done, of, text: bar.update(task, completed=done / of, description=text)
