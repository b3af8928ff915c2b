"""Change the package a little, many times, and see whether the tests notice.

A mutant is a copy of the package with one small change: an operator swapped, a comparison turned, a number one larger
or smaller, a condition negated, a statement dropped. The tests that fit its file run on the copy, up to the first
failure; a mutant that passes them all *survives*. A survivor is either equivalent (no result can tell it from the
original: a prefetch, a size that only costs time) or a gap in the tests.

    python tools/mutate.py                                 # 3 mutants of each file, from seed 0
    python tools/mutate.py --seed 7 --count 20 fastsoftmax/arrays.py fastsoftmax/kernels/rows.py
    python tools/mutate.py fastsoftmax/arrays.py:17        # mutant 17 of that file again, with its diff
    python tools/mutate.py --list fastsoftmax/arrays.py    # all of them, nothing run

Mutants are numbered in the order of the source, so a number means the same until the file is edited. Everything
happens in a temporary folder with a HOME and compiled kernels of its own: not even a mutant of `cache.py` can touch the
user's. The tests must pass there without a mutant first; a mutant may take four times as long as that (a loop without
end counts as killed). Files that compile nothing share one set of kernels, others compile their own: 10 to 60 s each.
The order is the files' in turn, so an interrupted run (Ctrl-C) is a fair sample and still reports its shares.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import difflib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MEMORY = 12 * 2**30  # bytes of addresses for a mutant: one that allocates without end fails early

# Which tests judge which files; the first pattern that fits counts. Kernels are judged by their own way alone: what
# else the tests call would be compiled anew, too.
ARGUMENTS = "tests/test_axes_layouts.py tests/test_out_where_b.py tests/test_types.py tests/test_nonfinite.py"
TESTS = (
    ("fastsoftmax/arrays.py", f"tests/test_choice.py {ARGUMENTS}"),
    ("fastsoftmax/api.py", f"tests/test_package.py tests/test_values.py {ARGUMENTS}"),
    ("fastsoftmax/engine.py", f"tests/test_choice.py tests/test_ways.py {ARGUMENTS}"),
    ("fastsoftmax/steps.py", "tests/test_choice.py tests/test_short_way.py tests/test_axes_layouts.py"),
    ("fastsoftmax/tiles.py", "tests/test_tiles.py tests/test_axes_layouts.py tests/test_out_where_b.py"),
    ("fastsoftmax/layouts.py", "tests/test_choice.py tests/test_short_way.py tests/test_axes_layouts.py"),
    ("fastsoftmax/routes.py", "tests/test_choice.py tests/test_ways.py tests/test_folded_columns.py"),
    ("fastsoftmax/direct.py", "tests/test_short_way.py tests/test_axes_layouts.py tests/test_out_where_b.py"),
    ("fastsoftmax/threads.py", "tests/test_threads_pool.py tests/test_threads.py -k 'pool or set_num or start_value'"),
    ("fastsoftmax/cache.py", "tests/test_cache.py -k 'not clear and not level'"),
    ("fastsoftmax/kernels/narrow.py", "tests/test_ways.py -k narrow"),
    ("fastsoftmax/kernels/tiles.py", "tests/test_ways.py -k narrow"),
    ("fastsoftmax/kernels/short_rows.py", "tests/test_ways.py -k short"),
    ("fastsoftmax/kernels/short_sums.py", "tests/test_ways.py -k short"),
    ("fastsoftmax/kernels/log1p.py", "tests/test_logarithm.py"),
    ("fastsoftmax/kernels/folded_columns.py", "tests/test_folded_columns.py"),
    ("fastsoftmax/kernels/columns.py", "tests/test_ways.py -k columns"),
    ("fastsoftmax/kernels/strips.py", "tests/test_ways.py -k columns"),
    ("fastsoftmax/kernels/long_row.py", "tests/test_ways.py -k long"),
    ("fastsoftmax/kernels/naive.py", "tests/test_ways.py -k naive"),
    ("fastsoftmax/kernels/stable.py", "tests/test_ways.py -k stable"),
    ("fastsoftmax/kernels/online.py", "tests/test_ways.py -k online"),
    ("fastsoftmax/kernels/textbook.py", "tests/test_ways.py -k stable"),
    ("fastsoftmax/kernels/two_pass.py", "tests/test_ways.py -k two_pass"),
    ("fastsoftmax/kernels/weighted.py", "tests/test_out_where_b.py -k weight"),
    ("fastsoftmax/kernels/careful_rows.py", "tests/test_careful_rows.py"),
    ("fastsoftmax/kernels/storage.py", "tests/test_types.py -k half"),
    ("fastsoftmax/kernels/*", "tests/test_ways.py -k rows"),
    ("fastsoftmax/simd/*", "tests/test_simd.py"),
)
COMPILED = ("fastsoftmax/kernels/*", "fastsoftmax/simd/*", "fastsoftmax/jit.py", "fastsoftmax/cache.py")
# Put behind the copy's cache.py: what is not compiled into kernels need not change where they are found.
SAME_KERNELS = "\n\ndef _sources_digest() -> str:\n    return 'whatever is mutated'\n"

SWAPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And, ast.USub: ast.UAdd,
}  # fmt: skip
TURNS: dict[type, type] = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    file: str
    number: int
    line: int
    kind: str
    before: str
    source: str  # of the whole file, changed
    after: str

    def __str__(self) -> str:
        change = f"{_short(self.before)}  ->  {_short(self.after)}"
        return f"{self.file}:{self.number} (line {self.line}, {self.kind}) {change}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 70 else text[:67] + "..."


# -- making mutants -----------------------------------------------------------------------------------------


def mutants(file: str) -> list[Mutant]:
    """Return every mutant of a file, in the order of its source."""
    source = (ROOT / file).read_text()
    found = []
    for node, kind, text in _changes(ast.parse(source)):
        before, changed = _replaced(source, node, text)
        with contextlib.suppress(SyntaxError):
            ast.parse(changed)
            found.append(Mutant(file, len(found), node.lineno, kind, before, changed, text))
    return found


def _changes(tree: ast.AST) -> Iterator[tuple[ast.AST, str, str]]:
    """Yield (node, kind of change, text in its place), depth first, leaving out annotations and docstrings."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.AST):
                yield from _changes_of(node)
                yield from _changes(node)


