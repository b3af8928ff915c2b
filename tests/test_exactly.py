"""The instrument of the other tests, against worked-out digits and against itself."""

from decimal import Decimal, localcontext

import exactly
import numpy as np
import pytest
from helpers import FAMILIES, FAMILIES_64, OPS, family


def by_decimal(op, row):
    """The textbook formula at 400 digits: nothing clever, nothing shared with the instrument."""
    with localcontext() as context:
        context.prec = 400
        e = [Decimal(float(v)).exp() for v in row]
        total = sum(e)
        if op == "softmax":
            return [+(v / total) for v in e]
        if op == "log_softmax":
            return [Decimal(float(v)) - total.ln() for v in row]
        return total.ln()


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("row", [[0.7, 1.5, 4.8], [0.0, -50.0], [-3.25], [1e-9, 2e-9, 700.0], [-2000.0, -2001.5]])
def test_both_ways_match_decimal_arithmetic(op, row):
    x = np.array([row])
    truth = np.array([np.longdouble(str(v)) for v in np.ravel(by_decimal(op, row))])
    for way in (exactly.by_digits, exactly.by_longdouble):
        np.testing.assert_allclose(np.ravel(way(op, x)), truth, rtol=2.0**-60, atol=0)


def test_worked_out_to_fifty_digits():
    # log(1 + e^-50) and 1/(1 + e^-1), by hand to 50 digits
    assert exactly.exact("log_softmax", [0.0, -50.0])[0] == np.longdouble("-1.9287498479639177830131375020203469e-22")
    sigmoid = np.longdouble("0.73105857863000487925115924182183627436514464016505651927636590791904")
    np.testing.assert_allclose(exactly.exact("softmax", [1.0, 0.0])[0], sigmoid, rtol=2.0**-62)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_ways_agree(op, dtype):
    names = [*FAMILIES, *(FAMILIES_64 if dtype == np.float64 else ())]
    for name in names:
        x = family(name, dtype, 67)
        digits = exactly.exact(op, x, -1, digits=True)
        wide = exactly.exact(op, x, -1)
        normal = (np.abs(digits) > 1e-290) & (np.abs(digits) < 1e308)  # through doubles beyond, digits lose some
        error = np.abs(wide[normal] - digits[normal])
        assert (error <= 2.0**-58 * (np.abs(digits[normal]) + (op == "logsumexp"))).all(), name
        np.testing.assert_array_equal(np.abs(wide) < 1e308, np.abs(digits) < 1e308)


def test_axes_masks_and_dead_rows():
    x = np.arange(24.0).reshape(2, 3, 4)
    whole = exactly.exact("softmax", x, (2, 0))
    np.testing.assert_allclose(whole.sum(axis=(0, 2)), 1)
    part = exactly.exact("softmax", x, 1, where=x % 8 < 4)
    np.testing.assert_allclose(part.sum(axis=1), 1)
    assert exactly.exact("logsumexp", x, 1, where=False).tolist() == [[-np.inf] * 4] * 2
    assert (exactly.exact("softmax", x, 1, where=False) == 0).all()
    assert np.isnan(exactly.exact("softmax", [-np.inf, -np.inf])).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ulp(dtype):
    one = np.array([1.0], dtype)
    up = np.nextafter(one, dtype(2))
    assert exactly.ulp(up, one)[0] == 1
    assert exactly.ulp(one, np.array([1.25], np.longdouble))[0] == 0.25 / np.spacing(one)[0]
    assert exactly.ulp(one, one.astype(np.longdouble) + np.spacing(one) / 4)[0] == 0.25
    tiny = np.array([np.finfo(dtype).tiny / 2], np.longdouble)
    assert exactly.ulp(np.zeros(1, dtype), tiny)[0] == 0  # flushed
    assert exactly.ulp(-one, tiny)[0] > 1e6
    assert exactly.ulp(np.zeros(1, dtype), 4 * tiny)[0] > 1e5  # a normal number may not be flushed
    for wrong, true in ((np.nan, 1), (np.inf, 1), (1, np.nan), (-np.inf, np.inf), (0, -np.inf)):
        assert exactly.ulp(np.array([wrong], dtype), np.array([true], np.longdouble))[0] == np.inf
    for right in (np.nan, np.inf, -np.inf):
        assert exactly.ulp(np.array([right], dtype), np.array([right], np.longdouble))[0] == 0
    assert exactly.ulp_of_one(np.array([1e-9], dtype), np.array([0], np.longdouble))[0] < 1e7
