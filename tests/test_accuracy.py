"""Errors in units in the last place, over every family of rows and every length, against exact results."""

import functools

import exactly
import ml_dtypes
import mpmath
import numpy as np
import pytest
from helpers import (
    EXACT,
    FAMILIES,
    FAMILIES_64,
    FLOATS,
    OPS,
    SAFE,
    ULP_GOAL,
    assert_exact,
    call,
    error_bound,
    family,
    same_bits,
)

import fastsoftmax
from fastsoftmax.compare import exact
from fastsoftmax.compare.accuracy import Truth, exact_ulp
from fastsoftmax.kernels import long_row
from fastsoftmax.kernels.pivot import AIM_DOUBLE, AIM_SINGLE

LENGTHS = (1, 2, 3, 7, 10, 16, 17, 31, 63, 64, 65, 100)


@functools.cache
def case(op, name, dtype, n):
    x = family(name, dtype, n, rows=3 if n <= 100 else 1)
    x.flags.writeable = False
    digits = dtype == np.float64 and n <= 1000  # the 80-bit way has more than enough for float32
    return x, exactly.exact(op, x, -1, digits=digits)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("name", [*FAMILIES, *FAMILIES_64])
def test_ulp_bounds(op, name, dtype):
    if name in FAMILIES_64 and dtype != np.float64:
        pytest.skip("too large for float32")
    for n in (*LENGTHS, 1000):
        x, true = case(op, name, dtype, n)
        for method in SAFE:
            assert_exact(op, x, -1, call(op, x, method=method), method, true=true, note=f"{name}, n={n}:")


@pytest.mark.parametrize("n", [50257, 10**6])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [*FAMILIES, *FAMILIES_64])
def test_ulp_bounds_long_rows(name, dtype, n):
    if name in FAMILIES_64 and dtype != np.float64:
        pytest.skip("too large for float32")
    x = family(name, dtype, n, rows=1)
    row = exact.totals(x)  # takes longest, and serves all functions
    truths = {"softmax": exact.softmax_of(x, row), "log_softmax": exact.log_softmax_of(x, row)}
    if n < 10**6 or dtype == np.float32 or name != "near 0":  # which would be a matter of minutes
        truths["logsumexp"] = exact.logsumexp_of(x, row)[:, 0]
    for op, true in truths.items():
        unit = exact.spacing(true, dtype, near_zero=exact.NEAR_ZERO[op])
        judged = set()
        for method in SAFE:
            got = call(op, x, method=method)
            if got.tobytes() not in judged:  # auto and parallel are alike
                judged.add(got.tobytes())
                error = exact.ulp_error(got, true, unit=unit)
                assert (error <= error_bound(op, method, x, true, n, dtype)).all(), (op, method, error.max())


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("name", ["normal*10", "uniform 2000", "ascending", "-inf masks", "far below", "close tops"])
def test_ulp_bounds_along_columns(op, name, dtype):
    for n, columns in ((2, 5), (17, 40), (130, 33), (1000, 3)):
        x = family(name, dtype, n, rows=columns).T.copy()
        for method in SAFE:
            assert_exact(op, x, 0, call(op, x, 0, method=method), method, note=f"{name}, {x.shape}:")


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("dtype", FLOATS)
def test_log_softmax_of_the_top_element_is_not_zero(method, dtype):
    got = fastsoftmax.log_softmax(np.array([0, -50], dtype), method=method)
    assert exactly.ulp(got, exactly.exact("log_softmax", np.array([0.0, -50.0]))).max() <= 2
    assert got[0] == pytest.approx(-1.9287498479639178e-22, rel=1e-6)


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", FLOATS)
def test_rows_of_two_with_close_tops(method, dtype):
    top = np.array([0, 1, -1, 88, -104, 710, -746, 1e4, 1e30], dtype)
    x = np.stack([top, np.nextafter(top, dtype(-np.inf))], axis=1)
    for op in OPS:
        assert_exact(op, x, -1, call(op, x, method=method), method)


@pytest.mark.parametrize("dtype", FLOATS)
def test_naive_overflows_and_the_others_do_not(dtype):
    x = np.linspace(900, 1000, 40, dtype=dtype)
    naive = {op: call(op, x, method="naive") for op in OPS}
    assert not any(np.isfinite(result).all() for result in naive.values())
    for method in SAFE:
        for op in OPS:
            assert_exact(op, x, -1, call(op, x, method=method), method)


