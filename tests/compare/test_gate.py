"""The gate's judgement, on made-up samples; its processes, on made-up packages. No clock decides anything here."""

import numpy as np
import pytest

from fastsoftmax.compare import gate
from fastsoftmax.compare.gate import Failed, Version

PACKAGE = """
import numpy as np

def set_num_threads(n):
    pass

def log_softmax(x, axis, method, out=None):
    w = x.astype(np.longdouble)
    w = w - w.max(axis=axis, keepdims=True)
    result = (w - np.log(np.exp(w).sum(axis=axis, keepdims=True))).astype(x.dtype)
    return result

def softmax(x, axis, method, out=None):
    w = x.astype(np.longdouble)
    w = np.exp(w - w.max(axis=axis, keepdims=True))
    result = (w / w.sum(axis=axis, keepdims=True)).astype(x.dtype)
    return result
"""
CASE = gate._case("softmax", [8, 10], input="normal")


@pytest.fixture
def package(tmp_path):
    """Return a maker of folders with a package that computes exactly, but for an edit."""

    def make(name, old="", new=""):
        assert old in PACKAGE
        folder = tmp_path / name / "fastsoftmax"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(PACKAGE.replace(old, new) if old else PACKAGE)
        return folder.parent

    return make


def round_of(rng, factor=1.0):
    """Return ratios of a busy machine: interruptions on one side or the other, and a place in memory worth 4 %."""

    def side():
        interrupted = rng.random(gate.PAIRS) < 0.2
        return (1 + 0.2 * rng.standard_exponential(gate.PAIRS)) * np.where(interrupted, 3.0, 1.0)

    return list(factor * rng.normal(1, 0.04) * side() / side())


def verdict(rng, factor):
    """Return what the gate says after as many rounds as it takes, and how many these were."""
    ratios = []
    for rounds in range(1, gate.MOST_ROUNDS + 1):
        ratios += round_of(rng, factor)
        slower = gate.judge(ratios, rounds)
        if slower is not None:
            return slower, rounds
    raise AssertionError("no verdict")


def test_thirty_per_cent_is_always_noticed(rng):
    assert all(verdict(rng, 1.3)[0] for _ in range(100))


def test_the_same_is_not_slower(rng):
    found = [verdict(rng, 1.0) for _ in range(200)]
    assert sum(slower for slower, _ in found) <= 1  # a run of sixteen such cases passes nine times of ten, or more
    assert np.mean([rounds for _, rounds in found]) < 2


def test_a_doubt_is_looked_at_again_and_settled():
    steady = [1.3] * gate.PAIRS
    assert [gate.judge(steady * k, k) for k in (1, 2, 3)] == [None, None, True]
    assert gate.judge([1.06] * 3 * gate.PAIRS, 3) is False
    doubtful = [1.0] * 20 + [1.12] * 2 + [1.3] * 20
    assert [gate.judge(doubtful, k) for k in (3, 6)] == [None, True]
    assert gate.judge([1.5] * gate.PAIRS + [1.0] * 2 * gate.PAIRS, 3) is False  # one unlucky process of three
    assert "1.060 of the base's time (1.060 to 1.060 in 3 rounds)" in gate.describe([1.06] * 9, 3)


@pytest.mark.parametrize(
    ("new", "base", "passed"),
    [
        (1.9, 1.42, True),
        (1.95, 1.42, False),
        (4.4, 1.4, False),
        (0.5, 9.0, True),
        (1.03e6, 1e6, True),
        (1.1e6, 1e6, False),
        (float("inf"), 1.0, False),
        (float("inf"), float("inf"), True),
        (1.0, "no such method", True),
        ("it broke", 1.0, False),
    ],
)
def test_errors_may_grow_by_half_an_ulp(new, base, passed):
    assert gate.judge_errors("x", new, base).passed == passed


