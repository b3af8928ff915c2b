"""`auto` on tall matrices of few columns: as exact as on others, whichever share of a column has what."""

import numpy as np
import pytest
from helpers import FLOATS, OPS, assert_exact, call, same_bits
from test_columns import columns_of_many_kinds

import fastsoftmax
from fastsoftmax.routes import folded_width, reads

COUNTS = (2, 3, 5, 8, 10, 16, 17, 23, 33, 48)
READ = [t for t in (*FLOATS, np.float16) if reads(np.dtype(t))]
ODD = (11, 12)  # of many kinds: those with NaN and inf


def is_folded(op, x, axis):
    return fastsoftmax.explain(x, axis, op=op).startswith("folded")


def on_threads(op, x, count, **keywords):
    fastsoftmax.set_num_threads(count)
    return call(op, x, -2, **keywords)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_every_kind_of_column_is_exact(op, dtype, rng):
    for number, count in enumerate(COUNTS):
        n = 30_000 // count // (1 + number % 3) + number  # so each has another rest
        kinds = rng.permutation(48)[:count]
        x = np.ascontiguousarray(columns_of_many_kinds(dtype, n, rng)[:, kinds])
        assert is_folded(op, x, 0) or (count > 24 and op != "softmax")
        got, known = call(op, x, 0), ~np.isin(kinds, ODD)
        assert_exact(op, x[:, known], 0, got[..., known], note=f"{n} x {count}:")
        assert np.isnan(got[..., ~known]).all() or op == "logsumexp"


