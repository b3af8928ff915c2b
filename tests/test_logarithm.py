"""The logarithm of sums against mpmath."""

import mpmath
import numpy as np
from numba import njit

from fastsoftmax.kernels.logarithm import log_and_rest


@njit(error_model="numpy")
def evaluate(value, lost, exponent, log, rest):
    for i in range(value.size):
        log[i], rest[i] = log_and_rest(value[i], lost[i], exponent[i])


def test_logarithms_in_two_parts_are_good_to_55_bits(rng):
    # whatever the size of the logarithm: what is left where it cancels later is known
    value = np.concatenate(
        [rng.uniform(0.5, 4, 2000), 2.0 ** rng.uniform(-300, 900, 1000), 1 + rng.normal(0, 1e-6, 50)]
    )
    lost = value * rng.uniform(-1, 1, value.size) * 2.0**-54
    exponent = rng.choice([0.0, -400.0, 3.0, 2.0**16], value.size)
    log, rest = np.empty_like(value), np.empty_like(value)
    evaluate(value, lost, exponent, log, rest)
    with mpmath.workdps(50):
        for v, v_low, n, a, b in zip(*(each.tolist() for each in (value, lost, exponent, log, rest)), strict=True):
            true = mpmath.log(mpmath.mpf(v) + v_low) + mpmath.mpf(n) * mpmath.log(2)
            assert abs(mpmath.mpf(a) + b - true) <= 2.0**-55.5 + abs(n) * 2.0**-80, (v, n)
