"""``fastsoftmax gate``: whether a change makes the package slower or less exact than its base."""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastsoftmax.cli.common import FAILED, OK, Failure, git, need, progress, repository

NEEDED = ("scipy", "rich")
# What decides speed and errors: the package without the comparison and the command line.
_MEASURED = ("fastsoftmax", ":!fastsoftmax/compare", ":!fastsoftmax/cli")


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    command = commands.add_parser(
        "gate",
        help="fail if a change is slower or less exact than its base",
        description="Compare the working tree with a base, side by side: time by turns on one CPU, errors against "
        "exact values. Exit status 1 if anything is over 8 % slower in the median, or errs by over half an ULP "
        "more. To be run in a clone of the project.",
    )
    command.add_argument("base", nargs="?", metavar="BASE", help="a commit (default: HEAD if files differ, else HEAD^)")
    command.add_argument("--always", action="store_true", help="measure even if nothing that is measured has changed")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare, and say what is worse."""
    need("gate", NEEDED)
    root = repository("fastsoftmax/__init__.py")
    base = options.base or ("HEAD" if _differs(root, "HEAD") else "HEAD^")
    try:
        commit = git(root, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}")
    except subprocess.CalledProcessError:
        if options.base is not None:
            raise Failure(f"{options.base} is no commit of {root}") from None
        print("gate: skipped, there is no previous commit here to compare with")
        return OK
    if not _differs(root, commit) and not options.always:
        print(f"gate: passed, nothing that is measured differs from {commit[:8]}")
        return OK

    from fastsoftmax.compare import gate

    with _checked_out(root, commit) as folder, progress() as tell:
        speed, errors = gate.speed(root, folder, tell), gate.errors(root, folder, tell)
    findings = [*speed, *errors]
    for finding in [*speed, *(finding for finding in errors if not finding.passed)]:
        print(f"{'ok    ' if finding.passed else 'WORSE '}{finding.name}: {finding.text}")
    worse = sum(not finding.passed for finding in findings)
    print(f"gate: {f'failed, {worse}' if worse else 'passed, none'} of {len(findings)} worse than {commit[:8]}")
    return FAILED if worse else OK


def _differs(root: Path, commit: str) -> bool:
    """Tell whether the working tree differs from a commit in what is measured."""
    done = subprocess.run(["git", "diff", "--quiet", commit, "--", *_MEASURED], cwd=root, check=False)
    return done.returncode != 0 or bool(git(root, "ls-files", "--others", "--exclude-standard", "--", *_MEASURED))


@contextmanager
def _checked_out(root: Path, commit: str) -> Iterator[Path]:
    """Yield a temporary folder that holds a commit."""
    with tempfile.TemporaryDirectory(prefix="fastsoftmax-gate-") as scratch:
        folder = Path(scratch) / "base"
        git(root, "worktree", "add", "--detach", "--quiet", str(folder), commit)
        try:
            yield folder
        finally:
            git(root, "worktree", "remove", "--force", str(folder))
