"""out=, where=, b= and temperature=. What is refused is in test_arguments.py, shared memory in test_overlap.py."""

import itertools

import exactly
import ml_dtypes
import mpmath
import numpy as np
import pytest
from helpers import EXACT, FLOATS, OPS, SAFE, assert_exact, call, same_bits

from fastsoftmax import logsumexp, set_num_threads, softmax
from fastsoftmax.kernels import rows

MAPS = ("softmax", "log_softmax")

# -- out= ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_out_is_filled_and_returned(op, dtype, method, rng):
    for shape, axis in itertools.product(((3, 40), (40, 3), (2, 5), (300, 4), (2, 3, 40)), (None, 0, -1, (0, -1))):
        x = rng.normal(0, 9, shape).astype(dtype)
        plain = call(op, x, axis, method=method)
        out = np.full(np.shape(plain), np.nan, dtype)
        assert call(op, x, axis, out=out, method=method) is out
        same_bits(out, plain)
        if op == "logsumexp":
            kept = np.full([1 if a in exactly.normal_axis(x, axis) else s for a, s in enumerate(shape)], np.nan, dtype)
            assert call(op, x, axis, keepdims=True, out=kept, method=method) is kept
            same_bits(kept.ravel(), np.ravel(plain))


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_large_result_begins_in_the_middle_of_a_page(dtype):
    for shape, axis in (((300, 1000), 1), ((300, 1000), 0), ((2**18,), None), ((2**18 + 1,), 0)):
        x = np.zeros(shape, dtype)
        for op in MAPS:
            for method in ("auto", "stable"):
                result = call(op, x, axis, method=method)
                behind = result.ctypes.data % 4096 - 2048
                assert behind == 0 or (behind == x.ctypes.data % 64 and shape == (300, 1000) and axis == 0)  # as x
                assert result.flags.carray
                assert result.shape == shape