def _changes_of(node: ast.AST) -> Iterator[tuple[ast.AST, str, str]]:
    if isinstance(node, (ast.BinOp, ast.BoolOp, ast.UnaryOp)) and type(node.op) in SWAPS:
        yield node, "operator", _unparsed(node, op=SWAPS[type(node.op)]())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node, "operator", f"({ast.unparse(node.operand)})"
    if isinstance(node, ast.AugAssign) and type(node.op) in SWAPS:
        yield node, "operator", _unparsed(node, op=SWAPS[type(node.op)]())[1:-1]
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for table in (SWAPS, TURNS):
                if type(op) in table:
                    ops = [*node.ops[:i], table[type(op)](), *node.ops[i + 1 :]]
                    yield node, "comparison", _unparsed(node, ops=ops)
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield node, "constant", repr(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        for value in (node.value + 1, node.value - 1):
            if value != node.value:
                yield node, "constant", f"({value!r})"
    if isinstance(node, (ast.If, ast.IfExp, ast.While)) and not isinstance(node.test, (ast.Compare, ast.Constant)):
        yield node.test, "condition", f"(not ({ast.unparse(node.test)}))"
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    if isinstance(node, (ast.Expr, ast.Assign, ast.AugAssign, ast.Continue, ast.Break, ast.Raise)) and not is_text:
        yield node, "dropped", "pass"


def _unparsed(node: ast.AST, **changes: object) -> str:
    changed = copy.copy(node)
    for name, value in changes.items():
        setattr(changed, name, value)
    return f"({ast.unparse(changed)})"


def _replaced(source: str, node: ast.AST, text: str) -> tuple[str, str]:
    """Return what stood in a node's place and the source with `text` there. Columns are counted in bytes."""
    lines = source.encode().splitlines(keepends=True)
    first = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    last = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    raw = source.encode()
    return raw[first:last].decode(), (raw[:first] + text.encode() + raw[last:]).decode()


# -- running them -------------------------------------------------------------------------------------------


def tests_of(file: str) -> str:
    """Return the arguments for pytest that judge a file."""
    return next(tests for pattern, tests in TESTS if fnmatch(file, pattern))


class Laboratory:
    """A scratch copy of the tree, in which one mutant lives at a time."""

    def __init__(self, scratch: Path) -> None:
        self.tree, self.scratch = scratch / "tree", scratch
        for part in ("fastsoftmax", "tests"):
            shutil.copytree(ROOT / part, self.tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("pyproject.toml", "README.md", "CHANGELOG.md"):
            shutil.copy(ROOT / part, self.tree)
        self.originals = Path(shutil.copytree(self.tree / "fastsoftmax", scratch / "originals" / "fastsoftmax")).parent
        self._seconds: dict[tuple[str, bool], float] = {}

    def limit(self, file: str, least: float) -> float:
        """Return the time limit for the mutants of a file, from a run of its tests without any."""
        key = tests_of(file), _is_compiled(file)
        if key not in self._seconds:
            began = time.monotonic()
            status, output = self._run(file, None, 1800)
            if status != 0:
                raise SystemExit(f"the tests of {file} fail without a mutant:\n{output}")
            self._seconds[key] = time.monotonic() - began
        return max(least, 4 * self._seconds[key])

    def survives(self, mutant: Mutant, limit: float) -> bool:
        """Tell whether the tests pass on a mutant."""
        return self._run(mutant.file, mutant.source, limit)[0] == 0

    def _run(self, file: str, source: str | None, limit: float) -> tuple[int | None, str]:
        original = (self.originals / file).read_text()
        cache = self.tree / "fastsoftmax" / "cache.py"
        kernels = self.scratch / ("own kernels" if _is_compiled(file) else "kernels")
        try:
            if not _is_compiled(file):
                cache.write_text((self.originals / "fastsoftmax/cache.py").read_text() + SAME_KERNELS)
            if source is not None:
                (self.tree / file).write_text(source)
            return self._pytest(tests_of(file), kernels, limit)
        finally:
            shutil.copy(self.originals / "fastsoftmax/cache.py", cache)
            (self.tree / file).write_text(original)
            shutil.rmtree(self.scratch / "own kernels", ignore_errors=True)

    def _pytest(self, tests: str, kernels: Path, limit: float) -> tuple[int | None, str]:
        home = self.scratch / "home"
        home.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.tree),
            "PYTHONDONTWRITEBYTECODE": "1",
            "FASTSOFTMAX_CACHE_DIR": str(kernels),
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home),
            "TMPDIR": str(home),
        }
        command = f"{sys.executable} -m pytest -x -q -p no:cacheprovider --basetemp={home}/pytest {tests}"
        process = subprocess.Popen(
            ["bash", "-c", command], cwd=self.tree, env=environment, start_new_session=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        )  # fmt: skip
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            return None, "no end"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return process.returncode, output


