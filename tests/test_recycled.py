"""The memory of large results is used again once no one can see them any more, and not before."""

import gc
import mmap
import sys
import threading
import weakref

import numpy as np
import pytest

from fastsoftmax import log_softmax, recycled, softmax

ROWS, LENGTH = 600, 1000

pytestmark = pytest.mark.skipif(recycled.FREE is None, reason="the system cannot be told what it may have back")


@pytest.fixture(autouse=True)
def smaller(monkeypatch):
    monkeypatch.setattr(recycled, "LEAST", 2**20)
    gc.collect()
    recycled._kept.clear()
    yield
    recycled._kept.clear()


@pytest.fixture
def x(rng):
    return rng.normal(0, 3, (ROWS, LENGTH)).astype(np.float32)


def place_of(a):
    return a.__array_interface__["data"][0]


def test_a_dead_result_serves_the_next(x):
    first = softmax(x, axis=1)
    expected, place = first.copy(), place_of(first)
    del first
    second = log_softmax(x, axis=1)
    assert place_of(second) == place
    np.testing.assert_allclose(np.exp(second), expected, rtol=1e-4)
    del second
    shorter = softmax(x[:400], axis=1)
    assert place_of(shorter) == place
    assert np.array_equal(shorter, expected[:400])


@pytest.mark.parametrize("look", [lambda a: a[3:5, ::2], lambda a: a.T, memoryview, lambda a: a.view(np.int32)])
def test_what_someone_sees_is_left_alone(look, x):
    result = softmax(x, axis=1)
    view = look(result)
    expected = np.array(view)
    del result
    others = [log_softmax(x, axis=1) for _ in range(3)]
    assert np.array_equal(np.array(view), expected)
    del others


def test_one_is_kept(x):
    results = [softmax(x, axis=1) for _ in range(4)]
    places = {place_of(r) for r in results}
    assert len(places) == 4
    del results
    assert len(recycled._kept) == 1


def test_a_much_smaller_result_does_not_hold_it(x):
    softmax(x, axis=1)
    (watcher,) = recycled._kept
    few = softmax(x[:280], axis=1)
    assert few.nbytes > recycled.LEAST
    assert not recycled._kept
    assert place_of(few) != np.frombuffer(watcher.memory, np.uint8).ctypes.data


def test_small_results_are_numpy_s_own(x):
    softmax(x[:10], axis=1)
    assert not recycled._kept


def test_no_memory_is_written_by_two(x):
    expected = softmax(x, axis=1).copy()
    wrong = []

    def work(shift):
        for _ in range(30):
            y = softmax(x[shift:], axis=1)
            if not np.array_equal(y, expected[shift:]):
                wrong.append(shift)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_nothing_is_left_of_what_was_lent(x):
    results = [softmax(x, axis=1) for _ in range(3)]
    assert len(recycled._lent) == 3
    kept = [weakref.ref(watcher.others[1].memory) for watcher in recycled._lent]
    del results
    assert not recycled._lent
    assert sum(memory() is not None for memory in kept) == 1  # without a collection of garbage


def test_a_ctrl_c_is_not_lost_when_a_result_dies(x):
    """Nothing that Python interprets runs then, where an exception would be ignored."""
    result = softmax(x, axis=1)
    calls = []
    sys.setprofile(lambda frame, event, what: calls.append(frame.f_code.co_name) if event == "call" else None)
    try:
        del result
    finally:
        sys.setprofile(None)
    assert len(recycled._kept) == 1
    assert calls == []


def test_where_the_system_gives_none(monkeypatch, x):
    expected = softmax(x, axis=1).copy()
    recycled._kept.clear()

    def refuse(*args, **keywords):
        raise OSError("no memory is to be had that way")

    monkeypatch.setattr(mmap, "mmap", refuse)
    assert np.array_equal(softmax(x, axis=1), expected)
    assert not recycled._kept
    monkeypatch.setattr(recycled, "FREE", None)
    assert np.array_equal(softmax(x, axis=1), expected)