@pytest.mark.parametrize("dtype", [*FLOATS, np.float16, ml_dtypes.bfloat16])
def test_a_logsumexp_is_all_that_is_written(dtype, rng):
    # also in two bytes; whatever way a row takes
    stored = np.dtype(dtype) if dtype in FLOATS else np.dtype(np.uint16 if dtype == np.float16 else np.int16)
    kernel, cells = rows.logsumexp_rows[stored], rows.logsumexp_rows.cells(stored)
    rows.logsumexp_rows.complete(stored)
    for n in (210, 1000, 5000):
        x = rng.normal(0, 1, (40, n))
        x += rng.choice([0.2, -0.05, 0.7, 30.0], 40)[:, None] - logsumexp(x, 1)[:, None]
        x[::13, n // 2] = np.nan
        x[::11, n // 3] = 50
        x = x.astype(dtype).view(stored).ravel()
        for count, first in itertools.product(range(1, 24), range(16)):
            room = np.full(count + 32, 7, stored)
            kernel(x, first * n, n, room, 16, 1, 0, count, n, 0, 1.0, *cells)
            assert (room[:16] == 7).all()
            assert (room[16 + count :] == 7).all()


def test_out_with_a_sign(rng):
    a, b = rng.normal(size=(2, 4, 9))
    out = np.empty(4)
    value, sign = logsumexp(a, 1, b, return_sign=True, out=out)
    assert value is out
    plain, plain_sign = logsumexp(a, 1, b, return_sign=True)
    same_bits(out, plain)
    same_bits(sign, plain_sign)


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", MAPS)
def test_out_is_the_input(op, dtype, method, rng):
    shapes = ((3, 40), (40, 3), (500, 10), (10, 500), (1, 70_000), (70_000, 1), (2, 9, 33))
    for shape, axis in itertools.product(shapes, (None, 0, -1)):
        x = rng.normal(0, 9, shape).astype(dtype)
        plain = call(op, x, axis, method=method)
        y = x.copy()
        assert call(op, y, axis, out=y, method=method) is y
        same_bits(y, plain)
        y = np.asfortranarray(x)
        plain = call(op, y, axis, method=method)
        call(op, y, axis, out=y, method=method)
        same_bits(y, plain)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    ("given", "wanted"),
    [("f4", "f8"), ("f8", "f4"), ("f2", "f8"), ("i8", "f4"), ("f4", "c8"), ("f8", "f2"), ("f4", ">f4")],
)
def test_out_of_another_kind_of_float(op, given, wanted, rng):
    x = (rng.normal(0, 3, (4, 33))).astype(given)
    out = np.full(4 if op == "logsumexp" else x.shape, 7, wanted)
    assert call(op, x, 1, out=out) is out
    np.testing.assert_allclose(out, call(op, x, 1).astype(wanted), rtol=2e-3, atol=1e-5)


# -- where= -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_where_within_the_bounds(op, dtype, rng):
    for shape, axis in itertools.product(((4, 40), (40, 4), (3, 5, 17), (2, 1000)), (None, 0, -1, (0, -1))):
        x = rng.normal(0, 20, shape).astype(dtype)
        for where in (
            rng.random(shape) < 0.7,
            rng.random(shape) < 0.1,
            rng.random(shape[-1:]) < 0.5,
            rng.random((shape[0],) + (1,) * (len(shape) - 1)) < 0.5,
            np.asfortranarray(rng.random(shape) < 0.7),
            (rng.random(shape) < 0.5)[..., ::-1],
            np.True_,
            False,
            (rng.random(shape[-1]) < 0.5).tolist(),
        ):
            true = exactly.exact(op, x, axis, where=np.asarray(where))
            for method in SAFE:
                got = call(op, x, axis, where=where, method=method)
                assert_exact(op, x, axis, got, method, true=true, note=f"{shape} axis {axis}:")
                if op != "logsumexp":
                    gone = ~np.broadcast_to(where, shape)
                    assert (got[gone] == (0 if op == "softmax" else -np.inf)).all()


@pytest.mark.parametrize("op", OPS)
def test_where_with_out_and_in_place(op, rng):
    x = rng.normal(size=(5, 70))
    where = rng.random(x.shape) < 0.5
    where[2] = False
    plain = call(op, x, 1, where=where)
    out = np.full_like(plain, 7)
    assert call(op, x, 1, where=where, out=out) is out
    same_bits(out, plain)
    if op != "logsumexp":
        same_bits(call(op, x, 1, where=where, out=x), plain)


@pytest.mark.parametrize("op", OPS)
def test_everything_kept_is_no_mask(op, rng):
    x = rng.normal(0, 5, (6, 90))
    for where in (True, np.ones(x.shape, bool), None):
        np.testing.assert_allclose(call(op, x, 1, where=where), call(op, x, 1), rtol=1e-15)


@pytest.mark.parametrize("name", ["keepdims", "return_sign"])
def test_a_flag_without_a_truth_value_leaves_out_alone(name):
    out = np.array(5.0)
    with pytest.raises(ValueError, match="truth value"):
        logsumexp([1.0, 2.0], out=out, where=True, **{name: np.zeros(2)})
    assert out == 5


# -- b= -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", FLOATS)
def test_weights_of_any_sign_and_size(dtype, method, rng):
    eps = np.finfo(dtype).eps
    for n in (1, 2, 3, 17, 60):
        a = rng.normal(0, 10, (6, n)).astype(dtype)
        for scale in (1, 1e-30, 1e30):
            for b in (
                rng.uniform(0.1, 2, (6, n)),
                rng.normal(0, 1, (6, n)),
                rng.normal(0, 1, (6, n)) * (rng.random((6, n)) < 0.5),
                rng.integers(-3, 4, (6, n)),
                -rng.uniform(0.1, 2, (6, n)),
            ):
                b = (b * scale).astype(dtype)
                true, true_sign, condition = exactly.by_digits("logsumexp", a, b).T
                value, sign = logsumexp(a, 1, b, return_sign=True, method=method)
                np.testing.assert_array_equal(sign, true_sign.astype(dtype))
                live = true_sign != 0
                assert (value[~live] == -np.inf).all()
                error = np.abs(value[live] - true[live])
                allowed = 8 * eps * (condition + np.abs(true) + np.abs(a).max(axis=1) + np.log(1 + n))[live]
                assert (error <= (allowed if method in EXACT else n * allowed)).all(), (n, scale)
                plain = logsumexp(a, 1, b, method=method)
                np.testing.assert_array_equal(np.isnan(plain), sign < 0)  # the log of a negative number
                np.testing.assert_array_equal(plain[sign >= 0], value[sign >= 0])


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("axis", [0, 1])
def test_a_zero_weight_removes_what_it_weighs(method, axis):
    for n, bad in itertools.product((3, 20, 100), (np.nan, np.inf, -np.inf, 1e308)):
        a = np.linspace(-1, 1, n)
        b = np.ones(n)
        a[n // 2], b[n // 2] = bad, 0
        clean = np.delete(a, n // 2)
        x, w = (v.reshape((1, -1) if axis == 1 else (-1, 1)) for v in (a, b))
        for weight in (w, w.astype(int), w.astype(bool), -0.0 + w):
            np.testing.assert_allclose(logsumexp(x, axis, weight, method=method), logsumexp(clean), rtol=1e-14)


def test_weights_by_hand():
    value, sign = logsumexp([1, 1, 1], b=[1, -1, -1], return_sign=True)
    assert (value, sign) == (pytest.approx(1), -1)
    value, sign = logsumexp([1, 1], b=[1, -1], return_sign=True)
    assert (value, sign) == (-np.inf, 0)
    assert np.isnan(logsumexp([1.0, 2.0], b=[1, -1]))
    assert logsumexp([2.0, 1.0], b=[1, -1]) == pytest.approx(np.log(np.e**2 - np.e))
    assert logsumexp([1.0, 2.0], b=[0, 0]) == -np.inf
    assert logsumexp([np.inf], b=[-1.0], return_sign=True) == (np.inf, -1)
    assert np.isnan(logsumexp([1.0, 2.0], b=[np.nan, 1]))
    # weights that do not commute with their exponentials: the largest term is not the largest exponent
    assert logsumexp([0.0, -700.0], b=[1e-300, 1e300]) == pytest.approx(-9.224472101786294795, rel=1e-15)


@pytest.mark.parametrize("method", SAFE)
def test_weights_and_masks_together(method, rng):
    a, b = rng.normal(size=(2, 5, 60))
    where = rng.random(a.shape) < 0.5
    where[3] = False
    a[~where] = np.nan
    value, sign = logsumexp(a, 1, b, where=where, return_sign=True, method=method)
    expected = logsumexp(np.where(where, a, 0), 1, np.where(where, b, 0), return_sign=True)
    np.testing.assert_allclose(value, expected[0], rtol=1e-13)
    np.testing.assert_array_equal(sign, expected[1])
    assert (value[3], sign[3]) == (-np.inf, 0)


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda b: b[::-1][::-1], lambda b: np.repeat(b, 2, 1)[:, ::2]])
def test_weights_in_other_layouts(layout, rng):
    a, b = rng.normal(size=(2, 12, 33))
    for axis in (None, 0, 1):
        for got, expected in zip(
            logsumexp(layout(a), axis, layout(b), return_sign=True),
            logsumexp(a, axis, b, return_sign=True),
            strict=True,
        ):
            np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
def test_nothing_but_what_vanishes_has_no_weight(dtype):
    for n in (1, 5, 70):
        for weight in (2.0, -0.5, 0.0):
            x, b = np.full((2, n), -np.inf, dtype), np.full((2, n), weight, dtype)
            for value, sign in zip(*logsumexp(x, 1, b, return_sign=True), strict=True):
                assert (value, sign) == (-np.inf, 0)
            x[0, 0] = np.nan
            value, sign = logsumexp(x, 1, b, return_sign=True)
            assert np.isnan(value[0]) == np.isnan(sign[0]) == (weight != 0)
            assert (value[1], sign[1]) == (-np.inf, 0)
    x, b = np.array([0, 0, -np.inf], dtype), np.array([1, -1, 1], dtype)
    assert logsumexp(x, 0, b, return_sign=True) == (-np.inf, 0)


@pytest.mark.filterwarnings("error")
def test_weights_that_broadcast_to_nothing_more():
    for shape, other in (((5,), (1, 5)), ((1, 5), (5,)), ((5, 1), (1, 5, 1))):
        for dtype in FLOATS:
            expected = np.log(5 * 2.0)
            got = logsumexp(np.zeros(shape, dtype), None, np.full(other, 2.0, dtype))
            np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_threads_share_rows_with_weights(rng, restore_threads):
    a, b = rng.normal(0, 5, (2, 600, 700))
    b[::50] = 1e200
    results = []
    for count in (1, 3):
        set_num_threads(count)
        results.append([logsumexp(a, axis, b, return_sign=True) for axis in (0, 1, None)])
    for one, three in zip(*results, strict=True):
        for part in range(2):
            same_bits(one[part], three[part])


def test_weights_far_apart():
    """What counts is the size of b·e^a: no weight overflows, and a small e^a may outweigh a large one."""
    largest = np.finfo(float).max
    for a, b in (
        ([0.0, -800.0], [1e-300, 1e300]),
        ([0.0, -1000.0, -1400.0], [1e-300, 1e300, 1e308]),
        ([0.0, 0.0], [largest, largest]),
        ([700.0, 700.0], [1e300, -1.0]),
        ([709.0, -745.0], [5e-324, largest]),
        ([1e4, 0.0], [5e-324, 1.0]),
        ([-1e4, 1e4], [largest, -5e-324]),
        ([0.0, -50.0], [1e200, -1e200]),
    ):
        (true, true_sign, _), *_ = exactly.by_digits("logsumexp", np.array([a]), np.array([b]))
        for axis, x, w in ((0, a, b), (1, [a, [0, 0, 1][: len(a)]], [b, [1, 1, 1][: len(a)]])):
            value, sign = (np.ravel(v)[0] for v in logsumexp(x, axis, w, return_sign=True))
            assert sign == true_sign
            assert exactly.ulp_of_one(np.array([value]), np.array([true]))[0] <= 1.01, (a, b)


def test_what_cancels_exactly_hides_nothing(rng):
    """e^a of different a are never exact multiples of each other, so equal elements are all that can cancel."""
    for n in (3, 8, 40):
        pairs = rng.normal(0, 5, (20, n))
        weights = rng.normal(0, 1, pairs.shape)
        rest = rng.uniform(-900, -40, (20, 3))
        parity = rng.choice([-1, 1], rest.shape)
        a, b = np.hstack([pairs, rest, pairs]), np.hstack([weights, parity, -weights])
        order = rng.permuted(np.tile(np.arange(a.shape[1]), (20, 1)), axis=1)
        a, b = np.take_along_axis(a, order, 1), np.take_along_axis(b, order, 1)
        values, signs = logsumexp(a, 1, b, return_sign=True)
        true, true_signs, _ = exactly.by_digits("logsumexp", rest, parity).T
        np.testing.assert_array_equal(signs, true_signs)
        np.testing.assert_allclose(values, true.astype(float), rtol=1e-13)


def test_an_odd_row_leaves_the_others_their_bits(rng):
    a, b = rng.normal(size=(2, 9, 40))
    plain = logsumexp(a, 1, b, return_sign=True)
    odd_a, odd_b = a.copy(), b.copy()
    odd_a[2, 3], odd_b[4, 5], odd_b[6, 7] = np.inf, 1e300, np.nan
    usual = [0, 1, 3, 5, 7, 8]
    for got, expected in zip(logsumexp(odd_a, 1, odd_b, return_sign=True), plain, strict=True):
        same_bits(got[usual], expected[usual])


# -- temperature= -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", MAPS)
def test_temperature_divides(op, dtype, method, rng):
    for temperature in (1, 3.0, -0.7, 1e3, 0.01, np.float32(2.5), np.int64(-2), np.array(1.5)):
        for shape, axis in (((5, 40), 1), ((5, 40), 0), ((100, 10), 1), ((2, 3000), 1)):
            x = rng.normal(0, 2, shape).astype(dtype)
            wide = x.astype(np.longdouble) / np.longdouble(float(temperature))
            true = exactly.exact(op, wide, axis)
            got = call(op, x, axis, temperature=temperature, method=method)
            assert got.dtype == dtype
            # the division is rounded: half a unit of the largest quotient, in every exponent and in the sum
            slack = 4 * np.finfo(dtype).eps * (2 + float(np.abs(wide).max())) * (4 if method in EXACT else shape[axis])
            seen = true > np.finfo(dtype).tiny if op == "softmax" else slice(None)
            np.testing.assert_allclose(
                got[seen], true[seen].astype(float), rtol=slack, atol=slack * (op == "log_softmax")
            )


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", FLOATS)
def test_extreme_temperatures(dtype, method):
    x = np.array([1, 3, 2, -5], dtype)
    same_bits(softmax(x, temperature=1e-30, method=method), np.array([0, 1, 0, 0], dtype))
    same_bits(softmax(x, temperature=-1e-30, method=method), np.array([0, 0, 0, 1], dtype))
    np.testing.assert_allclose(softmax(x, temperature=1e30, method=method), 0.25, rtol=1e-6)
    np.testing.assert_allclose(softmax(x, temperature=-1e30, method=method), 0.25, rtol=1e-6)


def by_digits(op, row, temperature):
    """Exact result for one row, divided without rounding."""
    with mpmath.workdps(60):
        x = [mpmath.mpf(float(v)) / mpmath.mpf(float(temperature)) for v in row]
        k = x.index(max(x))
        rest = mpmath.fsum(mpmath.exp(v - x[k]) for i, v in enumerate(x) if i != k and v - x[k] > -1e6)
        logs = [v - x[k] - mpmath.log1p(rest) for v in x]
        values = logs if op == "log_softmax" else [mpmath.exp(v) if v > -1e6 else mpmath.mpf(0) for v in logs]
        return np.array([exactly.wide(v) for v in values])


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", MAPS)
def test_temperatures_from_end_to_end_of_the_range(op, dtype, method, rng):
    powers = [-320, -307, -290, -250, -200, -100, -46, -40, -37, -30, -10, 10, 30, 37, 40, 100, 250, 280, 307]
    info = np.finfo(dtype)
    for power, sign in itertools.product(powers, (1, -1)):
        temperature = sign * float(f"3e{power}")
        for size in (1, abs(temperature), 20 * abs(temperature), float(info.max) / 2):
            if not float(info.smallest_subnormal) * 100 < size <= float(info.max) / 2:
                continue
            row = (rng.normal(0, 0.3, 9).clip(-1, 1) * size).astype(dtype)
            got = call(op, row, 0, temperature=temperature, method=method)
            true = by_digits(op, row, temperature)
            fits = np.abs(true) <= info.max
            np.testing.assert_array_equal(got[~fits], -np.inf)
            error = exactly.ulp(got[fits], true[fits])
            assert (error <= 2).all(), (temperature, size, error.max())


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", MAPS)
def test_quotients_out_of_range_are_no_nan(op, dtype, method, rng):
    largest = float(np.finfo(dtype).max)
    powers = (-30, -24, -18, -9, -6, -4, -1, 0, 10) if dtype is np.float32 else (-243, -81, -20, -15, -12, -1, 0, 100)
    for shape, axis in (((5,), 0), ((3, 200), 1), ((300, 7), 1), ((200, 50), 0), ((7, 33, 20), 1)):
        for power, sign, scale in itertools.product(powers, (1, -1, 3), (largest, largest / 3)):
            x = (rng.choice([1, -1, 0.5, -0.5, 0, 1e-3, -0.1], shape) * scale).astype(dtype)
            got = call(op, x, axis, temperature=sign * 10.0**power, method=method)
            top = np.max(x * np.sign(sign), axis=axis, keepdims=True)
            ties = np.sum(x * np.sign(sign) == top, axis=axis, keepdims=True)
            is_top = x * np.sign(sign) == top
            if power < 0:
                best = 1 / ties if op == "softmax" else -np.log(ties)
                np.testing.assert_allclose(got[is_top], np.broadcast_to(best, shape)[is_top], rtol=1e-6)
            assert not np.isnan(got).any(), (shape, power, sign, scale)


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", [*FLOATS, np.float16, np.longdouble])
def test_an_infinite_temperature_makes_all_that_is_finite_alike(dtype, method):
    largest = np.finfo(dtype).max / 4  # differences of longdouble are longdouble
    x = np.array([3, -np.inf, -5, largest, -largest], dtype)
    for temperature in (np.inf, -np.inf):
        p = softmax(x if temperature > 0 else -x, temperature=temperature, method=method)
        np.testing.assert_array_equal(p, np.array([0.25, 0, 0.25, 0.25, 0.25], dtype))


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("op", MAPS)
def test_a_negative_temperature_turns_infinities_round(op, method):
    x = np.array([np.inf, 0.0, 1.0])  # divided by -1: exactly nothing, and a finite rest
    got = call(op, x, temperature=-1, method=method)
    np.testing.assert_allclose(got, call(op, -x, method=method))
    assert np.isnan(call(op, -x, temperature=-1, method=method)).all()


@pytest.mark.parametrize("op", MAPS)
def test_temperature_goes_with_where_out_and_integers(op, rng):
    x = rng.integers(-5, 6, (4, 30))
    where = rng.random(x.shape) < 0.6
    out = np.empty(x.shape)
    assert call(op, x, 1, temperature=0.5, where=where, out=out) is out
    np.testing.assert_allclose(out, call(op, x * 2.0, 1, where=where), rtol=1e-14)
