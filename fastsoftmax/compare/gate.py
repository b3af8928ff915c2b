"""The gate: is a version slower, or less exact, than another one? Made for noisy machines.

Two processes, one a version, take turns call by call on one CPU, so that both see the same machine; what is judged
are the ratios of neighbouring samples. What looks slower is run again, in new processes, since where a process happens
to lie in memory is worth some per cent for all its life; the ratios of all rounds decide together, as soon as the
interval of their median leaves no doubt. Errors need no such care: they are the same every time.
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
from threading import Timer
from types import TracebackType
from typing import Any

import numpy as np

from fastsoftmax.compare import exact, gate_child, statistics
from fastsoftmax.compare.workloads import OPS
from fastsoftmax.ladder import RUNGS

Case = dict[str, Any]

SLOWER = 0.08
"""A median ratio beyond 1 by more than this counts as slower; by half of it, it is looked at again."""
LESS_EXACT = 0.5
"""ULP that the largest error may grow by."""
MUCH_LESS_EXACT = 0.05
"""Or this share of it, where that is more: the textbook rungs err by millions on some inputs."""
LEAST_ROUNDS, MOST_ROUNDS = 3, 6
"""Rounds before a case may count as slower, and after which it must be decided."""
PATIENCE = 300.0
"""Seconds for one answer, compiling included; a version that takes longer hangs."""
PAIRS = 101
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
    _case("softmax", [1000, 128], out=True),
    _case("log_softmax", [1000, 128], out=True),
    _case("softmax", [500, 250], axis=0, out=True),  # with 256 it depends much on where memory happens to be
    _case("log_softmax", [20, 10_000], axis=0, out=True),
    _case("logsumexp", [500, 256], axis=0),
    _case("softmax", [10_000, 10], axis=0, out=True),
    _case("softmax", [200_000, 5], axis=0, out=True),
    _case("softmax", [1, 1 << 19], out=True),
    _case("softmax", [5000, 1000]),
    _case("log_softmax", [5000, 1000]),
    _case("softmax", [40_000, 128]),
    _case("softmax", [10]),
    _case("softmax", [64, 1000], form="sliced"),
    _case("softmax", [64, 1000], form="strided"),
    _case("softmax", [64, 1000], form="masked"),
    _case("softmax", [500, 256], axis=0, form="masked"),
    _case("logsumexp", [64, 1000], form="weighted"),
    *(_case("softmax", [256, 1000], method=rung.name, out=True) for rung in _OTHERS),
)

ERRORS = tuple(
    _case(op, shape, dtype, axis, method=method, input=values)
    for op in OPS
    for shape, axis in (
        ([64, 1000], -1),
        ([64, 100], -1),
        ([64, 10], -1),
        ([300, 64], 0),
        ([20, 64], 0),
        ([999, 10], 0),
    )
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
        guard = Timer(PATIENCE, self._process.kill)
        guard.start()
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        except (BrokenPipeError, ValueError):
            hung = not guard.is_alive()
            raise Failed(f"no answer within {PATIENCE:.0f} s" if hung else "the process died") from None
        finally:
            guard.cancel()
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
    ratios: dict[str, list[float]] = {name_of(case): [] for case in SPEED}
    suspects: Sequence[Case] = SPEED
    for lap in range(1, MOST_ROUNDS + 1):
        if not suspects:
            break
        cpu = _one_cpu()
        undecided = []
        with Version(new, cpu) as ours, Version(base, cpu) as theirs:
            for i, case in enumerate(suspects):
                name = name_of(case)
                tell(i, len(suspects), f"speed, round {lap}: {name}")
                try:
                    ratios[name] += _pairs(case, ours, theirs)
                except Unmeasured as reason:
                    findings[name] = Finding(name, reason.passed, str(reason))
                    continue
                verdict = judge(ratios[name], lap)
                findings[name] = Finding(name, not verdict, describe(ratios[name], lap))
                if verdict is None:
                    undecided.append(case)
        suspects = undecided
    return list(findings.values())


class Unmeasured(Exception):
    """A case has no ratio: ``passed`` if that is the base's fault."""

    def __init__(self, text: str, *, passed: bool) -> None:
        super().__init__(text)
        self.passed = passed


def _pairs(case: Case, ours: Version, theirs: Version) -> list[float]:
    """Return ratios of neighbouring samples, ours over theirs."""
    try:
        base = theirs.time(case, 1)
    except Failed as error:
        raise Unmeasured(f"new: the base has no such thing ({error})", passed=True) from None
    try:
        ours.time(case, 1)
        loops = max(1, round(_SAMPLE_NS / min(base, theirs.time(case, 10))))
        pairs = []
        for k in range(PAIRS):
            first, second = (ours, theirs) if k % 2 else (theirs, ours)
            one, other = first.time(case, loops), second.time(case, loops)
            pairs.append(one / other if first is ours else other / one)
    except Failed as error:
        raise Unmeasured(str(error), passed=False) from None
    return pairs


def judge(ratios: Sequence[float], rounds: int) -> bool | None:
    """Return whether the ratios of so many rounds say that the new version is slower; None if more are needed."""
    middle = statistics.median(ratios)
    if middle <= 1 + SLOWER / 2:
        return False
    if rounds < LEAST_ROUNDS:
        return None
    low, _ = statistics.median_interval(ratios)
    if middle <= 1 + SLOWER:
        return False
    return True if low > 1 + SLOWER or rounds >= MOST_ROUNDS else None


def describe(ratios: Sequence[float], rounds: int) -> str:
    """Return the figures of a verdict."""
    low, high = statistics.median_interval(ratios)
    often = "one round" if rounds == 1 else f"{rounds} rounds"
    return f"{statistics.median(ratios):.3f} of the base's time ({low:.3f} to {high:.3f} in {often})"


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
    return float(exact.ulp_error(np.asarray(result), true, near_zero=exact.NEAR_ZERO[case["op"]]).max())


def name_of(case: Case) -> str:
    """Return a case in words."""
    shape = " x ".join(map(str, case["shape"]))
    more = [", axis 0"] if case["axis"] == 0 else []
    more += [f", {case[key]}" for key in ("form", "input") if key in case]
    return f"{case['op']} {case['method']}, {shape} {case['dtype']}{''.join(more)}"


def _one_cpu() -> int | None:
    """Return the CPU that both processes share, the last one; None where the system knows no affinity."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