@pytest.mark.parametrize("count", [47, 100, 500])
@pytest.mark.parametrize("op", OPS)
def test_more_columns_where_there_are_very_many_rows(op, count, rng, restore_threads):
    x = (rng.normal(0, 1, (2**20 // count + 3, count)) * rng.choice([1, 3, 10], count)).astype(np.float32)
    x[7, 5], x[:, 6] = np.nan, -np.inf
    assert is_folded(op, x, 0) == (count < 64 or op != "logsumexp")
    got, known = on_threads(op, x, 1), ~np.isin(np.arange(count), [5, 6])
    assert_exact(op, x[:, known], 0, got[..., known])
    same_bits(on_threads(op, x, 2), got)


@pytest.mark.parametrize("dtype", FLOATS)
def test_peaks_are_held_out_by_any_share(dtype, rng):
    """One, two and three of them, near and far above the others, equal ones, in the rest, too."""
    n, count = 1003, 5
    width = folded_width("softmax", n, count, np.dtype(dtype)) // count
    for heights in ([30], [30, 30], [20, 22], [90, 5, 90], [800], [0.5, 0.5]):
        for first in (0, 1, width - 1, width, n // 2, n - n % width - 1, n - len(heights)):
            x = rng.normal(0, 1, (n, count)).astype(dtype)
            first = min(first, n - len(heights))
            x[first : first + len(heights)] += np.array(heights, dtype)[:, None]
            assert_exact("log_softmax", x, 0, call("log_softmax", x, 0), note=f"{heights} at {first}:")


@pytest.mark.parametrize("dtype", FLOATS)
def test_nothing_but_one_number(dtype):
    x = np.full((900, 6), -np.inf, dtype)
    for i in (0, 1, 500, 899):
        y = x.copy()
        y[i] = (-8e4, -3.0, 0.0, 2.5, 3000.0, 8e4)
        assert_exact("softmax", y, 0, call("softmax", y, 0))
        same_bits(call("log_softmax", y, 0), np.where(y > -np.inf, 0, -np.inf).astype(dtype))
        same_bits(call("logsumexp", y, 0), y[i])
    assert np.isnan(call("softmax", x, 0)).all()
    assert (call("logsumexp", x, 0) == -np.inf).all()


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("columns", [7, 100])  # folded, and not
def test_nan_is_found_in_every_row(op, columns, rng):
    """Beside elements a thousand exponents apart, too."""
    n = 1003
    for scale in (1, 1000):
        for i in (0, 1, 13, 63, 64, 500, n - 2, n - 1):
            x = (scale * rng.normal(0, 1, (n, columns))).astype(np.float32)
            x[(i + 77) % n, 2:] += 3000
            x[i, 3] = np.nan
            got = call(op, x, 0)
            assert np.isnan(got[..., 3]).all()
            assert not np.isnan(np.delete(got, 3, -1)).any()


@pytest.mark.parametrize("dtype", READ)
@pytest.mark.parametrize("op", OPS)
def test_planes_and_results_in_place_have_the_same_bits(op, dtype, rng, restore_threads):
    x = rng.normal(0, 3, (5, 701, 12)).astype(dtype)
    assert is_folded(op, x, 1)
    expected = np.stack([call(op, plane, 0) for plane in x])
    for threads in (1, 2, 3):
        fastsoftmax.set_num_threads(threads)
        same_bits(call(op, x, 1), expected)
    if op != "logsumexp":
        same_bits(call(op, y := x.copy(), 1, out=y), expected)
        apart = np.zeros((5, 701, 24), dtype)[..., ::2]
        assert np.abs(call(op, x, 1, out=apart).astype(float) - expected).max() < 0.01
    assert not is_folded(op, np.zeros((5, 701, 24), dtype)[..., :12], 1)  # rows apart


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_row_of_a_folded_matrix_is_some_rows(dtype):
    dtype = np.dtype(dtype)
    for columns in range(2, 64):
        for n in (6000 // columns + 1, 1000, 10**6):
            width = folded_width("softmax", n, columns, dtype)
            assert width % columns == 0
            assert 64 <= width * dtype.itemsize <= 1024
            assert width * dtype.itemsize % 64 == 0 or np.lcm(columns * dtype.itemsize, 64) > 256


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_pieces_are_exact_and_threads_change_nothing(op, dtype, rng, restore_threads):
    for number, count in enumerate((3, 7, 10)):
        n = 300_000 // count + 11 * number
        kinds = rng.permutation(48)[:count]
        x = np.ascontiguousarray(columns_of_many_kinds(dtype, n, rng)[:, kinds])
        got, known = on_threads(op, x, 1), ~np.isin(kinds, ODD)
        assert_exact(op, x[:, known], 0, got[..., known], note=f"{n} x {count}:")
        for threads in (2, 5):
            same_bits(on_threads(op, x, threads), got)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_pieces_of_all_sorts(op, dtype, rng, restore_threads):
    n = 60_000  # so a piece has 10 000 to 22 000 rows
    x = rng.normal(0, 3, (n, 6)).astype(dtype)
    x[:, 0] += np.linspace(-80, 80, n)  # each piece has another pivot
    x[5000:, 1] = -np.inf
    x[[100, n // 2, n - 1], 2] = 40  # in three pieces, and alone in its own: one is held out
    x[:, 3] = -(10**4) if dtype == np.float64 else -60
    x[n - 7, 4] = 55
    x[:-10, 5] = -np.inf
    got = on_threads(op, x, 1)
    assert_exact(op, x, 0, got)
    for threads in (2, 3):
        same_bits(on_threads(op, x, threads), got)


@pytest.mark.parametrize("dtype", READ)
@pytest.mark.parametrize("op", OPS)
def test_pieces_of_any_width_far_from_zero(op, dtype, rng, restore_threads):
    """Where the last vector of a row is not filled, nothing of what fills it counts."""
    for count in (3, 11, 17, 50, 57, *(() if op == "logsumexp" else (65, 97))):
        n = (2**20 if count > 23 else 300_000) // count + 1
        x = (rng.normal(0, 3, (n, count)) - 1000).astype(dtype)
        x[:, 0] = -np.inf
        got = on_threads(op, x, 1)
        assert_exact(op, x, 0, got)
        same_bits(on_threads(op, x, 2).astype(np.float64), got.astype(np.float64))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("op", OPS)
def test_odd_columns_in_pieces(op, value, rng, restore_threads):
    x = rng.normal(0, 3, (50_000, 8)).astype(np.float32)
    x[40_000, 3], x[:, 5] = value, value
    expected = on_threads(op, x, 1)
    others = [0, 1, 2, 4, 6, 7]
    assert_exact(op, x[:, others], 0, expected[..., others])
    same_bits(expected[..., 5], call(op, np.full(50_000, value, np.float32), 0))
    same_bits(on_threads(op, x, 3), expected)


@pytest.mark.parametrize("dtype", READ)
@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
def test_pieces_in_place_and_of_some_planes(op, dtype, rng, restore_threads):
    x = rng.normal(0, 3, (3, 70_000, 5)).astype(dtype)
    x[1, 3, 2] = np.nan
    results = [on_threads(op, x, threads) for threads in (1, 2)]
    for threads in (1, 2):
        y = x.copy()
        results.append(on_threads(op, y, threads, out=y))
    for other in results[1:]:
        same_bits(other.astype(np.float64), results[0].astype(np.float64))
