"""More threads: each number in a process of its own, and a table of what was found."""

import json

import numpy as np
import pytest

from fastsoftmax.compare import readme, scaling
from fastsoftmax.compare.results import Result, Row, Table


def result(threads, ours, other):
    rows = [Row("fastsoftmax auto", True, best_ns=ours), Row("torch", False, best_ns=other), Row("jax", False)]
    table = Table("8 x 10 float32", "softmax", [8, 10], -1, "float32", 640, rows=rows)
    machine = {"cpu": "a CPU", "python": "a Python"}
    return Result(machine, {"torch": "1"}, threads, "now", tables=[table])


def test_thread_counts():
    assert scaling.thread_counts(1) == [1]
    assert scaling.thread_counts(2) == [1, 2]
    assert scaling.thread_counts(6) == [1, 2, 4, 6]
    assert scaling.thread_counts(16) == [1, 2, 4, 8, 16]


def test_the_table_shows_our_times_and_the_best_other():
    heads, (line,) = scaling.lines([result(1, 80.0, 160.0), result(2, 40.0, 60.0)])
    assert heads == ["input", "function", "1", "2", "x 1 at 2", "best other at 2", "x best other"]
    assert line == ["8 x 10 float32", "softmax", "1.000", "0.500", "2.0", "torch", "1.50"]


def test_without_others_the_table_says_so():
    one = result(1, 80.0, None)
    assert scaling.lines([one])[1] == [["8 x 10 float32", "softmax", "1.000", "1.0", "-", "-"]]


def test_saved_results_are_the_same_when_they_are_read(tmp_path):
    path = tmp_path / "scaling.json"
    results = [result(1, 80.0, 160.0), result(2, 40.0, 60.0)]
    path.write_text(scaling.to_json(results))
    assert scaling.load(path) == results
    assert "| 8 x 10 float32 | `softmax` | 1.000 | 0.500 | 2.0 | torch | 1.50 |" in readme.scaling_table(path)


@pytest.mark.parametrize("text", ["[]", "{}", json.dumps([{"schema": 1}]), "no JSON"])
def test_other_files_are_refused(text, tmp_path):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong, it is no result
        scaling.load(path)


def test_a_process_measures_a_file(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).standard_normal((40, 30), np.float32))
    (found,) = scaling.run([1], str(path), 0, "softmax")
    (table,) = found.tables
    assert (found.threads, table.workload, table.op, table.axis) == (1, "x.npy", "softmax", 0)
    assert table.row("fastsoftmax auto").best_ns > 0
    assert table.row("scipy").best_ns > 0
    assert table.row("numpy") is None  # never the best: left out


def test_a_process_that_fails_says_why(tmp_path):
    with pytest.raises(ChildProcessError, match="no such file"):
        list(scaling.run([1], str(tmp_path / "nothing.npy")))
