"""Sums of rows: with a guessed pivot, with the right one, around a peak, and of some rows together.

Every sum comes as a float64 and what that has lost. What suits its guessed pivot has the same sum whichever way it is
reached, so that a row's result does not depend on the rows beside it.
"""

import math

import numpy as np

from fastsoftmax.jit import inline
from fastsoftmax.kernels.exponential import add_exactly, nodes
from fastsoftmax.kernels.extended import exponential_in_parts
from fastsoftmax.kernels.pivot import (
    HEADROOM,
    aim,
    guess_pivot,
    largest_below,
    least_sum,
    pivot_for,
    row_maximum,
    sum_exponentials,
)
from fastsoftmax.simd import (
    any_set,
    fma,
    lanes,
    ldexp_small,
    load_wide,
    prefetch,
    rounded,
    splat,
    splat_group,
    store,
)

TOGETHER = 8  # rows at most that are summed before any is finished: as many as float64 lanes; none waits for its sum
TOGETHER_VECTORS = 256  # of 64 bytes: longer ones are not done together, or they would leave the nearest cache

# What is kept of rows that are summed together, in arrays of TOGETHER numbers, and behind them their last groups.
PIVOT, TOTAL, LOST, FIRST, SECOND, ENDS = (TOGETHER * k for k in range(6))
KEPT = ENDS + TOGETHER * 64


@inline
def sum_ahead(x, start, n, terms, j, pivot, high, low, seeks_peak):
    """Return (sum, what it lost, peak, end) as `sum_exponentials` does; if the pivot does not suit the sum is NaN."""
    total, lost, peak, suits, end = sum_exponentials(x, start, n, terms, j, pivot, high, low, None, None, seeks_peak)
    return (total if suits and total >= least_sum(x) else math.nan), lost, peak, end


@inline
def sum_surely(x, start, n, terms, j, high, low, seeks_peak):
    """Return (sum, what it lost, peak, pivot, end) of any row; what no pivot can do has the sum NaN.

    The guess comes first here, too: what suits it has the same result as in `sum_ahead`, whichever does it.
    """
    maximum = row_maximum(x, start, n)
    pivot = guess_pivot(x, start, n, high)
    if maximum * (high / nodes(x)) - pivot > aim(x) + HEADROOM + 1:
        pivot = pivot_for(x, maximum, high)
    total, lost, peak, end = math.nan, 0.0, splat(x, 0.0), splat_group(x, 0.0)
    for _ in range(2):
        if math.isnan(pivot):
            break
        total, lost, peak, suits, end = sum_exponentials(
            x, start, n, terms, j, pivot, high, low, True, None, seeks_peak
        )
        if suits and total >= least_sum(x):
            break
        total = math.nan
        pivot = pivot_for(x, maximum, high)
    return total, lost, peak, pivot, end


@inline
def sum_around_peak(x, start, n, high, low, temperature):
    """Return the maximum, and the sum of all but one of the largest elements in units of it, in two parts.

    The sum is NaN as in `sum_surely`.
    """
    maximum = row_maximum(x, start, n)
    second, ties = largest_below(x, start, n, maximum)
    pivot = pivot_for(x, maximum, high)
    rest_pivot = pivot_for(x, second if second > -math.inf else maximum, high)
    if math.isnan(pivot) or math.isnan(rest_pivot):
        return maximum, math.nan, 0.0
    rest, lost, _, suits, _ = sum_exponentials(x, start, n, None, 0, rest_pivot, high, low, True, maximum, None)
    if not suits:
        return maximum, math.nan, 0.0
    peak, peak_low = exponential_in_parts(maximum, pivot, temperature)
    others = rest / peak
    others_low = (fma(-others, peak, rest) + (lost - others * peak_low)) / peak
    gap = max(rest_pivot - pivot, -1600.0)  # in two steps: 2^gap itself may be smaller than any number
    half = np.rint(0.5 * gap)
    others = ldexp_small(ldexp_small(others, half), gap - half)
    others_low = ldexp_small(ldexp_small(others_low, half), gap - half)
    others, others_low = add_exactly(ties - 1.0, others_low, others)
    return maximum, others, others_low


@inline
def rows_together(x, n):
    """Return how many rows are summed before they are finished."""
    return max(1, min(TOGETHER, TOGETHER_VECTORS * lanes(x) // n))


@inline
def keep_sum(x, kept, k, total, lost):
    """Keep the sum of a row; one that is kept has the same inverse and the same logarithm whichever way it came."""
    rounded_total = rounded(x, total)
    kept[TOTAL + k], kept[LOST + k] = rounded_total, (total - rounded_total) + lost


@inline
def sum_together(x, start, step, rows, n, terms, j, j_step, high, low, largest_share, kept):
    """Keep the sums of the first of some rows, as many as suit their guessed pivots.

    Returns how many, and whether the row behind them has a sum: it ends, too, where one element holds more than the
    largest share of it, unless that is None.
    """
    for k in range(rows):
        kept[PIVOT + k] = guess_pivot(x, start + k * step, n, high)
    for k in range(rows, 2 * rows):  # what the next guesses will look at
        prefetch(x, start + k * step)
        prefetch(x, start + k * step + n - 1)
    for k in range(rows):
        pivot = float(kept[PIVOT + k])
        place = start + k * step
        total, lost, peak, end = sum_ahead(x, place, n, terms, j + k * j_step, pivot, high, low, largest_share)
        if math.isnan(total):
            return k, False
        if largest_share is not None and any_set(peak >= largest_share * total):
            return k, True
        keep_sum(x, kept, k, total, lost)
        if terms is not None:
            store(kept, ENDS + k * 4 * lanes(x), end)
    return rows, True


@inline
def keep_in_two_parts(kept, first, second, value, rest):
    """Keep 8 float64 numbers as two numbers each of the type of `kept`, at two places there."""
    store(kept, first, value)
    store(kept, second, (value - load_wide(kept, first)) + rest)
