"""The constants of e^x and the logarithm against the script that computes them."""

import importlib.util
from pathlib import Path

import mpmath
import numpy as np
import pytest

from fastsoftmax.kernels import exponential, extended, log1p

SCRIPT = Path(__file__).parents[1] / "tools" / "minimax.py"


@pytest.fixture(scope="module")
def minimax():
    digits = mpmath.mp.dps
    spec = importlib.util.spec_from_file_location("minimax", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    mpmath.mp.dps = digits


def constants_named(name):
    return getattr(log1p if name.startswith("LOG_") else exponential, name)


def test_constants_are_what_the_script_prints(minimax):
    constants = minimax.constants()
    assert {name: getattr(extended, name, None) or getattr(exponential, name) for name in constants} == constants


@pytest.mark.parametrize(
    ("name", "claim", "rounding"),
    [
        ("SINGLE", 2.7e-9, 1.6),
        ("SINGLE_OF_8", 2.8e-10, 2.5),
        ("DOUBLE", 3.0e-18, 1.6),
        ("DOUBLE_IN_SHORT", 3.6e-13, 1.1),
        ("LOG_SINGLE", 2.6e-9, 1.1),
        ("LOG_SINGLE_OF_8", 2.1e-9, 1.1),
        ("LOG_DOUBLE", 5.8e-18, 1.1),
    ],
)
def test_polynomials_have_the_errors_that_are_claimed(minimax, name, claim, rounding):
    degree, curve = minimax.POLYNOMIALS[name]
    coefficients = constants_named(name)
    assert len(coefficients) == degree
    assert [float(curve.dtype(c)) for c in coefficients] == list(coefficients)
    error = minimax.largest_error(coefficients, curve)
    assert 0.9 * claim < error < claim
    # and none of this degree is much better: what is lost is lost by rounding the coefficients
    best = minimax.largest_error(minimax.minimax(degree, curve, [mpmath.mpf(1)])[1:], curve)
    assert 0.999 * best < error < rounding * best


@pytest.mark.parametrize("name", ["SINGLE", "SINGLE_OF_8", "LOG_SINGLE", "LOG_SINGLE_OF_8"])
def test_float32_coefficients_are_what_the_script_prints(minimax, name):
    assert minimax.rounded_minimax(*minimax.POLYNOMIALS[name]) == list(constants_named(name))


@pytest.mark.parametrize("count", [8, 16])
def test_polynomials_of_the_logarithm_are_for_its_nodes(minimax, count):
    assert log1p.inverse_nodes(count) == minimax.inverse_nodes(count)


def test_nodes_are_what_the_script_prints(minimax):
    nodes, deviations = minimax.short_nodes(16)
    assert tuple(nodes) == exponential.SINGLE_NODES
    assert tuple(deviations) == exponential.SINGLE_DEVIATIONS
    assert minimax.best_unit(8) == exponential.DOUBLE_UNIT
    assert tuple(minimax.nodes_in_units(exponential.DOUBLE_UNIT, 8)) == exponential.DOUBLE_NODES


def test_every_second_node_is_one_of_half_as_many(minimax):
    nodes, deviations = minimax.short_nodes(8)
    assert exponential.SINGLE_NODES[::2] == tuple(nodes)
    assert [d / 2 for d in exponential.SINGLE_DEVIATIONS[::2]] == deviations


def test_nodes_are_short_and_their_deviations_make_up_for_it():
    nodes, deviations = exponential.SINGLE_NODES, exponential.SINGLE_DEVIATIONS
    for j, (node, deviation) in enumerate(zip(nodes, deviations, strict=True)):
        assert node * 2**7 == int(node * 2**7)
        exponent = (j - mpmath.mpf(deviation)) / len(nodes)
        assert abs(mpmath.mpf(2) ** exponent / node - 1) < 2.0**-33


def test_nodes_in_units_are_as_good_as_is_claimed(minimax):
    def largest_error(unit):
        nodes = minimax.nodes_in_units(unit, 8)
        return max(abs(v / (unit * power) - 1) for v, power in zip(nodes, minimax.exact_nodes(8), strict=True))

    assert abs(exponential.DOUBLE_UNIT - 1) < 2.0**-24
    assert largest_error(exponential.DOUBLE_UNIT) < 2.0**-56.8
    assert largest_error(1) > 2.0**-54


def test_the_fit_is_a_minimax(minimax):
    # Chebyshev: the error of the best polynomial reaches its maximum at as many points as it has coefficients, or more
    degree = 5
    coefficients = minimax.minimax(degree, minimax.PowerOf2(1, np.float32), [mpmath.mpf(1)])
    f = minimax.exact_array(np.linspace(-0.5, 0.5, 2001))
    errors = minimax.relative_errors(coefficients, f, minimax.exact_array([mpmath.mpf(2) ** v for v in f]))
    peaks = np.flatnonzero((np.abs(errors[1:-1]) > np.abs(errors[:-2])) & (np.abs(errors[1:-1]) >= np.abs(errors[2:])))
    tops = np.abs([errors[0], *errors[1:-1][peaks], errors[-1]])
    assert (tops > 0.9 * tops.max()).sum() >= degree