def _is_compiled(file: str) -> bool:
    return any(fnmatch(file, pattern) for pattern in COMPILED)


# -- the command --------------------------------------------------------------------------------------------


def chosen(names: list[str], count: int, seed: int) -> list[Mutant]:
    """Return the mutants that were named, and `count` of each file that was, a file's in turn with the others'."""
    turns: list[list[Mutant]] = []
    for name in names or sorted(_files()):
        file, _, number = name.partition(":")
        found = mutants(file)
        if number:
            turns.append([found[int(number)]])
        else:
            rng = random.Random(f"{seed} {file}")
            turns.append(rng.sample(found, min(count, len(found))))
    longest = max(map(len, turns), default=0)
    return [turn[i] for i in range(longest) for turn in turns if i < len(turn)]


def _files() -> Iterator[str]:
    for path in (ROOT / "fastsoftmax").rglob("*.py"):
        file = path.relative_to(ROOT).as_posix()
        if any(fnmatch(file, pattern) for pattern, _ in TESTS) and mutants(file):
            yield file


def report(outcomes: dict[str, list[bool]], survivors: list[Mutant]) -> None:
    """Print the share killed by file, and the survivors."""
    print(f"\n{'file':44} {'mutants':>8} {'killed':>7}")
    for file, lived in sorted(outcomes.items()):
        print(f"{file:44} {len(lived):8} {1 - sum(lived) / len(lived):7.0%}")
    count, alive = sum(map(len, outcomes.values())), sum(map(sum, outcomes.values()))
    if count:
        print(f"{'all':44} {count:8} {1 - alive / count:7.0%}")
    print("\nSurvivors:" if survivors else "\nNo survivors.")
    for mutant in survivors:
        print(" ", mutant)


def main() -> None:
    """Run the mutants that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE[:NUMBER]", help="default: all that tests are known for")
    parser.add_argument("--count", type=int, default=3, help="mutants a file (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice (default: 0)")
    parser.add_argument("--time-limit", type=float, default=60, help="least time for a mutant, in s (default: 60)")
    parser.add_argument("--list", action="store_true", help="list all mutants of the files, and run none")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # in the background, too
        signal.signal(number, signal.default_int_handler)
    if options.list:
        for file in options.files or sorted(_files()):
            print(*mutants(file), sep="\n")
        return
    outcomes: dict[str, list[bool]] = defaultdict(list)
    survivors = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch, contextlib.suppress(KeyboardInterrupt):
        laboratory = Laboratory(Path(scratch))
        for mutant in chosen(options.files, options.count, options.seed):
            limit = laboratory.limit(mutant.file, options.time_limit)
            began = time.monotonic()
            lives = laboratory.survives(mutant, limit)
            print(f"{'SURVIVED' if lives else 'killed'} {time.monotonic() - began:4.0f} s  {mutant}", flush=True)
            outcomes[mutant.file].append(lives)
            if lives:
                survivors.append(mutant)
                before = (ROOT / mutant.file).read_text().splitlines()
                print(*difflib.unified_diff(before, mutant.source.splitlines(), lineterm="", n=1), sep="\n")
    report(outcomes, survivors)


if __name__ == "__main__":
    main()
