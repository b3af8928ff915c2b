"""The measuring instrument against mpmath with 50 digits."""

import mpmath
import numpy as np
import pytest

from fastsoftmax.compare import exact

needs_long_double = pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="no extended precision")
FLOATS = [np.float32, pytest.param(np.float64, marks=needs_long_double)]

# scale, offset, length: peaked, flat, far from zero, cancelling to nearly 0, a pair, a single element
ROWS = [
    (1, 0, 10),
    (10, 0, 200),
    (100, 0, 200),
    (1e-2, 0, 300),
    (1, 1e3, 50),
    (300, -1e5, 50),
    (1, -np.log(700), 700),
    (2, -8.5, 500),
    (50, 0, 2),
    (1, 3, 1),
    (1, -np.log(700) - 0.448, 700),  # a logsumexp of -0.003
    (1, -np.log(700) - 0.55, 700),
]


def truth(x):
    """Return softmax, log_softmax and logsumexp of a row as mpmath numbers."""
    with mpmath.workdps(50):
        values = [mpmath.mpf(float(v)) for v in x]
        top = values.index(max(values))
        rest = mpmath.fsum(mpmath.exp(v - values[top]) for i, v in enumerate(values) if i != top)
        log_total = mpmath.log1p(rest)
        softmax = [mpmath.exp(v - values[top]) / (1 + rest) for v in values]
        return softmax, [v - values[top] - log_total for v in values], values[top] + log_total


def distance(got, true, dtype, near_zero=0.0):
    """Return the error of a wide result in ULP of the type, computed by mpmath."""
    unit = float(exact.spacing(got, dtype, near_zero=near_zero))
    mantissa, exponent = np.frexp(got)
    high = float(mantissa)
    low = float(mantissa - type(mantissa)(high))
    with mpmath.workdps(50):
        error = abs(mpmath.ldexp(mpmath.mpf(high) + mpmath.mpf(low), int(exponent)) - true)
        return float(error / mpmath.mpf(unit))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("scale", "offset", "n"), ROWS)
def test_all_three_functions_are_exact_to_a_hundredth_of_an_ulp(dtype, scale, offset, n):
    x = (np.random.default_rng(n).standard_normal(n) * scale + offset).astype(dtype)
    softmax, log_softmax, logsumexp = truth(x)
    assert max(map(distance, exact.softmax(x), softmax, [dtype] * n)) < 0.01
    assert max(map(distance, exact.log_softmax(x), log_softmax, [dtype] * n)) < 0.01
    assert distance(exact.logsumexp(x)[()], logsumexp, dtype, exact.NEAR_ZERO["logsumexp"]) < 0.01


@pytest.mark.parametrize("dtype", FLOATS)
def test_top_element_near_zero_keeps_its_digits(dtype):
    x = np.array([0, -40, -60], dtype)
    _, true, _ = truth(x)
    assert distance(exact.log_softmax(x)[0], true[0], dtype) < 0.01
    assert -1e-17 < exact.log_softmax(x)[0] < 0


def test_long_row_is_summed_in_chunks_without_loss():
    x = np.zeros((1, 200_001), np.float32)
    assert exact.logsumexp(x)[0] == pytest.approx(np.log(200_001), rel=1e-15)
    x[0, 150_000] = 1  # the top element lies in a later chunk
    assert exact.logsumexp(x)[0] == pytest.approx(np.log(200_000 + np.e), rel=1e-15)


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), (2, 0), None])
def test_axes(axis):
    x = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    total = np.log(np.exp(x.astype(np.float64)).sum(axis=axis, keepdims=True))
    np.testing.assert_allclose(exact.log_softmax(x, axis), x - total, rtol=1e-12)
    np.testing.assert_allclose(exact.softmax(x, axis), np.exp(x - total), rtol=1e-12)
    np.testing.assert_allclose(exact.logsumexp(x, axis), total.squeeze(axis), rtol=1e-12)


def test_rows_that_are_not_finite():
    inf, nan = np.inf, np.nan
    x = np.array([[inf, 0], [inf, -inf], [-inf, -inf], [nan, 0], [-inf, 0]], np.float32)
    np.testing.assert_array_equal(exact.logsumexp(x), [inf, inf, -inf, nan, 0])
    np.testing.assert_array_equal(exact.softmax(x), [[nan, nan]] * 4 + [[0, 1]])
    np.testing.assert_array_equal(exact.log_softmax(x), [[nan, nan]] * 4 + [[-inf, 0]])