@pytest.mark.parametrize("dtype", FLOATS)
def test_naive_is_right_on_small_numbers(dtype):
    x = np.linspace(-3, 3, 101, dtype=dtype)
    for op in OPS:
        assert_exact(op, x, -1, call(op, x, method="naive"), "naive")


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("name", FAMILIES)
def test_half_floats_are_exact_float32_results_rounded(name, op, dtype):
    for n in (1, 2, 3, 7, 10, 100, 1000, 50257):
        with np.errstate(over="ignore"):
            x = family(name, np.float32, n).astype(dtype)
        if np.isposinf(x.astype(np.float32)).any():
            pytest.skip("too large for this type")
        truth = Truth(op, x, -1)
        for method in EXACT:
            found = truth.judge(call(op, x, method=method))
            assert found.max_ulp <= exact_ulp(op, x.dtype.name) <= 0.501, (method, n, found)


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_layouts_are_as_near_to_each_other_as_to_the_truth(op, dtype, method):
    for name in ("normal*1", "normal*10", "normal+10000", "ascending", "uniform 87", "-inf masks", "late spike"):
        for n in (2, 10, 33, 100, 1000):
            x = family(name, dtype, n, rows=40)
            rows, columns = call(op, x, method=method), call(op, np.asfortranarray(x), method=method)
            assert exactly.ulp(rows, columns).max() <= ULP_GOAL[op], (name, n)


@pytest.mark.parametrize("shape", [(1, 2**25), (2**25, 1), (2**25, 2)])
@pytest.mark.parametrize("method", EXACT)
def test_long_float32_sums_do_not_stall(method, shape):
    # float32 sums alone stop growing at 2^24 equal terms
    axis = int(np.argmax(shape))
    x = np.full(shape, 0.1, np.float32)
    total = fastsoftmax.softmax(x, axis, method=method).sum(axis=axis, dtype=np.float64)
    assert (np.abs(total - 1) <= 2.5e-7).all()
    lse = fastsoftmax.logsumexp(x, axis, method=method)
    true = np.longdouble(np.float32(0.1)) + 25 * np.log(np.longdouble(2))
    assert exactly.ulp(lse, np.broadcast_to(true, lse.shape)).max() <= 1


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("op", OPS)
def test_ascending_sums_of_a_hundred_million_do_not_drift(op, columns):
    # a few ascending values, very many times each: what they sum to can be told by mpmath
    values = np.sort(np.random.default_rng(7).normal(0, 3, 100)).astype(np.float32)
    times = 10**6 if not columns else 500_000
    x = np.repeat(values, times)
    x = np.stack([x, x], axis=1) if columns else x
    got = call(op, x, 0)
    with mpmath.workdps(40):
        terms = [mpmath.exp(float(v)) for v in values]
        log_sum = mpmath.log(times * mpmath.fsum(terms))
        if op == "logsumexp":
            assert (
                np.abs(np.atleast_1d(got).astype(np.float64) - float(log_sum)) <= np.spacing(np.float32(log_sum))
            ).all()
            return
        true = [
            t / (times * mpmath.fsum(terms)) if op == "softmax" else v - log_sum
            for t, v in zip(terms, values.tolist(), strict=True)
        ]
    groups = got.reshape(len(values), -1)  # equal values have equal results
    assert (groups == groups[:, :1]).all()
    assert exactly.ulp(groups[:, 0], np.array(true, np.longdouble)).max() <= 2


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
@pytest.mark.parametrize("temperature", [0.5, -1, 4.0, -0.25])
def test_temperature_that_divides_exactly_keeps_the_bounds(op, temperature):
    for dtype in FLOATS:
        x = family("normal*10", dtype, 100)
        for method in SAFE:
            got = call(op, x, temperature=temperature, method=method)
            assert_exact(op, x / dtype(temperature), -1, got, method)


@pytest.mark.parametrize("n", [4, 480])
def test_differences_that_overflow_before_a_temperature_divides_them(n):
    for axis in (0, 1):
        x = np.zeros((n, n))
        x[3], x[1] = 1.7e308, -1.7e308
        x = x.T if axis else x
        got = fastsoftmax.log_softmax(x, axis, temperature=8.0)
        assert np.isfinite(got).all()
        assert_exact("log_softmax", x / 8, axis, got)


