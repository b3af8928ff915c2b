"""``fastsoftmax accuracy``: the errors of all implementations."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fastsoftmax.cli.common import INTERRUPTED, OK, Failure, check_writable, need, progress, split_names, write

NEEDED = ("scipy", "mpmath", "rich", "threadpoolctl")
DTYPES = ("float32", "float64", "float16")


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    command = commands.add_parser(
        "accuracy",
        help="the errors of all implementations, in ULP against exact values",
        description="Compare all rungs, NumPy, SciPy and those of torch, jax and onnxruntime that are installed with "
        "exact values, on families of rows that are hard for one or the other: largest and mean errors in ULP.",
    )
    command.add_argument(
        "--op", choices=("softmax", "log_softmax", "logsumexp"), help="one function only (default: all three)"
    )
    command.add_argument("--dtype", choices=DTYPES, help="one type only (default: float32 and float64)")
    command.add_argument("--methods", metavar="A,B", help="these rungs only, as in stable,auto (default: all)")
    command.add_argument("--json", metavar="FILE", help="write the result there too")
    command.add_argument("--plot", metavar="FILE", help="draw errors against scale and length there: .svg, .png, .pdf")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look at all errors, show them, and keep them where that is asked for."""
    need("accuracy", NEEDED + (("matplotlib",) if options.plot is not None else ()))
    for path in (options.json, options.plot):
        if path is not None:
            check_writable(Path(path))
    if options.plot is not None and Path(options.plot).suffix not in (".svg", ".png", ".pdf"):
        raise Failure(f"cannot draw {options.plot}: its name must end in .svg, .png or .pdf")

    from fastsoftmax.compare import contenders, error_plot, error_report, lab, survey, workloads

    try:
        able, skipped = contenders.installed(contenders.contenders(split_names(options.methods)))
    except workloads.InputError as error:
        raise Failure(error) from None
    result = lab.new_result(lab.Plan([], able), skipped)
    dtypes = [options.dtype] if options.dtype else ["float32", "float64"]
    ops = [options.op] if options.op else workloads.OPS
    with progress() as tell:
        try:
            survey.run(able, dtypes, ops, result, tell)
        except KeyboardInterrupt:
            if not result.tables:
                raise
            result.interrupted = True
    try:
        error_report.show(result)
    finally:  # also when nobody reads the report to its end
        if options.json is not None:
            write(result.to_json(), options.json)
        if options.plot is not None:
            error_plot.draw(result, options.plot)
    return INTERRUPTED if result.interrupted else OK
