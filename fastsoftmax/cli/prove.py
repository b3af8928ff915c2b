"""``fastsoftmax prove``: how far e^x errs, by trying every float32 and very many float64."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastsoftmax.cli.common import FAILED, OK, Failure, check_writable, need, progress, write

if TYPE_CHECKING:
    from fastsoftmax.compare.proof import Finding

NEEDED = ("rich",)


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    command = commands.add_parser(
        "prove",
        help="the largest error of e^x: every float32, and very many float64",
        description="Try e^x, as all kernels compute it, at every float32 in its range, which proves its error bound, "
        "and at many float64. Exit status 1 if an error is over the bound of 1 ULP.",
    )
    command.add_argument("--stride", type=int, default=1, metavar="N", help="one float32 in N (default: 1, all)")
    command.add_argument(
        "--count", type=int, default=10**8, metavar="N", help="random float64 numbers (default: 100 million)"
    )
    command.add_argument("--seed", type=int, default=0, help="of the random numbers (default: 0)")
    command.add_argument("--json", metavar="FILE", help="write what was found there too")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Try all arguments and say what was found."""
    need("prove", NEEDED)
    for name in ("stride", "count"):
        if getattr(options, name) < 1:
            raise Failure(f"--{name} must be 1 or more, not {getattr(options, name)}")
    if options.json is not None:
        check_writable(Path(options.json))

    from fastsoftmax.compare import proof

    with progress() as tell:
        findings = [
            proof.every_float32(options.stride, lambda done: tell(min(done, 0.99), 2, "float32")),
            proof.many_float64(options.count, options.seed, lambda done: tell(1 + done, 2, "float64")),
        ]
    for finding in findings:
        print(sentences(finding))
    if options.json is not None:
        write(json.dumps([finding.record() for finding in findings], indent=1) + "\n", options.json)
    return OK if all(finding.holds for finding in findings) else FAILED


def sentences(finding: Finding) -> str:
    """Say what was found."""
    verdict = "" if finding.holds else "NOT within the bound: "
    lines = [
        f"{finding.dtype}: {verdict}e^x errs by {finding.worst_ulp:.4f} ULP at most, at x = {finding.worst_at!r};",
        f"  in two parts, as sums take it, by 2^{finding.parts_bits:.2f} at most.",
    ]
    if finding.falls is not None:
        lines.append(f"  Neighbours x < y with e^x > e^y, by one ULP: {finding.falls}.")
    lines.append(f"  Tried: {finding.tried:,} ({finding.arguments}), in {finding.seconds:.1f} s.")
    return "\n".join(lines)
