"""The logarithms against mpmath."""

import mpmath
import numpy as np
import pytest
from helpers import FLOATS
from numba import njit

from fastsoftmax.kernels.log1p import log1p
from fastsoftmax.kernels.logarithm import log_and_rest
from fastsoftmax.simd import lanes, load, store


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


@njit(error_model="numpy")
def evaluate_log1p(value, lost, log, rest):
    for i in range(0, value.size, lanes(value)):
        found, low = log1p(load(value, i), load(lost, i))
        store(log, i, found)
        store(rest, i, low)


@pytest.mark.parametrize("dtype", FLOATS)
def test_log1p_is_rounded_once_or_nearly_however_small_the_value(dtype, rng):
    info = np.finfo(dtype)
    around_nodes = np.add.outer((2.0 ** np.arange(8))[:, None] * (1 + np.arange(17) / 16), rng.normal(0, 1e-3, 20)) - 1
    value = np.concatenate(
        [
            rng.uniform(0, 4, 1000),
            2.0 ** rng.uniform(np.log2(info.tiny) + 2, 8, 3000),
            np.abs(around_nodes.ravel()),
            [0.0, 2.0 ** (2 - info.precision), 255.0, float(info.tiny)],
        ]
    ).astype(dtype)
    value = np.resize(value, -(-value.size // 16) * 16)
    lost = (value * rng.uniform(-0.5, 0.5, value.size) * info.eps).astype(dtype)
    lost[value < 1e10 * info.tiny] = 0  # or it would be subnormal
    log, rest = np.empty_like(value), np.empty_like(value)
    evaluate_log1p(value, lost, log, rest)
    with mpmath.workdps(50):
        true = [
            mpmath.log1p(mpmath.mpf(v) + mpmath.mpf(v_low))
            for v, v_low in zip(value.tolist(), lost.tolist(), strict=True)
        ]
    unit = np.spacing(log).astype(np.float64)
    left = np.array([float(t - mpmath.mpf(a)) for t, a in zip(true, log.tolist(), strict=True)])
    assert (np.abs(left) <= 0.75 * unit).all(), value[np.argmax(np.abs(left) / unit)]
    assert (np.abs(left - rest) <= 0.3 * unit).all(), value[np.argmax(np.abs(left - rest) / unit)]
