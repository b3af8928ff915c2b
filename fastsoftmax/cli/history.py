"""``fastsoftmax history``: asv's results for the last commits that have none yet, and pages of them."""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastsoftmax.cli.common import FAILED, OK, Failure, git, need, progress, repository

NEEDED = ("asv", "rich", "virtualenv")
_PERCENT = re.compile(r"^\[\s*([\d.]+)%\]")


def add_to(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    command = commands.add_parser(
        "history",
        help="measure the last commits with asv, and make pages of all results",
        description="Measure those of the last commits that have no result on this machine yet, the newest first, each "
        "in an environment of its own, and publish all results as pages. Interrupted, it goes on with the commit that "
        "it was at. To be run in a clone of the project.",
    )
    command.add_argument("commits", nargs="?", type=int, default=5, metavar="N", help="how many commits (default: 5)")
    command.add_argument("--bench", metavar="REGEX", help="benchmarks whose names match, as in ratios|accuracy")
    command.add_argument("--here", action="store_true", help="only the last commit, in the current environment")
    command.add_argument("--open", action="store_true", help="serve the pages and open a browser")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Record, publish, and name the pages or open them."""
    need("history", NEEDED)
    root = repository("asv.conf.json")
    if options.commits < 1:
        raise Failure(f"{options.commits} commits are none: give at least 1")
    if options.here and git(root, "status", "--porcelain", "--untracked-files=no"):
        raise Failure(
            "--here measures what is installed: commit your changes first, or they are taken for the last commit"
        )
    recorder = Recorder(root, options.bench, here=options.here)
    chosen = git(root, "rev-list", "--first-parent", f"-n{1 if options.here else options.commits}", "HEAD").split()

    failed = recorder.record(chosen)
    page = recorder.publish()
    print(f"Pages: {page}\nTo see them: asv preview (in {root}; a browser loads their scripts from the web)")
    if options.open:
        _call(root, ["preview", "--browser"], lambda line: None)
    return FAILED if failed else OK


class Recorder:
    """Runs asv for commits that lack results.

    Parameters
    ----------
    root : Path
        The repository, with its ``asv.conf.json``.
    bench : str or None
        Benchmarks whose names match; None for all.
    here : bool
        Whether to measure in the current environment, instead of one built for the commit.
    """

    def __init__(self, root: Path, bench: str | None, *, here: bool = False) -> None:
        self.root, self.bench, self.here = root, bench, here
        configuration = _configuration(root)
        self.results = root / str(configuration.get("results_dir", "results"))
        self.html = root / str(configuration.get("html_dir", "html"))

    def record(self, commits: Sequence[str]) -> list[str]:
        """Measure those of the commits that lack results; return the ones that asv could not measure."""
        if not (Path.home() / ".asv-machine.json").exists():
            _call(self.root, ["machine", "--yes"], lambda line: None)
        failed: list[str] = []
        skipped = 0
        with progress() as tell:
            for i, commit in enumerate(commits):
                title = f"{commit[:8]} {git(self.root, 'log', '-1', '--format=%s', commit)}"
                if self.is_recorded(commit):
                    skipped += 1
                    continue
                tell(i, len(commits), title)

                def see(line: str, i: int = i, title: str = title) -> None:
                    if found := _PERCENT.match(line):
                        tell(i + min(float(found[1]) / 100, 0.99), len(commits), f"{title}: {found[1]} %")

                if _call(self.root, self._arguments(commit), see):
                    failed.append(commit)
            tell(len(commits), len(commits), "done")
        print(f"{len(commits) - skipped - len(failed)} of {len(commits)} commits measured, {skipped} had results")
        for commit in failed:
            print(f"asv could not measure {commit[:8]}; see {self.log}", file=sys.stderr)
        return failed

    def is_recorded(self, commit: str) -> bool:
        """Tell whether this machine has a result of each chosen benchmark for a commit."""
        try:
            known = json.loads((self.results / "benchmarks.json").read_text("utf-8"))
        except (OSError, ValueError):
            return False
        wanted = {name for name in known if name != "version" and (not self.bench or re.search(self.bench, name))}
        paths = self.results.glob(f"{platform.node()}/{commit[:8]}-*.json")
        found = set().union(*map(_benchmarks_in, paths))
        return bool(wanted) and wanted <= found

    def publish(self) -> Path:
        """Make the pages of all results and return the first one."""
        if _call(self.root, ["publish"], lambda line: None):
            raise Failure(f"asv publish failed; see {self.log}")
        return self.html / "index.html"

    @property
    def log(self) -> Path:
        """Where the output of asv's last run is."""
        return _log(self.root)

    def _arguments(self, commit: str) -> list[str]:
        arguments = ["run", "--skip-existing"]
        if self.bench:
            arguments += ["--bench", self.bench]
        if self.here:
            return [*arguments, "--python=same", "--set-commit-hash", commit]
        return [*arguments, f"{commit}^!"]


def _benchmarks_in(path: Path) -> set[str]:
    """Return the names of the benchmarks with a result in a file; none if it was cut short."""
    try:
        return set(json.loads(path.read_text("utf-8"))["results"])
    except (OSError, ValueError, KeyError):
        return set()


def _log(root: Path) -> Path:
    return root / ".asv" / "history.log"


def _call(root: Path, arguments: Sequence[str], see: Callable[[str], object]) -> int:
    """Run asv, show every line to ``see`` and keep it in the log; return the exit status."""
    log = _log(root)
    log.parent.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "asv", *arguments],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        with process, log.open("w", encoding="utf-8") as file:
            for line in process.stdout or ():
                file.write(line)
                see(line)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    return process.returncode


def _configuration(root: Path) -> dict[str, Any]:
    """Read asv's configuration: JSON with comments on lines of their own."""
    text = (root / "asv.conf.json").read_text("utf-8")
    try:
        found: dict[str, Any] = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    except ValueError as error:
        raise Failure(f"cannot read {root / 'asv.conf.json'}: {error}") from None
    return found
