"""A peak: one element of a row that holds most of its sum. The logarithm of that is log(1 + others).

So it wants the sum of the others by itself. They are summed with the largest counted as the second largest, and that is
taken off.
"""

import math

import numpy as np

from fastsoftmax.jit import inline
from fastsoftmax.kernels.exponential import (
    add_exactly,
    add_smaller,
    exponential_of_narrower,
    factored_exponential,
    in_units,
    log2e_wide,
    magic_number,
)
from fastsoftmax.kernels.extended import exponential_in_parts
from fastsoftmax.kernels.logarithm import log1p_in_parts, log1p_of_single
from fastsoftmax.kernels.pivot import pivot_for
from fastsoftmax.simd import choose, fma, largest, ldexp_small, splat, splat_wide

LARGE_SHARE = 0.8  # of the sum: a row may have a peak where the large part of a term, at least 0.95 of it, holds more
MOST_OTHERS = 0.136  # in units of an element: it is a peak, and holds 0.88, where all others are no more than that
PEAK_GAP = 1.99  # how far a peak is above any other at least: a little less than log(1 / MOST_OTHERS)

NO_PEAK = -1.0  # in place of the logarithm of a peaked row's sum, in units of the peak


@inline
def term(x, value, pivot, high, low):
    """Return what `sum_exponentials` adds for an element of this value, in two parts."""
    magic, high, low = splat(x, magic_number(x, pivot)), splat(x, high), splat(x, low)
    large, a, b, _ = factored_exponential(splat(x, value), high, low, magic)
    return float(largest(large)), float(largest(a)) * float(largest(b))


@inline
def power(x, value, pivot, temperature):
    """Return unit · e^(value / temperature) · 2^-pivot as two float64: far more than the precision of x."""
    if choose(x, 1, 0):
        e = exponential_of_narrower(splat_wide(value), *log2e_wide(temperature), pivot)
        return float(largest(e)), 0.0
    return in_units(*exponential_in_parts(value, pivot, temperature))


@inline
def below_peak(maximum, second):
    """Return as what the largest element counts where the others are summed."""
    return second if second > -math.inf else maximum


@inline
def others_over_peak(x, total, lost, maximum, second, high, low, temperature):
    """Return the sum of all but the largest element in units of it, in two parts.

    It comes from the sum of all, the largest counted as `below_peak` says, which is taken off.
    """
    limit = below_peak(maximum, second)
    pivot, rest_pivot = pivot_for(x, maximum, high), pivot_for(x, limit, high)
    large, small = term(x, limit, rest_pivot, high, low)
    rest, lost = add_smaller(*add_exactly(total, lost - small, -large))
    if second == -math.inf:
        rest, lost = 0.0, 0.0
    peak, peak_low = power(x, maximum, pivot, temperature)
    others = rest / peak
    others_low = (fma(-others, peak, rest) + (lost - others * peak_low)) / peak
    gap = max(rest_pivot - pivot, -1600.0)  # in two steps: 2^gap itself may be smaller than any number
    half = np.rint(0.5 * gap)
    others = ldexp_small(ldexp_small(others, half), gap - half)
    others_low = ldexp_small(ldexp_small(others_low, half), gap - half)
    return others, others_low


@inline
def log1p_of(x, value, lost):
    """Return log(1 + value + lost) as two float64 that have far more than the precision of x."""
    if choose(x, 1, 0):
        return float(largest(log1p_of_single(splat_wide(value + lost)))), 0.0
    return log1p_in_parts(value, lost)