def test_three_ulp_more_are_noticed_whatever_the_input(package, monkeypatch):
    exactly = "(w / w.sum(axis=axis, keepdims=True)).astype(x.dtype)"
    worse = package("worse", exactly, f"{exactly}; result += 3 * np.spacing(result)")
    base = package("base")
    cases = [case for case in gate.ERRORS if case["op"] == "softmax" and case["dtype"] != "float16"]
    monkeypatch.setattr(gate, "ERRORS", cases[::3])
    found = gate.errors(worse, base)
    assert len(found) == len(cases[::3])
    assert not any(finding.passed for finding in found)
    assert all(finding.passed for finding in gate.errors(base, base))


def test_a_result_that_is_no_result_is_infinitely_wrong(package, monkeypatch):
    nan = package("nan", "return result\n\ndef softmax", "return result * np.nan\n\ndef softmax")
    monkeypatch.setattr(gate, "ERRORS", [CASE | {"op": "log_softmax"}])
    (found,) = gate.errors(nan, package("base"))
    assert not found.passed
    assert found.text.startswith("inf ULP")


def test_what_only_one_side_can_do(package, monkeypatch):
    monkeypatch.setattr(gate, "SPEED", [CASE])
    with_it, without = package("with"), package("without", "def softmax", "def soft_max")
    (found,) = gate.speed(with_it, without)
    assert found.passed
    assert "the base has no such thing" in found.text
    (found,) = gate.speed(without, with_it)
    assert not found.passed
    assert "AttributeError" in found.text


def test_a_process_that_dies_is_a_failure(package):
    deadly = package(
        "deadly", "def softmax(x, axis, method, out=None):", "def softmax(*a, **k):\n    import os; os._exit(1)"
    )
    with Version(deadly, None) as version, pytest.raises(Failed, match="the process died"):
        version.time(CASE, 1)


def test_a_process_that_hangs_is_a_failure(package, monkeypatch):
    monkeypatch.setattr(gate, "PATIENCE", 2.0)
    hung = package(
        "hung", "def softmax(x, axis, method, out=None):", "def softmax(*a, **k):\n    import time; time.sleep(99)"
    )
    with Version(hung, None) as version, pytest.raises(Failed, match="no answer within 2 s"):
        version.time(CASE, 1)


def test_both_sides_see_the_same_input_and_time_something(package):
    with Version(package("one"), gate._one_cpu()) as version:
        result = version.result(CASE)
        assert version.time(CASE, 3) > 0
    np.testing.assert_allclose(result, gate.exact.softmax(gate.gate_child.array(CASE)), rtol=1e-6)


def test_only_what_is_slow_in_every_round_is_slower(monkeypatch):
    class Played:
        """Plays a process: "steady" is 30 % slower, "lucky" only in the first round."""

        started = 0

        def __init__(self, folder, cpu):
            self.new = folder == "new"
            Played.started += 1

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def time(self, case, loops):
            first_round = Played.started <= 2
            slow = case["method"] == "steady" or (case["method"] == "lucky" and first_round)
            return 1.3e6 if self.new and slow else 1e6

    monkeypatch.setattr(gate, "Version", Played)
    monkeypatch.setattr(gate, "SPEED", [gate._case("softmax", [1], method=m) for m in ("steady", "lucky", "same")])
    found = {finding.name.split(",")[0]: finding.passed for finding in gate.speed("new", "base")}
    assert found == {"softmax steady": False, "softmax lucky": True, "softmax same": True}
    assert Played.started == 2 * gate.LEAST_ROUNDS


def test_the_cases_cover_every_function_and_rung():
    import fastsoftmax

    rungs = {rung.name for rung in fastsoftmax.methods()} - {"parallel"}  # auto's kernels on more threads
    assert {case["method"] for case in gate.SPEED} == rungs
    assert {case["method"] for case in gate.ERRORS} == rungs - {"naive"}
    assert {case["op"] for case in gate.SPEED} == {case["op"] for case in gate.ERRORS} == set(gate.OPS)
