"""Results that are larger than caches are written past them, others to whole lines: the same bits, nothing beside."""

import ml_dtypes
import numpy as np
import pytest
from helpers import call, same_bits

from fastsoftmax import direct, engine, set_num_threads

TYPES = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)
OPS = ("softmax", "log_softmax")
LINE = 64  # bytes


@pytest.fixture
def all_are_large(monkeypatch):
    monkeypatch.setattr(engine, "PAST_CACHES", 1)
    monkeypatch.setattr(direct, "PAST_CACHES", 1)


@pytest.fixture(params=["past the caches", "through them"])
def each_way_out(request):
    if request.param == "past the caches":
        request.getfixturevalue("all_are_large")


def rows_of_all_kinds(shape, dtype, rng):
    x = rng.normal(0, 3, shape)
    x[0, 0] += 30  # a peak
    if len(x) > 2:
        x[1, ::3], x[2, 5] = -np.inf, np.nan
    if len(x) > 4:
        x[3], x[4] = 1e4, x[4] * 50
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op", OPS)
def test_the_same_bits_and_nothing_beside(op, dtype, each_way_out, rng):
    itemsize = np.dtype(dtype).itemsize
    for shape in [(9, 64), (6, 65), (7, 127), (5, 128), (3, 207), (6, 997), (2, 4097)]:
        x = rows_of_all_kinds(shape, dtype, rng)
        expected = call(op, x)
        for offset in [*range(LINE // itemsize + 1)]:
            room = np.full(x.size + 2 * LINE, 7, dtype)
            out = room[offset : offset + x.size].reshape(shape)
            assert call(op, x, out=out) is out
            same_bits(out.astype(np.float64), expected.astype(np.float64))
            np.copyto(out, x)
            call(op, out, out=out)
            same_bits(out.astype(np.float64), expected.astype(np.float64))
            assert (room[:offset] == 7).all()
            assert (room[offset + x.size :] == 7).all()


@pytest.mark.parametrize("op", OPS)
def test_rows_apart_and_backwards(op, all_are_large, rng):
    x = rows_of_all_kinds((6, 500), np.float32, rng)
    room = np.full((6, 511), 7, np.float32)
    out = room[::-1, 3:503]
    call(op, x, out=out)
    same_bits(np.ascontiguousarray(out), call(op, x))
    assert (room[:, :3] == 7).all()
    assert (room[:, 503:] == 7).all()


@pytest.mark.parametrize("op", OPS)
def test_a_large_result(op, rng):
    x = rng.normal(0, 3, (18_000, 997)).astype(np.float32)
    out = np.empty_like(x)
    assert out.nbytes > engine.PAST_CACHES
    expected = call(op, x)
    for threads in (1, 3):
        set_num_threads(threads)
        out[:] = 7
        call(op, x, out=out)
        same_bits(out, expected)
    assert call(op, out, out=out) is out  # and in place
    same_bits(out, call(op, expected))
