"""The largest error of every rung, in ULP against exact values; deterministic: a change is a real one."""

import math

import numpy as np

import fastsoftmax
from fastsoftmax.compare import exact

from .problems import DTYPES, RUNGS

UNSTABLE = tuple(rung.name for rung in fastsoftmax.methods() if not rung.stable)


def normal(n):
    """Return what most inputs look like."""
    return np.random.default_rng(1).standard_normal((256, n))


def wide(n):
    """Return rows whose elements differ by hundreds: x - max rounds, and most results are tiny."""
    return 60 * normal(n)


def far(n):
    """Return rows far from 0, where the shift costs digits."""
    return 1e4 + 5 * normal(n)


def ascending(n):
    """Return ascending rows: a running maximum grows at every step."""
    return np.sort(normal(n), axis=1)


def peaked(n):
    """Return rows with one element that outweighs all others: its log_softmax is next to 0."""
    x = normal(n)
    x[:, n // 3] += 30
    return x


INPUTS = {f.__name__: f for f in (normal, wide, far, ascending, peaked)}
OVERFLOW = ("wide", "far")  # for e^x without a shift


def max_ulp(op, rung, dtype, values):
    """Return the largest error over a few hundred rows; for logsumexp never in units under one ULP of 1."""
    if rung in UNSTABLE and values in OVERFLOW:
        return math.nan  # which asv shows as missing
    x = INPUTS[values](1000).astype(dtype)
    result = getattr(fastsoftmax, op)(x, axis=-1, method=rung)
    true = getattr(exact, op)(x, axis=-1)
    if hasattr(exact, "NEAR_ZERO"):
        units = {"near_zero": exact.NEAR_ZERO[op]}
    else:  # older commits, whose own instrument judges them
        units = {"floor": 1.0 if op == "logsumexp" else 0.0}
    return float(exact.ulp_error(result, true, **units).max())


class MaxError:
    """Largest error on input of one kind."""

    version = "1"
    unit = "ULP"
    params = (RUNGS, DTYPES, tuple(INPUTS))
    param_names = ("rung", "dtype", "values")

    def track_softmax(self, rung, dtype, values):
        return max_ulp("softmax", rung, dtype, values)

    def track_log_softmax(self, rung, dtype, values):
        return max_ulp("log_softmax", rung, dtype, values)

    def track_logsumexp(self, rung, dtype, values):
        return max_ulp("logsumexp", rung, dtype, values)
