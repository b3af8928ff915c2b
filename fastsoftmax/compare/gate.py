"""The gate: is a version slower, or less exact, than another one? Made for noisy machines.

Two processes, one a version, take turns call by call on one CPU, so that both see the same machine; what is judged
are the ratios of neighbouring samples. Three things must agree before a case counts as slower: the interval of the
median ratio, the ratio of the best times, and further rounds in new processes, since where a process happens to lie
in memory is worth some per cent for all its life. Errors need no such care: they are the same every time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from fastsoftmax.compare import exact, gate_child, statistics
from fastsoftmax.compare.workloads import OPS
from fastsoftmax.ladder import RUNGS

Case = dict[str, Any]

SLOWER = 0.10
"""A ratio beyond 1 by more than this counts as slower."""
LESS_EXACT = 0.5
"""ULP that the largest error may grow by."""
MUCH_LESS_EXACT = 0.05
"""Or this share of it, where that is more: the textbook rungs err by millions on some inputs."""
ROUNDS = 3
"""A case is slower only if it is in each of so many rounds."""
PAIRS = 61
_SAMPLE_NS = 1_000_000


def _case(op: str, shape: Sequence[int], dtype: str = "float32", axis: int = -1, **more: Any) -> Case:
    return {"op": op, "shape": list(shape), "dtype": dtype, "axis": axis, "method": "auto"} | more


_OTHERS = tuple(rung for rung in RUNGS if rung.name not in ("auto", "parallel"))  # parallel has auto's kernels

SPEED = (
    _case("softmax", [64, 1000], out=True),
    _case("log_softmax", [64, 1000], out=True),
    _case("logsumexp", [64, 1000]),
    _case("softmax", [64, 1000], "float64", out=True),
    _case("logsumexp", [64, 1000], "float64"),
    _case("softmax", [64, 1000], "float16", out=True),
    _case("softmax", [5000, 10], out=True),
    _case("logsumexp", [5000, 10]),
    _case("softmax", [500, 256], axis=0, out=True),
    _case("logsumexp", [500, 256], axis=0),
    _case("softmax", [1, 1 << 19], out=True),
    _case("softmax", [10]),
    *(_case("softmax", [256, 1000], method=rung.name, out=True) for rung in _OTHERS),
)

ERRORS = tuple(
    _case(op, shape, dtype, axis, method=method, input=values)
    for op in OPS
    for shape, axis in (([64, 1000], -1), ([64, 10], -1), ([200, 64], 0))
    for method, dtype in (
        *(("auto", dtype) for dtype in ("float32", "float64", "float16")),
        *((rung.name, "float32") for rung in _OTHERS if rung.stable),
    )
    for values in ("normal", "wide", "far", "peaked")
)


class Failed(Exception):
    """A version cannot do what it is asked."""


class Version:
    """A process that computes with the package in a folder; a context manager."""

    def __init__(self, folder: Path, cpu: int | None) -> None:
        code = (files("fastsoftmax.compare") / "gate_child.py").read_text("utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=folder,  # where -c looks for packages first
            env=os.environ | {"PYTHONPATH": str(folder), "PYTHONHASHSEED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if cpu is not None:
            os.sched_setaffinity(self._process.pid, {cpu})

    def __enter__(self) -> Version:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def time(self, case: Case, loops: int) -> float:
        """Return the time of a call in ns, averaged over ``loops`` calls."""
        return float(self._ask({"time": case, "loops": loops})["ns"])

    def result(self, case: Case) -> Any:
        """Return what it computes."""
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "result.npy")
            self._ask({"save": case, "to": file})
            return np.load(file)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        except (BrokenPipeError, ValueError):
            raise Failed("the process died") from None
        if "error" in answer:
            raise Failed(answer["error"])
        return answer


@dataclass(frozen=True)
class Finding:
    """What became of one case."""

    name: str
    passed: bool
    text: str


Tell = Callable[[float, int, str], object]


def speed(new: Path, base: Path, tell: Tell = lambda done, of, text: None) -> list[Finding]:
    """Return the findings on speed: all cases once, those that look slower again and again.

    Parameters
    ----------
    new, base : Path
        Folders that hold the package ``fastsoftmax``.
    tell : callable
        Is told (cases done, of how many, what is being done).

    Returns
    -------
    list of Finding
        One a case of `SPEED`; what the base cannot do passes.
    """
    findings: dict[str, Finding] = {}
    suspects: Sequence[Case] = SPEED
    for lap in range(ROUNDS):
        if not suspects:
            break
        cpu = _one_cpu()
        slower = []
        with Version(new, cpu) as ours, Version(base, cpu) as theirs:
            for i, case in enumerate(suspects):
                tell(i, len(suspects), f"speed, round {lap + 1} of {ROUNDS} at most: {name_of(case)}")
                finding, suspicious = _race(case, ours, theirs)
                findings[finding.name] = finding
                if suspicious:
                    slower.append(case)
        suspects = slower
    return list(findings.values())


def _race(case: Case, ours: Version, theirs: Version) -> tuple[Finding, bool]:
    """Return the finding of one round, and whether the case should run again to be sure."""
    name = name_of(case)
    try:
        base = theirs.time(case, 1)
    except Failed as error:
        return Finding(name, True, f"new: the base has no such thing ({error})"), False
    try:
        ours.time(case, 1)
    except Failed as error:
        return Finding(name, False, str(error)), False
    loops = max(1, round(_SAMPLE_NS / max(1.0, min(base, theirs.time(case, 10)))))
    mine: list[float] = []
    other: list[float] = []
    for k in range(PAIRS):
        turns = [(ours, mine), (theirs, other)]
        for version, samples in turns if k % 2 else reversed(turns):
            samples.append(version.time(case, loops))
    slower, text = judge(mine, other)
    return Finding(name, not slower, text), slower


def judge(new: Sequence[float], base: Sequence[float]) -> tuple[bool, str]:
    """Return whether paired samples say that the new version is slower, and the figures.

    Both must: the interval of the median of the ratios lies beyond `SLOWER`, and so does the ratio of the best.
    """
    ratios = (np.asarray(new) / np.asarray(base)).tolist()
    low, high = statistics.median_interval(ratios)
    best = min(new) / min(base)
    slower = low > 1 + SLOWER and best > 1 + SLOWER
    return slower, f"{statistics.median(ratios):.3f} of the base's time ({low:.3f} to {high:.3f}), best {best:.3f}"


def errors(new: Path, base: Path, tell: Tell = lambda done, of, text: None) -> list[Finding]:
    """Return the findings on accuracy: the largest error on each input against exact values, and the base's."""
    findings = []
    with Version(new, None) as ours, Version(base, None) as theirs:
        for i, case in enumerate(ERRORS):
            tell(i, len(ERRORS), f"errors: {name_of(case)}")
            findings.append(judge_errors(name_of(case), _max_ulp(case, ours), _max_ulp(case, theirs)))
    return findings


