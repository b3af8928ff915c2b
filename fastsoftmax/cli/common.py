"""What the commands share: exit statuses, failures of one line, progress."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class Failure(Exception):
    """One clear line for the user, and exit status 2."""


def need(command: str, modules: Sequence[str]) -> None:
    """Raise if modules that a command cannot do without are missing; all of them come with the bench extra."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise Failure(f'{command} needs {", ".join(missing)}: pip install "fastsoftmax[bench]"')


def split_names(text: str | None) -> list[str] | None:
    """Return the names in a text like "stable,auto"; None for None."""
    return None if text is None else text.replace(" ", "").split(",")


def check_writable(path: Path) -> None:
    """Raise before the work, not after it, if a file cannot be written."""
    if path.is_dir():
        raise Failure(f"cannot write {path}: it is a folder")
    if not path.absolute().parent.is_dir():
        raise Failure(f"cannot write {path}: no folder {path.absolute().parent}")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise Failure(f"cannot write {path}: permission denied")


def write(text: str, path: str) -> None:
    """Write a file; raise in one line where that fails after all."""
    try:
        Path(path).write_text(text, "utf-8")
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}") from None


def repository(landmark: str) -> Path:
    """Return the root of the project's repository that the user stands in, known by a file; raise if it is none."""
    try:
        root = Path(git(Path.cwd(), "rev-parse", "--show-toplevel"))
    except FileNotFoundError:
        raise Failure("git is not installed, and this command needs it") from None
    except subprocess.CalledProcessError:
        raise Failure("there is no git repository here: run this in a clone of the project") from None
    if not (root / landmark).exists():
        raise Failure(f"{root} has no {landmark}: run this in a clone of the project")
    try:
        git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    except subprocess.CalledProcessError:
        raise Failure(f"{root} has no commit yet") from None
    return root


def git(folder: Path, *arguments: str) -> str:
    """Return what a git command in a folder prints; raise CalledProcessError if it fails."""
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@contextmanager
def progress() -> Iterator[Callable[[float, int, str], object]]:
    """Show progress on stderr: a bar on a terminal, else plain lines, a score at most."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        last = 0

        def plain(done: float, of: int, text: str) -> None:
            nonlocal last
            if last <= done < of:
                print(f"[{int(done) + 1}/{of}] {text.partition(':')[0]}", file=sys.stderr, flush=True)
                last = int(done) + max(1, of // 20)

        yield plain
        return

    columns = (BarColumn(30), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console, transient=True) as bar:
        task = bar.add_task("", total=1)
        yield lambda done, of, text: bar.update(task, completed=done / of, description=text)
