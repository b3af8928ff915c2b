"""Half floats, integers, bool, longdouble and complex. What is refused is in test_arguments.py."""

import exactly
import ml_dtypes
import numpy as np
import pytest
import scipy.special
from helpers import EXACT, LAYOUTS, OPS, SAFE, assert_exact, call

import fastsoftmax

HALF = (np.float16, ml_dtypes.bfloat16)
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def half_rows(dtype, rng, shape):
    return rng.normal(0, 6, shape).astype(np.float32).astype(dtype)


def assert_rounded(op, x, axis, got, method="auto"):
    """The float32 result, correctly rounded: half a unit in the last place, and the float32 error on top."""
    true = exactly.exact(op, x.astype(np.float32), axis)
    assert got.dtype == x.dtype
    assert got.shape == true.shape
    if op == "logsumexp":
        true = np.where(np.abs(true) < 1e-3, got.astype(np.longdouble), true)  # no claim to be made there
    if method in EXACT:
        assert exactly.ulp(got, true).max(initial=0) <= 0.51
    else:  # a log_softmax near 0 carries the absolute error of the float32 sum
        np.testing.assert_allclose(got.astype(float), true.astype(float), rtol=2.0**-8, atol=1e-4)


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("op", OPS)
def test_half_floats_come_back_in_their_own_type(op, dtype, method, rng):
    for shape, axis in (
        ((5,), 0),
        ((3, 100), 1),
        ((100, 3), 0),
        ((40, 10), 1),
        ((2, 3, 17), 1),
        ((4, 1000), (0, 1)),
    ):
        x = half_rows(dtype, rng, shape)
        assert_rounded(op, x, axis, np.asarray(call(op, x, axis, method=method)), method)


@pytest.mark.parametrize("layout", ["Fortran", "negative", "every second", "unaligned", "read-only"])
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("op", OPS)
def test_half_floats_in_other_layouts(op, dtype, layout, rng):
    x = LAYOUTS[layout](half_rows(dtype, rng, (7, 33)))
    for axis in (0, 1):
        assert_rounded(op, x, axis, call(op, x, axis))


@pytest.mark.parametrize("dtype", HALF)
def test_half_float_sums_do_not_overflow(dtype):
    # 70 000 equal terms: the sum is past the largest float16
    x = np.zeros(70_000, dtype)
    assert fastsoftmax.logsumexp(x).dtype == dtype
    np.testing.assert_allclose(float(fastsoftmax.logsumexp(x)), np.log(70_000), rtol=2.0**-8)
    np.testing.assert_allclose(fastsoftmax.log_softmax(x).astype(float), -np.log(70_000), rtol=2.0**-8)
    softmax = fastsoftmax.softmax(x).astype(float)
    expected = 1 / 70_000 if dtype is not np.float16 else np.float16(1 / 70_000)
    assert ((softmax == 0) | np.isclose(softmax, expected, rtol=2.0**-8)).all()  # float16: subnormal, may be flushed


@pytest.mark.parametrize("dtype", HALF)
def test_half_floats_at_their_extremes(dtype):
    top = ml_dtypes.finfo(dtype).max
    x = np.array([top, -top, top], dtype)
    np.testing.assert_array_equal(fastsoftmax.softmax(x).astype(float), [0.5, 0, 0.5])
    assert fastsoftmax.logsumexp(x) == top
    x = np.array([np.inf, 1], dtype)
    assert np.isnan(fastsoftmax.softmax(x).astype(float)).all()
    assert fastsoftmax.logsumexp(x) == np.inf
    assert np.isnan(float(fastsoftmax.logsumexp(np.array([np.nan, 1], dtype))))


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("op", OPS)
def test_half_floats_with_out_and_where(op, dtype, rng):
    x = half_rows(dtype, rng, (6, 40))
    keep = rng.random(x.shape) < 0.7
    true = exactly.exact(op, x.astype(np.float32), 1, where=keep)
    got = call(op, x, 1, where=keep)
    assert got.dtype == dtype
    assert exactly.ulp(got, true).max() <= 0.51
    out = np.empty(got.shape, np.float32)
    assert call(op, x, 1, out=out) is out
    # whether the float32 result comes straight from the kernel or by way of the half type is left open
    np.testing.assert_allclose(
        out,
        exactly.exact(op, x.astype(np.float32), 1).astype(float),
        rtol=2.0**-7,
        atol=1e-4 if dtype is np.float16 else 0,
    )


