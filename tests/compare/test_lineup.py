"""Everything that is timed in a race, and what the table gets from it."""

import numpy as np
import pytest

from fastsoftmax.compare import limits, lineup
from fastsoftmax.compare.contender import Call, Contender
from fastsoftmax.compare.results import Row, Table


def counting(seen):
    """Return a contender that notes on which input it is called, and whether it made its result."""

    def prepare(op, x, axis, threads):
        return Call(lambda: seen.append((x, "made")), reuse=lambda: seen.append((x, "reused")))

    return Contender("counter", "numpy", prepare)


@pytest.fixture
def table():
    return Table("t", "softmax", [4, 1000], -1, "float32", 32000, rows=[Row("counter", False), Row("absent", False)])


@pytest.fixture
def x():
    return np.ones((4, 1000), np.float32)


def test_plain_reused_and_cold_calls_are_told_apart(table, x, monkeypatch):
    monkeypatch.setattr(lineup, "copies_to_leave_the_cache", lambda nbytes: 5)
    seen = []
    contender = counting(seen)
    lanes = lineup.Lineup(table, "softmax", x, 1)
    lanes.enter(contender, contender.call("softmax", x, -1, 1))
    lanes.race(0, lambda done: None)
    row, absent = table.rows
    assert row.best_ns <= row.median_low_ns <= row.median_ns <= row.median_high_ns
    assert row.reused_ns > 0
    assert row.cold_ns > 0
    assert absent.best_ns is None
    assert len({id(array) for array, how in seen if how == "made"}) == 5
    assert {id(array) for array, how in seen if how == "reused"} == {id(x)}
    assert table.noise >= 0
    assert table.wobble >= 0


def test_inputs_take_turns_whoever_is_called(table, x, monkeypatch):
    monkeypatch.setattr(lineup, "copies_to_leave_the_cache", lambda nbytes: 3)
    lanes = lineup.Lineup(table, "softmax", x, 1)
    seen = []
    one, other = (lanes._in_rotation([lambda k=k: seen.append(k) for k in range(3)]) for _ in range(2))
    for call in (one, other, other, one, one):
        call()
    assert seen == [0, 1, 2, 0, 1]


def test_what_fills_the_cache_alone_is_never_warm(table, monkeypatch):
    monkeypatch.setattr(lineup, "largest_cache", lambda: 1000)
    assert [lineup.copies_to_leave_the_cache(n) for n in (2000, 1999, 100, 1)] == [1, 2, 20, lineup.MOST_COPIES]
    assert lineup.largest_cache() > 0


def test_an_interrupted_race_leaves_the_table_alone(table, x):
    def stop(done):
        raise KeyboardInterrupt

    lanes = lineup.Lineup(table, "softmax", x, 1)
    with pytest.raises(KeyboardInterrupt):
        lanes.race(1, stop)
    assert table.limits is None
    assert table.noise is None


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_movers_move_everything(dtype, threads, monkeypatch):
    monkeypatch.setattr(limits, "_WORTH_THREADS", 0)
    x = np.arange(24).reshape(2, 12).astype(dtype)
    copy, read = limits.movers(x, threads)
    copy()
    assert np.max(read()) == x.view(f"i{x.itemsize}").max()


def test_the_limit_is_the_slower_of_memory_and_arithmetic():
    found = limits.Limits(copy_ns=8.0, read_ns=3.0, exp_ns=5.0)
    assert [found.of(op) for op in ("softmax", "log_softmax", "logsumexp")] == [8.0, 8.0, 5.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_e_to_the_x_alone_is_what_it_says(dtype):
    from fastsoftmax.kernels.exponential_alone import sum_repeatedly

    x, out = np.linspace(-3, 3, 256, dtype=dtype), np.zeros(1, dtype)
    sum_repeatedly[x.dtype](x, out, 1)
    np.testing.assert_allclose(out[0], np.exp(x.astype(np.float64)).sum(), rtol=1e-6)
    assert limits.exponential_ns(x.dtype.name) > 0