def judge_errors(name: str, new: float | str, base: float | str) -> Finding:
    """Return the finding for two errors in ULP, or for words on why there is none."""
    if isinstance(base, str):
        return Finding(name, True, f"new: the base has no such thing ({base})")
    if isinstance(new, str):
        return Finding(name, False, new)
    passed = new <= base + max(LESS_EXACT, MUCH_LESS_EXACT * base)
    return Finding(name, passed, f"{new:.2f} ULP, the base {base:.2f}")


def _max_ulp(case: Case, version: Version) -> float | str:
    """Return the largest error, or why there is none."""
    try:
        result = version.result(case)
    except Failed as error:
        return str(error)
    x = gate_child.array(case)
    true = getattr(exact, case["op"])(x, case["axis"])
    if np.shape(result) != np.shape(true) or not np.isfinite(result).all():
        return float("inf")
    floor = 1.0 if case["op"] == "logsumexp" else 0.0
    return float(exact.ulp_error(np.asarray(result), true, floor=floor).max())


def name_of(case: Case) -> str:
    """Return a case in words."""
    shape = " x ".join(map(str, case["shape"]))
    more = ", axis 0" if case["axis"] == 0 else ""
    return f"{case['op']} {case['method']}, {shape} {case['dtype']}{more}" + (
        f", {case['input']}" if "input" in case else ""
    )


def _one_cpu() -> int | None:
    """Return the CPU that both processes share, the last one; None where the system knows no affinity."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
