"""`auto` on columns: wherever they lie, whatever is beside them, and whenever their largest elements come."""

import itertools

import exactly
import mpmath as mp
import numpy as np
import pytest
from helpers import FLOATS, OPS, assert_exact, call, same_bits

import fastsoftmax
from fastsoftmax.routes import SHORT, SHORT_IF_COLLIDING, cut_columns

N = 264  # rows of five chunks, the last one of 8
FAR = {np.float32: 60.0, np.float64: 500.0}


def columns_of_many_kinds(dtype, n, rng):
    """Return columns whose pivots are guessed well, guessed badly, raised later, known late, or not to be had."""
    x = rng.normal(0, 1, (n, 48))
    rows, far = np.arange(n), FAR[dtype]
    x[:, 1] *= 10
    x[:, 2] += rows  # each chunk raises the pivot
    x[:, 3] -= rows
    x[:, 4] += 8 * (rows // 64)  # by more than suits the one before
    x[rows % 8 != 0, 5] += 12  # all rows but those that are looked at
    x[-1, 6] += far
    x[n // 2 :, 7] -= far
    x[: n // 2, 8:10] = -np.inf  # a first chunk of nothing
    x[n // 2 :, 9] -= 9e4
    x[:, 10] = -np.inf
    x[n // 3, 11] = np.nan
    x[n // 3, 12] = np.inf
    x[n // 3, 13] = 1e30
    x[:, 14] = 3.0
    x[:-1, 15] -= 40  # one peak, at the end
    x[:, 16] = np.where(rows == n // 2, 0.0, -17.25)
    x[:, 17] -= np.log(np.exp(x[:, 17]).sum()) + 0.01  # a logsumexp near 0
    x[:, 18:] *= np.linspace(0.1, 30, 30)
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_every_kind_of_column_is_exact(op, dtype, rng):
    for n in (1, 2, 7, 63, 64, 65, 67, 130, N):
        x = columns_of_many_kinds(dtype, n, rng)
        for order in (np.arange(48), rng.permutation(48)):
            y = np.tile(x[:, order], (1, 2))
            got, known = call(op, y, 0), ~np.isin(np.tile(order, 2), (11, 12))
            assert_exact(op, y[:, known], 0, got[..., known], note=f"{n} rows:")
            assert np.isnan(got[..., ~known]).all() or op == "logsumexp"


def test_small_parts_of_equal_elements_are_summed_exactly():
    """Added one after the other, they would all be rounded the same way: 0.62 ULP, with AVX2 0.90."""
    rng = np.random.default_rng(6)
    x = np.repeat(rng.uniform(-20, 20, (1, 4000)), 64, axis=0)
    x[0] += rng.uniform(0, 2, 4000)
    x = x.astype(np.float32)
    true = exactly.exact("logsumexp", x, 0)
    assert exactly.ulp(call("logsumexp", x, 0), true)[np.abs(true) > 0.5].max() < 0.6


@pytest.mark.parametrize(
    ("op", "dtype", "n", "first", "others"),
    [
        ("softmax", "float64", 65, "0x1.722651cb09e74p+3", "0x1.d922bd7d66ce0p+1"),
        ("softmax", "float32", 65, "0x1.4b5154p+2", "-0x1.3ff6b8p+1"),
        ("softmax", "float32", 61, "0x1.e3c38p-2", "-0x1.aae78cp+2"),
        ("logsumexp", "float32", 65, "0x1.d2d6p-2", "-0x1.b0e0cp+2"),
        ("logsumexp", "float32", 64, "0x1.e39758p-2", "-0x1.cbdcacp+2"),
        ("logsumexp", "float32", 65, "0x1.e7e7cp-2", "-0x1.5bc36cp+2"),
        ("logsumexp", "float32", 128, "-0x1.f8ac5cp+1", "-0x1.f8ac5cp+1"),
        ("logsumexp", "float32", 8000, "0x1.1f610ep-1", "-0x1.8e4aeep+3"),
    ],
)
def test_many_equal_elements_beside_a_larger_one(op, dtype, n, first, others):
    """What made the largest errors once: 3.3 ULP of softmax, 2.8 of logsumexp."""
    x = np.full((n, 16), float.fromhex(others), dtype)
    x[0] = float.fromhex(first)
    for axis in (0, 1):
        y = x if axis == 0 else np.ascontiguousarray(x.T)
        assert_exact(op, y, axis, call(op, y, axis))


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_top_of_log_softmax_is_exact_at_any_temperature(dtype, rng):
    """The logarithm of a sum, and the largest element over the temperature, have no common last digit."""
    for temperature, peak in itertools.product((0.7, 1.0, 3.3), (0, 2, 5, 30, 200, 1500)):
        x = rng.normal(0, 1, (70, 20)).astype(dtype)
        x[17] += dtype(peak)
        got = call("log_softmax", x, 0, temperature=temperature)
        with mp.workprec(200):
            for column, results in zip(x.T, got.T, strict=True):
                values = [mp.mpf(float(v)) / temperature for v in column]
                top = max(values)
                log = mp.log1p(mp.fsum(mp.exp(v - top) for v in values if v != top))
                true = np.array([dtype(float(v - top - log)) for v in values])
                assert (np.abs(results - true) <= 2 * np.spacing(np.abs(true))).all(), (temperature, peak)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_around_the_largest_exponents_there_is_a_pivot_for(op, dtype, rng):
    """Also where a chunk has none and the next one has, and where the limit itself depends on how it is rounded."""
    limit = 2**17 * np.log(2)
    for n in (5, 64, 128, 200):
        x = np.full((n, 64), -limit)
        x[:, :16] += rng.normal(0, 0.1, (n, 16))
        x[64:, 8:24] += np.linspace(0.01, 10, 16)
        x[64:, 24:28] += [100, 3000, 5000, limit]
        x[1:, 28:40] -= 3
        x[:, 28:40] += np.linspace(-1, 1, 12) / 64
        x[1:, 40:] -= 1000
        for y in (x, -x):
            y = y.astype(dtype)
            assert_exact(op, y, 0, call(op, y, 0), note=f"{n} rows:")


def test_the_limit_of_pivots_as_float32_rounds_it():
    for value in (-90852.1875, 90852.1875):
        x = np.full((5, 64), value, np.float32)
        x[1:] -= 3
        for op in OPS:
            assert_exact(op, x, 0, call(op, x, 0))


@pytest.mark.parametrize("op", OPS[:2])
def test_one_number_beside_nan_is_nan(op):
    for column in ([5, np.nan], [np.nan, 5], [5, -np.inf, np.nan], [np.nan, -np.inf, 5]):
        x = np.tile(np.array(column, np.float32)[:, None], (1, 70))
        assert np.isnan(call(op, x, 0)).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_nan_is_found_beside_elements_a_thousand_exponents_apart(op, dtype, rng):
    for n in (5, 70, 300):
        for at in (0, 1, n - 1):
            x = rng.normal(0, 1, (n, 100)).astype(dtype)
            x[2] += 3000
            x[at] = np.nan
            assert np.isnan(call(op, x, 0)).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_an_element_beside_nothing_has_a_logarithm_of_zero(dtype):
    for value in (-80_000.0, -3000.0, -1.0, 0.0, 2.5, 3000.0, 80_000.0):
        x = np.full((5, 70), -np.inf, dtype)
        x[3] = value
        got = call("log_softmax", x, 0)
        assert (got[3] == 0).all()
        assert (np.delete(got, 3, 0) == -np.inf).all()


@pytest.mark.parametrize("dtype", [*FLOATS, np.float16])
@pytest.mark.parametrize("op", OPS)
def test_a_column_has_the_same_bits_wherever_it_lies(op, dtype, rng):
    """Read as it lies or from a tile, terms kept here or there or not at all: only the values count."""
    for n in (5, 25, 64, 66, N, 1100):
        with np.errstate(over="ignore"):
            x = columns_of_many_kinds(dtype if dtype in FLOATS else np.float32, n, rng).astype(dtype)
        expected = call(op, np.tile(x, (1, 2)), 0)[..., :48]
        for columns in ([3, 4], [8, 2, 1, 11, 5], rng.permutation(48)[:17], rng.permutation(48)[:16]):
            some = np.empty((n, len(columns) + 1), x.dtype)[:, :-1]  # rows lie apart, or they would be folded
            some[:] = x[:, columns]
            same_bits(call(op, some, 0), expected[..., columns])
        wide = np.tile(x, (1, 22))[:, :1024].copy()  # a cache finds the same place for all elements of a column
        expected_wide = np.tile(expected, 22)[..., :1024]
        if SHORT_IF_COLLIDING < n <= SHORT[op]:  # then they are done another way
            expected_wide = call(op, wide[:, ::-1].copy(), 0)[..., ::-1]
        same_bits(call(op, wide, 0), expected_wide)
        same_bits(call(op, np.tile(x, (1, 3))[:, :135].copy(), 0), np.tile(expected, 3)[..., :135])
        planes = np.empty((2, n, 49), x.dtype)[..., :48]
        planes[:] = np.stack([x, x[:, ::-1]])
        same_bits(call(op, planes, 1)[1], expected[..., ::-1])
        if op != "logsumexp":
            same_bits(call(op, y := np.tile(x, (1, 2)), 0, out=y)[:, :48], expected)
            same_bits(call(op, y := wide.copy(), 0, out=y), expected_wide)


@pytest.mark.parametrize("dtype", FLOATS)
def test_shares_down_to_the_smallest_numbers(dtype, rng):
    """Where the pivot rises by as much as numbers have exponents, terms are brought to it in one step."""
    info = np.finfo(dtype)
    for gap in -np.log(info.tiny) + np.arange(-40, 41, 2.5):
        x = rng.normal(0, 1, (N, 20)).astype(dtype)
        x[:64] -= dtype(gap)
        got = call("softmax", x, 0)
        true = np.exp(x.astype(np.longdouble) - x.max(0)) / np.exp(x.astype(np.longdouble) - x.max(0)).sum(0)
        normal = true >= info.tiny
        assert (np.abs(got - true)[normal] <= 2 * np.spacing(true[normal].astype(dtype))).all()
        assert (got[~normal] <= 1.01 * info.tiny).all()
        same_bits(call("softmax", y := x.copy(), 0, out=y), got)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 37, 500, 509, 512])
def test_columns_that_crowd_have_the_same_bits(dtype, count, rng):
    """Their terms are computed along the rows, those of others down the columns."""
    for n in (321, 1001):
        scales = rng.choice([0.1, 3.0, 40.0], count)
        x = (rng.standard_normal((n, count)) * scales + rng.uniform(-50, 50, count)).astype(dtype)
        x[:, ::5] += np.linspace(-100, 100, n)[:, None].astype(dtype)  # pivots are raised chunk by chunk
        x[rng.integers(n), rng.integers(count)] = 3e4
        x[rng.integers(n, size=9), rng.integers(count, size=9)] = [np.nan, np.inf, -np.inf] * 3
        if count > 20:
            x[:, 7], x[:, 11] = -np.inf, np.finfo(dtype).max / 2
        results = []
        for pitch in (512, 560, 1024):
            _, (_, _, flag), _ = cut_columns("softmax", n, count, 1, count, np.dtype(dtype), (pitch, pitch), False, 1)
            assert flag == (0 if count < 64 else 1 if pitch == 560 else 2)
            wide = np.full((n, pitch), np.nan, dtype)
            wide[:, :count] = x
            out = np.zeros((n, pitch), dtype)
            fastsoftmax.softmax(wide[:, :count], axis=0, out=out[:, :count])
            assert (out[:, count:] == 0).all()
            results.append(out[:, :count])
        same_bits(results[0], results[1])
        same_bits(results[2], results[1])
        known = np.flatnonzero(np.isfinite(x).all(axis=0))[:40]
        assert_exact("softmax", x[:, known], 0, results[0][:, known])
