"""The constants of e^x against the script that computes them."""

import importlib.util
from pathlib import Path

import mpmath
import numpy as np
import pytest

from fastsoftmax.kernels import exponential

SCRIPT = Path(__file__).parents[1] / "tools" / "minimax.py"


@pytest.fixture(scope="module")
def minimax():
    digits = mpmath.mp.dps
    spec = importlib.util.spec_from_file_location("minimax", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    mpmath.mp.dps = digits


def test_constants_are_what_the_script_prints(minimax):
    constants = minimax.constants()
    assert {name: getattr(exponential, name) for name in constants} == constants


@pytest.mark.parametrize(("name", "claim"), [("SINGLE", 3.0e-9), ("DOUBLE", 4.2e-18), ("SHORT", 4.7e-11)])
def test_polynomials_have_the_errors_that_are_claimed(minimax, name, claim):
    degree, dtype = minimax.POLYNOMIALS[name]
    coefficients = getattr(exponential, name)
    assert len(coefficients) == degree
    assert [float(dtype(c)) for c in coefficients] == list(coefficients)
    error = minimax.largest_error(coefficients)
    assert 0.9 * claim < error < claim
    # and none of this degree is much better
    best = minimax.largest_error(minimax.minimax(degree, [mpmath.mpf(1)])[1:])
    assert 0.999 * best < error < 1.6 * best


def test_float32_coefficients_are_what_the_script_prints(minimax):
    degree, dtype = minimax.POLYNOMIALS["SINGLE"]
    assert minimax.rounded_minimax(degree, dtype) == list(exponential.SINGLE)


def test_the_fit_is_a_minimax(minimax):
    # Chebyshev: the error of the best polynomial reaches its maximum at as many points as it has coefficients, or more
    degree = 5
    coefficients = minimax.minimax(degree, [mpmath.mpf(1)])
    f = minimax.exact_array(np.linspace(-0.5, 0.5, 2001))
    errors = minimax.relative_errors(coefficients, f, minimax.exact_array([mpmath.mpf(2) ** v for v in f]))
    peaks = np.flatnonzero((np.abs(errors[1:-1]) > np.abs(errors[:-2])) & (np.abs(errors[1:-1]) >= np.abs(errors[2:])))
    tops = np.abs([errors[0], *errors[1:-1][peaks], errors[-1]])
    assert (tops > 0.9 * tops.max()).sum() >= degree