def test_empty_rows():
    np.testing.assert_array_equal(exact.logsumexp(np.zeros((2, 0), np.float32)), [-np.inf, -np.inf])
    assert exact.softmax(np.zeros((2, 0), np.float32)).shape == (2, 0)


@needs_long_double
def test_integers_count_as_float64():
    assert exact.softmax([1, 2]).dtype == np.longdouble
    np.testing.assert_allclose(exact.softmax([1, 2]).astype(float), [0.26894142136999512, 0.73105857863000488])


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="complex128"):
        exact.softmax(np.ones(3, complex))


@pytest.mark.parametrize("dtype", [np.float16, *FLOATS])
def test_spacing_is_numpys(dtype):
    tiny, large = np.finfo(dtype).tiny, np.finfo(dtype).max
    x = np.array([1, 1.5, 2, 0.75, -3, tiny, tiny / 4, 0, large / 4], dtype)
    np.testing.assert_array_equal(exact.spacing(x, dtype), np.spacing(np.abs(x)))


def test_spacing_next_to_zero_is_that_of_one():
    found = exact.spacing([1e-9, -9e-4, 0.9, 8], np.float32, near_zero=1e-3)
    np.testing.assert_array_equal(found, [2**-23, 2**-23, 2**-24, 2**-20])


class TestUlpError:
    def test_is_a_fraction_of_the_gap_between_floats(self):
        one = np.float32(1)
        assert exact.ulp_error(one, 1 + 2.0**-25) == 0.25
        assert exact.ulp_error(np.nextafter(one, np.float32(2)), 1.0) == 1
        assert exact.ulp_error(np.nextafter(one, np.float32(0)), 1 - 2.0**-24) == 0

    def test_rounding_to_the_type_costs_half_at_most(self):
        true = exact.softmax(np.random.default_rng(0).standard_normal((50, 40)).astype(np.float32) * 20)
        error = exact.ulp_error(true.astype(np.float32), true)
        assert 0.4 < error.max() <= 0.5

    def test_not_finite(self):
        inf, nan = np.inf, np.nan
        got = np.array([nan, inf, -inf, nan, inf, -inf, 1, 1, inf], np.float32)
        true = np.array([nan, inf, -inf, 1, 1, inf, nan, inf, 3.41e38])
        np.testing.assert_array_equal(exact.ulp_error(got, true), [0, 0, 0, inf, inf, inf, inf, inf, 0])

    def test_tiny_values_may_be_flushed_to_zero_only(self):
        tiny = float(np.finfo(np.float32).tiny)
        zero = np.zeros(4, np.float32)
        error = exact.ulp_error(zero, [tiny / 2, -tiny / 2, tiny, tiny * 1.01])
        np.testing.assert_array_equal(error[:3], 0)
        assert error[3] > 8e6
        assert exact.ulp_error(np.float32(tiny), tiny / 2) == 2.0**22

    def test_near_zero_a_logsumexp_errs_in_ulp_of_one(self):
        assert exact.ulp_error(np.float32(2.0**-23), 0.0, near_zero=1e-3) == 1
        assert exact.ulp_error(np.float32(0.25), 0.25 + 2.0**-25, near_zero=1e-3) == 1
        assert exact.ulp_error(np.float32(2.0**-23), 0.0) > 1e30

    def test_the_unit_can_be_given(self):
        true = exact.logsumexp(np.random.default_rng(0).standard_normal((9, 9)).astype(np.float32))
        got = true.astype(np.float32)
        unit = exact.spacing(true, got.dtype, near_zero=1e-3)
        np.testing.assert_array_equal(exact.ulp_error(got, true, unit=unit), exact.ulp_error(got, true, near_zero=1e-3))

    def test_short_floats(self):
        assert exact.ulp_error(np.float16(1), 1 + 2.0**-11) == 0.5
        ml_dtypes = pytest.importorskip("ml_dtypes")
        assert exact.ulp_error(np.array(1, ml_dtypes.bfloat16), 1 + 2.0**-8) == 0.5