@pytest.mark.parametrize("temperature", [0.1, 3.0, 1e-3])
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("dtype", FLOATS)
def test_log_softmax_near_zero_at_any_temperature(dtype, method, temperature):
    for n in (2, 20, 100, 5000):
        x = np.random.default_rng(n).normal(0, temperature, n).astype(dtype)
        top = n // 2
        x[top] = dtype(40 * temperature)
        got = fastsoftmax.log_softmax(x, temperature=temperature, method=method)
        with mpmath.workdps(60):
            d = [(mpmath.mpf(v) - mpmath.mpf(float(x[top]))) / temperature for v in x.tolist()]
            true = -mpmath.log1p(mpmath.fsum(mpmath.exp(v) for i, v in enumerate(d) if i != top))
            error = abs(mpmath.mpf(float(got[top])) - true) / float(np.spacing(dtype(abs(true))))
        assert error <= 2, (n, error)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_a_row_has_the_same_bits_whatever_is_beside_it(op, dtype):
    # a row that fails its guessed pivot, is peaked or not finite changes how the next ones are gone about
    names = [*FAMILIES, "zeros", "normal*1", "-inf masks", "normal*100", "normal*3"]
    scales = np.geomspace(3, 40, 30)[:, None]  # a guess begins to fail, and the ends of a row to tell of it
    for n in (402, 1000):
        varying = (np.random.default_rng(n).standard_normal((30, n)) * scales).astype(dtype)
        x = np.concatenate([*(family(name, dtype, n, rows=2) for name in names), varying])
        x[7, n // 2] = np.nan
        x[11, 3] = np.inf
        together = call(op, x)
        for r, row in enumerate(x):
            same_bits(together[r : r + 1], call(op, row[None]))


def behind_rows_of_known_maxima(row, op="log_softmax"):
    """Return the result of a row behind some that are done with their maxima known, as the next ones then are, too."""
    spikes = np.zeros((16, row.size), row.dtype)
    spikes[:, row.size // 2] = 40  # not at the ends, from which the pivots are guessed
    return call(op, np.concatenate([spikes, row[None]]))[-1]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_where_an_exponent_begins_to_be_too_large_for_a_guess(op, dtype, rng):
    # with the one above the largest a term is no number, and its row must not be taken for one that suits
    largest = {np.float32: 128 - AIM_SINGLE, np.float64: 1024 - AIM_DOUBLE}[dtype]
    x = rng.random((80, 402)).astype(dtype)
    x[:, 100] = (largest + np.linspace(-2, 2, 80)) * np.log(2)
    alone = [call(op, row[None])[0] for row in x]
    same_bits(np.stack([behind_rows_of_known_maxima(row, op) for row in x]), np.stack(alone))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("others", [1, 4, 60])
def test_where_a_largest_element_begins_to_be_a_peak(others, dtype, rng):
    # it is one by its distance from the second and by what all others hold: rows on both sides of either limit, with
    # tops whose e^x has large parts of any size
    parts = np.concatenate([np.linspace(0.116, 0.156, 60), rng.uniform(0.126, 0.137, 60)])
    x = np.full((parts.size, 402), -60, dtype) - rng.random((parts.size, 402)).astype(dtype)
    tops = (rng.integers(-99, 99, parts.size) + rng.uniform(-0.5, 0.5, parts.size)) * np.log(2) / 16
    tops[::2] = (rng.integers(-99, 99, parts.size) + rng.uniform(0.4, 0.5, parts.size))[::2] * np.log(2) / 8
    for row, part, top in zip(x, parts, tops, strict=True):
        places = rng.permutation(row.size)[: others + 1]
        row[places] = np.log(part / others) + top
        row[places[0]] = top
    alone = np.concatenate([fastsoftmax.log_softmax(row[None], 1) for row in x])
    assert_exact("log_softmax", x, 1, alone, "auto")
    same_bits(fastsoftmax.log_softmax(x, 1), alone)
    same_bits(np.stack([behind_rows_of_known_maxima(row) for row in x]), alone)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("share", [1e-30, 0.01, 0.13, 0.14, 0.25, 3.0])
def test_long_rows_with_a_peak(share, dtype, rng, monkeypatch, restore_threads):
    # in any piece, of a row whose other elements hold this share of it; one of them a large part, or none
    monkeypatch.setitem(long_row.CAREFUL, "log_softmax", None)
    n = 2**18 + 999
    for place, other in ((0, n - 1), (n // 2, n // 2 + 1), (n - 1, 0), (n // 3, None)):
        x = (rng.normal(0, 1, n) - 30).astype(dtype)
        if other is not None:
            x[other] = np.log(np.exp(x.astype(float)).sum())
        x[place] = -np.inf
        x[place] = np.log(np.exp(x.astype(float)).sum()) - np.log(share)
        for temperature in (1.0, 0.7) if other == 0 else (1.0,):
            got = fastsoftmax.log_softmax(x, temperature=temperature)
            if temperature == 1.0:
                assert_exact("log_softmax", x, -1, got, "auto", note=f"peak at {place}:")
            else:
                d = (x.astype(np.longdouble) - x[place]) / temperature
                true = d - np.log1p(np.exp(np.delete(d, place)).sum())
                np.testing.assert_allclose(got, true, rtol=float(np.finfo(dtype).eps), atol=float(np.finfo(dtype).tiny))
            fastsoftmax.set_num_threads(3)
            same_bits(fastsoftmax.log_softmax(x, temperature=temperature), got)
            in_place = x.copy()
            same_bits(fastsoftmax.log_softmax(in_place, temperature=temperature, out=in_place), got)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("below", [-95000.0, -1e30, -np.inf])
def test_long_rows_with_a_peak_and_no_pivot_for_the_others(below, dtype):
    x = np.full(2**18 + 999, below, dtype)
    x[777] = 0.3
    assert_exact("log_softmax", x, -1, fastsoftmax.log_softmax(x), "auto")


@pytest.mark.parametrize("dtype", FLOATS)
def test_long_rows_far_above_their_guess(dtype, rng):
    # what is found to be too much in one piece is too much for all
    for place in (5000, 2**17, 2**18 + 500):
        x = rng.normal(0, 1, 2**18 + 999).astype(dtype)
        x[place + 1 : place + 40 : 2] += 60
        for op in OPS:
            assert_exact(op, x, -1, call(op, x), "auto", note=f"{place}:")


@pytest.mark.parametrize("op", ["softmax", "logsumexp"])
@pytest.mark.parametrize("axis", [0, 1])
def test_far_below_the_largest_nothing_is_left(op, axis):
    # results that are normal numbers are as exact as others, those under every number are 0, and so is that of -inf
    far = np.log(2) * np.append(np.linspace(90, 165, 301), np.inf)
    for tops in (1, 3, 200):
        for shift in (0.0, 100.0, -3000.0):
            x = np.concatenate([np.zeros(tops), -far]).astype(np.float32) + np.float32(shift)
            x = np.repeat(x[None], 80, 0) if axis else np.repeat(x[:, None], 80, 1)
            got = call(op, x, axis)
            if op == "softmax":
                assert (got[x == -np.inf] == 0).all()
                true = exact.softmax(x, axis)
                normal = true >= np.finfo(np.float32).tiny
                assert (exact.ulp_error(got[normal], true[normal]) <= 2).all()
                assert (np.abs(got[~normal] - true[~normal]) <= np.finfo(np.float32).tiny).all()
                assert (got[true < 2.0**-151] == 0).all()
            else:
                assert_exact(op, x, axis, got, "auto")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", [513, 1025, 2049])
def test_equal_elements_whose_small_parts_are_all_rounded_alike(n, dtype):
    value = np.append(np.linspace(-0.1, 0.1, 300), [-0.041436824947595596, -0.04704928113676905]).astype(dtype)
    x = np.repeat(value[:, None], n, axis=1)
    share = np.full(x.shape, 1 / np.longdouble(n))
    for method in ("two_pass", "auto"):
        assert exact.ulp_error(call("softmax", x, method=method), share).max() <= 2
        for shift in (0, np.log(n)):  # also near 0
            y = x - dtype(shift)
            true = y[:, 0] + np.log(np.longdouble(n))
            error = exact.ulp_error(call("logsumexp", y, method=method), true, near_zero=exact.NEAR_ZERO["logsumexp"])
            assert error.max() <= 1


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("top", [90866.65, 90865.03, 90824.2, -90820.43, -90518.52, -90700.0, 88000.0, -88000.0])
def test_rows_at_the_end_of_the_range_of_pivots(top, dtype, rng):
    for n in (402, 500):
        x = (top + rng.uniform(-4, 4, (40, 1)) - 2.3 - 5 * rng.random((40, n))).astype(dtype)
        x[:, rng.integers(n)] += dtype(2.3)
        alone = np.concatenate([fastsoftmax.log_softmax(row[None], 1) for row in x])
        assert_exact("log_softmax", x, 1, alone, "auto")
        same_bits(fastsoftmax.log_softmax(x, 1), alone)
        same_bits(np.stack([behind_rows_of_known_maxima(row) for row in x]), alone)


@pytest.mark.parametrize("dtype", FLOATS)
def test_rows_near_zero_have_the_same_bits_whatever_is_beside_them(dtype, rng):
    # after a result near 0 the next row is looked at closely first: on both sides of where that begins and ends
    where = np.concatenate([s * (v + np.linspace(-0.02, 0.02, 9) * v) for v in (0.001, 0.2, 0.5, 1.0) for s in (1, -1)])
    for n in (402, 1000):
        x = rng.normal(0, 1, (where.size, n))
        x = (x + (where - fastsoftmax.logsumexp(x, 1))[:, None]).astype(dtype)
        alone = np.concatenate([fastsoftmax.logsumexp(row[None], 1) for row in x])
        assert_exact("logsumexp", x, 1, alone, "auto")
        for order in (rng.permutation(where.size), np.argsort(where), np.argsort(abs(where))):
            same_bits(fastsoftmax.logsumexp(x[order], 1), alone[order])


@pytest.mark.parametrize("dtype", FLOATS)
def test_narrow_rows_near_zero_are_set_aside(dtype, rng):
    # until there are as many as a vector has lanes: whatever their number and places, and those of others
    for n in (1, 2, 3, 4, 5, 16, 31):
        x = rng.normal(0, 1, (500, n))
        is_near = rng.random(500) < np.linspace(0, 1, 500)
        x -= np.where(is_near, fastsoftmax.logsumexp(x, 1) - rng.uniform(-0.6, 0.6, 500), 3)[:, None]
        x[rng.integers(500, size=9), rng.integers(n, size=9)] = [np.nan, np.inf, -np.inf] * 3
        x = x.astype(dtype)
        alone = np.concatenate([fastsoftmax.logsumexp(np.repeat(row[None], 16, 0), 1)[:1] for row in x])
        sound = np.isfinite(x).all(1)
        assert_exact("logsumexp", x[sound], 1, alone[sound], "auto")
        same_bits(fastsoftmax.logsumexp(x, 1), alone)
        for first, rows in [(0, 17), (3, 40), (100, 33), (400, 64), (470, 30), (491, 9)]:
            part = slice(first, first + rows)
            same_bits(fastsoftmax.logsumexp(x[part], 1), alone[part])
            out = np.full((rows, 2), dtype(7))
            fastsoftmax.logsumexp(x[part], 1, out=out[:, 1])
            same_bits(out, np.stack([np.full(rows, dtype(7)), alone[part]], 1))


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_row_far_from_zero_behind_one_near_zero(dtype, rng):
    # e^x of the 4096th multiple of ln 2 has the low bits of 1, and so on: none may be taken for a row near 0
    far = np.concatenate([np.arange(-7, 40) * 1024 * np.log(2), np.geomspace(1, 1e30, 13)])
    x = rng.normal(0, 1, (2 * far.size, 5000))  # so long that a row is done at a time
    x = (x + (0.2 - fastsoftmax.logsumexp(x, 1))[:, None]).astype(dtype)
    x[1::2] = -50_000
    x[1::2, :64] = (far + 0.1)[:, None] - np.log(64)
    got = fastsoftmax.logsumexp(x, 1)
    assert_exact("logsumexp", x, 1, got, "auto")
    same_bits(got[1::2], np.concatenate([fastsoftmax.logsumexp(row[None], 1) for row in x[1::2]]))


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_column_near_zero_has_the_same_bits_whatever_is_beside_it(dtype, rng):
    # results near 0 are delicate: they are looked at in eights
    x = rng.normal(0, 1, (50, 256)).astype(dtype)
    x -= (fastsoftmax.logsumexp(x, 0) - rng.uniform(0.13, 0.49, 256)).astype(dtype)
    alone = fastsoftmax.logsumexp(x, 0)
    beside = x.copy()
    beside[:, ::8] -= dtype(0.4)  # nearer, and to both sides
    same_bits(np.delete(fastsoftmax.logsumexp(beside, 0), np.s_[::8]), np.delete(alone, np.s_[::8]))
    assert_exact("logsumexp", x, 0, alone, "auto")


# Many equal numbers beside a larger one: what is rounded off is so each time in the same direction.
TOPS = {  # length, place, the equal ones, the larger one: where sums that lost them were wrong by more than the bound
    np.float32: [
        (1000, 52, "-0x1.8e339cp2", "-0x1.8a9c2p-1"),
        (208, 52, "-0x1.491d1ap2", "0x1.76928p-2"),
        (4000, 3985, "0x1.1a1146p1", "0x1.ff3c4cp2"),
        (300, 299, "0x1.4e5580p-1", "0x1.93be5ep2"),
        (208, 176, "-0x1.1442e2p0", "0x1.613a92p2"),
        (4150, 1566, "0x1.84370ap-1", "0x1.4ef248p3"),
    ],
    np.float64: [
        (4000, 3335, "0x1.68fca8ebbcfd4p1", "0x1.93c8ceef0c280p3"),
        (200, 28, "-0x1.3cc60970bba94p0", "0x1.6c08cfb7bb801p2"),
        (200, 89, "-0x1.40f5ceb300f7dp1", "0x1.12d8edb25496ap2"),
    ],
}


def true_beside_equal(op, equal, top, n):
    """Return what an operation gives for one element `top` and n - 1 equal ones: for the top, and for another."""
    with mpmath.workdps(60):
        gap = mpmath.mpf(float(equal)) - mpmath.mpf(float(top))
        log = mpmath.log1p((n - 1) * mpmath.exp(gap))
        if op == "logsumexp":
            return [exactly.wide(float(top) + log)]
        return [exactly.wide(v if op == "log_softmax" else mpmath.exp(v)) for v in (-log, gap - log)]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_a_larger_element_beside_many_equal_ones(op, dtype, axis, rng):
    cases = [(n, j, *map(float.fromhex, row)) for n, j, *row in TOPS[dtype]]
    for n in (20, 111, 207, 300, 1000, 20_000, 100_000):
        for _ in range(40 if n < 10_000 else 4):
            gap = rng.uniform(0.5, np.log(n) + 3)
            near_one = rng.choice([-1, 1]) * rng.uniform(0.5, 1) - np.log1p((n - 1) * np.exp(-gap))
            top = rng.choice([near_one, rng.uniform(-6, 6)])
            cases.append((n, rng.integers(n), top - gap, top))
    for n in sorted({n for n, *_ in cases}):
        rows = [(dtype(equal), dtype(top)) for length, _, equal, top in cases if length == n]
        places = np.array([j for length, j, *_ in cases if length == n])
        each = np.arange(len(rows))
        x = np.repeat(np.array([equal for equal, _ in rows])[:, None], n, axis=1)
        x[each, places] = [top for _, top in rows]
        true = np.array([true_beside_equal(op, *row, n) for row in rows])
        got = call(op, x if axis else np.ascontiguousarray(x.T), axis)
        if op == "logsumexp":
            got = got[:, None]
        else:
            got = (got if axis else got.T)[each[:, None], np.stack([places, places - 1], 1)]
        error = exact.ulp_error(got, true, near_zero=exact.NEAR_ZERO[op])
        assert error.max() <= ULP_GOAL[op], (n, error.max(), rows[np.argmax(error.max(axis=1))])


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("n", [10, 200, 210, 410])
def test_logsumexp_where_its_measure_changes(n, method):
    # from 0.001 on the last place is the result's own: what is computed just below may be just above
    rng = np.random.default_rng(n)
    x = rng.normal(0, 1, (20_000, n))
    x -= np.log(np.exp(x).sum(axis=1, keepdims=True))
    x = (x + 0.001 + rng.uniform(-3e-8, 3e-8, (20_000, 1))).astype(np.float32)
    for moved in (x, x - np.float32(0.002)):
        assert_exact("logsumexp", moved, 1, call("logsumexp", moved, 1, method=method), method)
        columns = np.ascontiguousarray(moved.T)
        assert_exact("logsumexp", columns, 0, call("logsumexp", columns, 0, method=method), method)
