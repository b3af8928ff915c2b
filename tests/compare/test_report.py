"""What the terminal shows."""

import io

import pytest
from rich.console import Console

import fastsoftmax
from fastsoftmax.compare import contenders, report


@pytest.fixture
def text(result):
    out = io.StringIO()
    report.show(result, Console(file=out, width=140))
    return out.getvalue()


def test_wrong_and_failed_contenders_are_shown_with_their_error(text):
    assert "fastsoftmax naive wrong: 3 NaN or inf of 100" in text
    assert "jax failed: RuntimeError: no luck" in text


def test_ours_are_marked_and_remarks_survive(text):
    assert "* auto " in text
    assert "a [remark]" in text
    assert "digits: softmax of 10 x 10 float32, axis -1" in text
    assert "onnxruntime was skipped: not installed" in text


def test_the_limit_the_interval_and_the_noise_are_shown(text, result):
    (line,) = [line for line in text.splitlines() if line.startswith(" * auto") and "50 %" in line]
    assert "-5 +10 %" in line
    assert "80.0 ns" in line
    assert "Limit: 40.0 ns (copy 40.0 ns, e^x 30.0 ns); noise 5.0 %: ratios nearer to 1 mean nothing." in text
    result.tables[0].wobble = 0.25
    assert report.reliability(result.tables[0]).endswith("the machine changed its pace by 25 %.")
    assert report.reliability(result.tables[1]) == ""


def test_sentences(result):
    digits, small = result.tables
    assert report.sentence(digits) == "Fastest exact: torch, 80.0 ns, 5.0 times as fast as SciPy."
    assert report.sentence(small) == "Fastest exact: fastsoftmax auto, 1.00 us, 9.0 times as fast as SciPy."
    result.tables[0].rows[3].verdict = "inexact"
    assert report.closing(result) == (
        "Fastest exact contender: fastsoftmax auto, in 2 of 2 tables; 6.0 times as fast as SciPy in the geometric mean."
    )


def test_nothing_exact_and_nothing_timed(result):
    for row in result.tables[0].rows:
        row.verdict = "inexact"
    assert report.sentence(result.tables[0]) == "None is exact here."
    for row in result.tables[1].rows:
        row.best_ns = None
    assert report.sentence(result.tables[1]) == "Nothing was timed."
    assert report.closing(result) == "No contender was both timed and exact."


def test_interrupted(result):
    result.interrupted = True
    out = io.StringIO()
    report.show(result, Console(file=out, width=140))
    assert "Interrupted" in out.getvalue()


@pytest.mark.parametrize(
    ("ns", "text"), [(None, "-"), (5.123, "5.12 ns"), (51234, "51.2 us"), (5.1e6, "5.10 ms"), (2e11, "200 s")]
)
def test_durations(ns, text):
    assert report.duration(ns) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (float("nan"), "-"), (0.5, "0.50"), (1.7e7, "1.7e7"), (float("inf"), "inf")],
)
def test_ulps(value, text):
    assert report.ulps(value) == text


def test_contenders_are_listed_absent_ones_with_the_reason():
    candidates = contenders.contenders(["auto"])
    _, skipped = contenders.installed(candidates)
    out = io.StringIO()
    report.show_contenders(candidates, skipped | {"torch": "not [installed]"}, Console(file=out, width=160))
    lines = {line.split("  ")[0].strip(): line for line in out.getvalue().splitlines()}
    assert "numpy.logaddexp.reduce" in lines["logaddexp"]
    assert lines["logaddexp"].rstrip().endswith("logsumexp")
    assert "not [installed]" in lines["torch"]
    assert f"fastsoftmax {fastsoftmax.__version__}" in lines["fastsoftmax auto"]