@pytest.mark.parametrize("name", [*INTEGERS, "bool"])
@pytest.mark.parametrize("op", OPS)
def test_integers_count_as_float64(op, name, rng):
    dtype = np.dtype(name)
    extremes = [False, True, True] if name == "bool" else [np.iinfo(dtype).min, 0, np.iinfo(dtype).max]
    for x in (
        np.array(extremes, dtype),
        np.array([extremes, extremes[::-1]], dtype),
        rng.integers(0, 2 if name == "bool" else 20, (5, 30)).astype(dtype),
    ):
        for axis in (None, 0, -1):
            for method in SAFE:
                got = call(op, x, axis, method=method)
                assert got.dtype == np.float64
                assert_exact(op, x.astype(np.float64), axis, got, method)


def test_the_extremes_of_int8_do_not_wrap_around():
    np.testing.assert_allclose(
        fastsoftmax.log_softmax(np.array([-128, 0, 127], np.int8)), [-255, -127, 0], rtol=1e-15, atol=1e-50
    )
    np.testing.assert_allclose(
        fastsoftmax.softmax(np.array([True, False])), [np.e / (1 + np.e), 1 / (1 + np.e)], rtol=1e-15
    )


@pytest.mark.parametrize("op", OPS)
def test_longdouble_keeps_scipys_results(op, rng):
    x = rng.normal(0, 20, (4, 30)).astype(np.longdouble)
    for axis in (None, 0, 1, (0, 1)):
        expected = getattr(scipy.special, op)(x, axis)
        for method in SAFE:
            got = call(op, x, axis, method=method)
            assert got.dtype == np.longdouble
            assert type(got) is type(expected)
            np.testing.assert_allclose(got, expected, rtol=64 * np.finfo(np.longdouble).eps, atol=1e-18)


@pytest.mark.parametrize("op", OPS)
def test_longdouble_with_out_where_and_temperature(op, rng):
    x = rng.normal(0, 20, (4, 30)).astype(np.longdouble)
    keep = rng.random(x.shape) < 0.8
    keep[2] = False
    true = exactly.exact(op, x.astype(np.float64), 1, where=keep)
    out = np.empty(true.shape, np.longdouble)
    assert call(op, x.astype(np.float64).astype(np.longdouble), 1, out=out, where=keep) is out
    np.testing.assert_allclose(out, true, rtol=1e-15, atol=1e-18)
    if op != "logsumexp":
        np.testing.assert_allclose(call(op, x, 1, temperature=2), call(op, x / 2, 1), rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("op", OPS)
def test_complex_keeps_scipys_results(op, dtype, rng):
    x = (rng.normal(0, 3, (4, 30)) + 1j * rng.uniform(-4, 4, (4, 30))).astype(dtype)
    for axis in (None, 0, 1, (0, 1)):
        expected = getattr(scipy.special, op)(x, axis)
        got = call(op, x, axis)
        assert got.dtype == expected.dtype
        assert type(got) is type(expected)
        expected = getattr(scipy.special, op)(x.astype(np.clongdouble), axis)  # near 0 SciPy cancels
        np.testing.assert_allclose(got, expected, rtol=1e-6 if dtype == np.complex64 else 1e-13)


def test_complex_weights_and_phase(rng):
    a = rng.normal(0, 1, (3, 5)) + 1j * rng.uniform(-3, 3, (3, 5))
    b = rng.normal(0, 1, 5)
    for arguments in ((a, 1, b), (a.real, 1, b + 1j), (a, None, b, True)):
        for got, expected in zip(
            fastsoftmax.logsumexp(*arguments, return_sign=True),
            scipy.special.logsumexp(*arguments, return_sign=True),
            strict=True,
        ):
            np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "types",
    [
        ("f4", "f4"),
        ("f4", "f8"),
        ("f8", "f4"),
        ("f2", "f4"),
        ("i8", "f4"),
        ("f4", "i8"),
        ("f4", "i2"),
        ("i4", "i4"),
    ],
)
def test_types_of_a_and_b_promote_as_scipys(types):
    a, b = (np.array([1, 2, 3], t) for t in types)
    assert fastsoftmax.logsumexp(a, b=b).dtype == scipy.special.logsumexp(a, b=b).dtype
    np.testing.assert_allclose(fastsoftmax.logsumexp(a, b=b), scipy.special.logsumexp(a, b=b), rtol=1e-3)
