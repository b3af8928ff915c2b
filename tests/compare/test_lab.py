"""The whole experiment, small."""

import numpy as np
import pytest

from fastsoftmax.compare import lab
from fastsoftmax.compare.contenders import PEERS, Call, Contender, Unsupported, contenders
from fastsoftmax.compare.workloads import standard

WORKLOAD = standard(5, 7, ops=("softmax", "logsumexp"))


def wrong_on_purpose(op, x, axis, threads):
    return Call(lambda: np.zeros(x.shape, x.dtype))


def failing(op, x, axis, threads):
    raise RuntimeError("no luck\nsecond line")


def unable(op, x, axis, threads):
    raise Unsupported("only on Mondays")


def test_every_contender_is_listed_and_judged():
    racers = [
        *contenders(["auto"])[:1],
        *PEERS[:2],
        Contender("liar", "numpy", wrong_on_purpose),
        Contender("crasher", "numpy", failing),
        Contender("idler", "numpy", unable),
    ]
    plan = lab.Plan([WORKLOAD], racers, ops=["softmax"], seconds_a_table=0)
    told = []
    result = lab.new_result(plan, {"absent": "not installed"})
    lab.run(plan, result, lambda done, of, text: told.append((done, of)))

    (table,) = result.tables
    rows = {row.contender: row for row in table.rows}
    assert rows["liar"].verdict == "wrong"
    assert rows["liar"].reason.startswith("0 where 0.")
    assert rows["liar"].max_ulp > 1e6
    assert rows["liar"].best_ns > 0
    assert (rows["crasher"].verdict, rows["crasher"].reason) == ("failed", "RuntimeError: no luck")
    assert (rows["idler"].verdict, rows["idler"].best_ns) == ("unsupported", None)
    assert rows["numpy"].samples >= 3
    assert table.bytes_moved == 2 * 5 * 7 * 4
    assert result.versions["numpy"] == np.__version__
    assert told == sorted(told)
    assert told[-1] == (1, 1)


def test_interruption_leaves_what_was_measured():
    def progress(done, of, text):
        if done >= 1 and "timing" in text:
            raise KeyboardInterrupt

    plan = lab.Plan([WORKLOAD], PEERS[:2], seconds_a_table=0)
    result = lab.new_result(plan, {})
    with pytest.raises(KeyboardInterrupt):
        lab.run(plan, result, progress)
    first, second = result.tables
    assert all(row.best_ns for row in first.rows)
    assert [row.best_ns for row in second.rows] == [None, None]


def test_without_exact_values_the_accuracy_is_unknown(monkeypatch):
    def no_truth(op, x, axis):
        raise TypeError("no exact results for float64")

    monkeypatch.setattr(lab, "Truth", no_truth)
    plan = lab.Plan([WORKLOAD], PEERS[:1], ops=["softmax"], seconds_a_table=0)
    result = lab.new_result(plan, {})
    lab.run(plan, result)
    (row,) = result.tables[0].rows
    assert (row.verdict, row.max_ulp, row.exact) == ("unknown", None, False)
    assert row.best_ns > 0
