"""Results that are larger than caches are written past them, others to whole lines: the same bits, nothing beside."""

import itertools

import ml_dtypes
import numpy as np
import pytest
from helpers import FAMILIES, assert_exact, call, family, same_bits

from fastsoftmax import direct, explain, routes, set_num_threads, steps

TYPES = [t for t in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16) if routes.reads(np.dtype(t))]
OPS = ("softmax", "log_softmax")
LINE = 64  # bytes
SHAPES = [
    *[(6, 256), (7, 257), (1, 300), (3, 319), (5, 320), (6, 997), (2, 4097), (3, 9001)],
    *[(13, 450), (16, 500), (9, 1000), (2, 600), (5, 1024)],  # rows and ...
    *[(8, 64), (41, 65), (16, 100), (33, 127), (17, 199), (9, 399)],  # ... short rows
]


def forget_plans():
    direct._plan.cache_clear()
    steps.steps_for.cache_clear()


@pytest.fixture
def all_are_large(monkeypatch):
    monkeypatch.setattr(routes, "PAST_CACHES", 1)
    forget_plans()
    yield
    forget_plans()


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


def in_place(op, x, axis=-1):
    """What is written through the caches: the result of a copy of x, which is overwritten."""
    result = x.copy()
    return call(op, result, axis, out=result)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op", OPS)
def test_the_same_bits_and_nothing_beside(op, dtype, each_way_out, rng):
    itemsize = np.dtype(dtype).itemsize
    for shape in SHAPES:
        x = rows_of_all_kinds(shape, dtype, rng)
        expected = in_place(op, x)
        for offset in [*range(LINE // itemsize + 1)]:
            room = np.full(x.size + 2 * LINE, 7, dtype)
            out = room[offset : offset + x.size].reshape(shape)
            assert call(op, x, out=out) is out
            same_bits(out.astype(np.float64), expected.astype(np.float64))
            assert (room[:offset] == 7).all()
            assert (room[offset + x.size :] == 7).all()


@pytest.mark.parametrize("op", OPS)
def test_rows_apart_and_backwards(op, all_are_large, rng):
    x = rows_of_all_kinds((6, 500), np.float32, rng)
    expected = in_place(op, x)
    room = np.full((6, 511), 7, np.float32)
    out = room[::-1, 3:503]
    call(op, x, out=out)
    same_bits(np.ascontiguousarray(out), expected)
    same_bits(call(op, np.flip(x, 0).copy()[::-1]), expected)
    assert (room[:, :3] == 7).all()
    assert (room[:, 503:] == 7).all()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op", OPS)
def test_long_rows(op, dtype, all_are_large, rng):
    x = rng.normal(0, 3, (5, 300_003)).astype(dtype)
    x[1, 7] += 30  # a peak
    x[2, 200_000:], x[3, 5] = -np.inf, np.nan
    x[4, 250_000:] *= 30
    assert explain(x, -1, op=op).startswith("long rows")
    expected = in_place(op, x)
    for offset in (0, 1, 5, LINE):
        room = np.full(x.size + 2 * LINE, 7, dtype)
        out = room[offset : offset + x.size].reshape(x.shape)
        call(op, x, out=out)
        same_bits(out.astype(np.float64), expected.astype(np.float64))
        assert (room[:offset] == 7).all()
        assert (room[offset + x.size :] == 7).all()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op", OPS)
def test_columns(op, dtype, all_are_large, rng):
    for shape in [(3, 160), (17, 161), (2, 5, 320), (30, 1000), (3, 4, 7)]:
        x = rng.normal(0, 3, shape).astype(dtype)
        x[..., 1, 3], x[..., 2, -1] = np.nan, -np.inf
        assert explain(x, -2, op=op).startswith("short columns")
        expected = in_place(op, x, axis=-2)
        for offset in range(LINE // np.dtype(dtype).itemsize + 1):
            room = np.full(x.size + 2 * LINE, 7, dtype)
            out = room[offset : offset + x.size].reshape(shape)
            call(op, x, axis=-2, out=out)
            same_bits(out.astype(np.float64), expected.astype(np.float64))
            assert (room[:offset] == 7).all()
            assert (room[offset + x.size :] == 7).all()


@pytest.mark.parametrize("dtype", TYPES)
def test_folded_columns(dtype, all_are_large, rng):
    for shape in [(2000, 8), (2, 1501, 3), (70_000, 5), (9001, 120)]:
        x = rng.normal(0, 3, shape).astype(dtype)
        x[..., 1, 2], x[..., 0] = np.nan, -np.inf
        assert explain(x, -2, op="log_softmax").startswith("folded columns")
        expected = in_place("log_softmax", x, axis=-2)
        for offset in (0, 1, 4, LINE // np.dtype(dtype).itemsize):
            room = np.full(x.size + 2 * LINE, 7, dtype)
            out = room[offset : offset + x.size].reshape(shape)
            call("log_softmax", x, axis=-2, out=out)
            same_bits(out.astype(np.float64), expected.astype(np.float64))
            assert (room[:offset] == 7).all()
            assert (room[offset + x.size :] == 7).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("op", OPS)
def test_longer_columns_are_exact(op, dtype, all_are_large, rng):
    for n, inner in [(33, 1040), (100, 336), (200, 80)]:
        x = rng.normal(0, 3, (n, inner)).astype(dtype)
        x[:, 5], x[7, 9] = -np.inf, 60
        assert explain(x, 0, op=op).startswith("short columns")
        known = np.arange(inner) != 5
        assert_exact(op, x[:, known], 0, call(op, x, 0)[:, known])


@pytest.mark.parametrize("n", [83, 403])  # so rows begin at any place of a line
@pytest.mark.parametrize("op", OPS)
def test_careful_rows_anywhere(op, n, all_are_large, rng):
    for odd in itertools.product((False, True), repeat=5):
        x = rng.normal(0, 3, (40, n)).astype(np.float32)
        x[np.resize(odd, 40), 7] = np.inf
        room = np.full(x.size + 2 * LINE, 7, np.float32)
        out = room[LINE:-LINE].reshape(x.shape)
        call(op, x, out=out)
        same_bits(out, in_place(op, x))
        assert (room[:LINE] == 7).all()
        assert (room[-LINE:] == 7).all()


@pytest.mark.parametrize("shape", [(401, 6), (97, 20)])
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("op", OPS)
def test_exact(op, name, shape, all_are_large):
    x = family(name, np.float32, *shape)
    assert explain(x, -1, op=op).startswith("large rows")
    assert_exact(op, x, -1, call(op, x))


@pytest.mark.parametrize("n", [1000, 333, 200])
@pytest.mark.parametrize("op", OPS)
def test_a_large_result(op, n, rng):
    x = rng.normal(0, 3, (18_000_000 // n, n)).astype(np.float32)
    assert explain(x, -1, op=op).startswith("large rows")
    assert not explain(x[:1000], -1, op=op).startswith("large rows")
    assert not explain(x, -1, op="logsumexp").startswith("large rows")
    expected, out = in_place(op, x), np.empty_like(x)
    for threads in (1, 3):
        set_num_threads(threads)
        out[:] = 7
        call(op, x, out=out)
        same_bits(out, expected)
