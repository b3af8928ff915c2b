"""Sums of rows: with a guessed pivot, with the right one, around a peak, and of some rows together.

Every sum comes as a float64 and what that has lost. What suits its guessed pivot has the same sum whichever way it is
reached, so that a row's result does not depend on the rows beside it.
"""

import math

import numpy as np

from fastsoftmax.jit import inline
from fastsoftmax.kernels.exponential import (
    MAGIC_DOUBLE,
    add_exactly,
    add_smaller,
    exponential,
    factored_exponential,
    log2e_wide,
    magic_number,
    nodes,
)
from fastsoftmax.kernels.extended import exponential_in_parts
from fastsoftmax.kernels.logarithm import log1p_in_parts, log1p_of_single
from fastsoftmax.kernels.pivot import (
    HEADROOM,
    aim,
    guess_pivot,
    least_sum,
    pivot_for,
    row_maximum,
    sum_exponentials,
    two_largest,
)
from fastsoftmax.simd import (
    WIDE,
    any_set,
    choose,
    fma,
    lanes,
    largest,
    ldexp_small,
    load_wide,
    prefetch,
    rounded,
    splat,
    splat_group,
    splat_wide,
    store,
)

TOGETHER = WIDE  # rows at most that are summed before any is finished: as many as float64 lanes; none waits for its sum
TOGETHER_VECTORS = 2048 // WIDE  # 16 KiB: longer rows are not done together, or they would leave the nearest cache
PATIENCE = 64  # rows at most that are done the sure way when going ahead has failed

LARGE_SHARE = 0.8  # of the sum: a row may have a peak where the large part of a term, at least 0.95 of it, holds more
MOST_OTHERS = 0.136  # in units of an element: it is a peak, and holds 0.88, where all others are no more than that
PEAK_GAP = 1.99  # how far a peak is above any other at least: a little less than log(1 / MOST_OTHERS)

# What is kept of rows that are summed together, in arrays of TOGETHER numbers, and behind them their last groups.
PIVOT, TOTAL, LOST, FIRST, SECOND, MAXIMUM, NEXT, LOG_OTHERS, LOG_OTHERS_LOW = (TOGETHER * k for k in range(9))
ENDS = TOGETHER * 10  # at the beginning of a vector
KEPT_VECTORS = 10 + TOGETHER * 4
NO_PEAK = -1.0  # in place of the logarithm of a peaked row's sum, in units of the peak


@inline
def sum_ahead(x, start, n, terms, j, keeps, pivot, high, low, seeks_peak):
    """Return (sum, what it lost, peak, end) as `sum_exponentials` does; if the pivot does not suit the sum is NaN."""
    total, lost, peak, suits, end = sum_exponentials(
        x, start, n, terms, j, keeps, pivot, high, low, None, None, seeks_peak
    )
    return (total if suits and total >= least_sum(x) else math.nan), lost, peak, end


@inline
def sum_surely(x, start, n, terms, j, keeps, maximum, high, low):
    """Return (sum, what it lost, pivot, end) of any row, its maximum known; what no pivot can do has the sum NaN.

    The guess comes first here, too: what suits it has the same result as in `sum_ahead`, whichever does it.
    """
    pivot = guess_pivot(x, start, n, n // 16, high)
    if maximum * (high / nodes(x)) - pivot > aim(x) + HEADROOM + 1:
        pivot = pivot_for(x, maximum, high)
    total, lost, end = math.nan, 0.0, splat_group(x, 0.0)
    for _ in range(2):
        if math.isnan(pivot):
            break
        total, lost, _, suits, end = sum_exponentials(x, start, n, terms, j, keeps, pivot, high, low, True, None, None)
        if suits and total >= least_sum(x):
            break
        total = math.nan
        pivot = pivot_for(x, maximum, high)
    return total, lost, pivot, end


@inline
def term(x, value, pivot, high, low):
    """Return what `sum_exponentials` adds for an element of this value, in two parts."""
    magic, high, low = splat(x, magic_number(x, pivot)), splat(x, high), splat(x, low)
    large, a, b, _ = factored_exponential(splat(x, value), high, low, magic)
    return float(largest(large)), float(largest(a)) * float(largest(b))


@inline
def power(x, value, pivot, temperature):
    """Return e^(value / temperature) · 2^-pivot as two float64 that have far more than the precision of x."""
    if choose(x, 1, 0):
        high, low = log2e_wide(temperature)
        magic = MAGIC_DOUBLE + 8.0 * (1023.0 - pivot)
        e, _, _, _ = exponential(splat_wide(value), 8.0 * high, 8.0 * low, magic)
        return float(largest(e)), 0.0
    return exponential_in_parts(value, pivot, temperature)


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
def sum_around_peak(x, start, n, out, to, maximum, second, high, low, temperature):
    """Return the sum of all but the largest element in units of it, in two parts; NaN as in `sum_surely`."""
    limit = below_peak(maximum, second)
    pivot, rest_pivot = pivot_for(x, maximum, high), pivot_for(x, limit, high)
    if math.isnan(pivot) or math.isnan(rest_pivot):
        return math.nan, 0.0
    total, lost, _, suits, _ = sum_exponentials(x, start, n, out, to, None, rest_pivot, high, low, True, limit, None)
    if not suits:
        return math.nan, 0.0
    return others_over_peak(x, total, lost, maximum, second, high, low, temperature)


@inline
def log1p_of(x, value, lost):
    """Return log(1 + value + lost) as two float64 that have far more than the precision of x."""
    if choose(x, 1, 0):
        return float(largest(log1p_of_single(splat_wide(value + lost)))), 0.0
    return log1p_in_parts(value, lost)


@inline
def rows_together(x, n):
    """Return how many rows are summed before they are finished."""
    return max(1, min(TOGETHER, TOGETHER_VECTORS * lanes(x) // n))


@inline
def keep(x, kept, place, value, rest):
    """Keep value + rest of float64 as two numbers at two places TOGETHER apart."""
    high = rounded(x, value)
    kept[place], kept[place + TOGETHER] = high, (value - high) + rest


@inline
def sum_together(x, start, step, rows, n, terms, j, j_step, keeps, high, low, seeks_peak, kept):
    """Keep the sums of the first of some rows, as many as suit their guessed pivots, and return how many.

    It ends, too, at a row in which one element holds a large share of the sum, unless `seeks_peak` is None.
    """
    for k in range(rows):
        kept[PIVOT + k] = guess_pivot(x, start + k * step, n, n // 16, high)
    for k in range(rows, 2 * rows):  # what the next guesses will look at
        prefetch(x, start + k * step)
        prefetch(x, start + k * step + n - 1)
    for k in range(rows):
        pivot = float(kept[PIVOT + k])
        place = start + k * step
        total, lost, peak, end = sum_ahead(x, place, n, terms, j + k * j_step, keeps, pivot, high, low, seeks_peak)
        if math.isnan(total):
            return k
        if seeks_peak is not None:
            if any_set(peak >= LARGE_SHARE * total):
                return k
            kept[LOG_OTHERS + k] = NO_PEAK
        keep(x, kept, TOTAL + k, total, lost)
        if keeps is not None:
            store(kept, ENDS + k * 4 * lanes(x), end)
    return rows


@inline
def sum_surely_together(x, start, step, rows, n, terms, j, j_step, keeps, high, low, seeks_peak, temperature, kept):
    """Keep the sums of all rows; of those with a peak, unless `seeks_peak` is None, that of the others.

    What no pivot can do has NaN for a sum, and for the logarithm of the others.
    """
    for k in range(rows):
        if seeks_peak is None:
            kept[MAXIMUM + k] = row_maximum(x, start + k * step, n)
        else:
            kept[MAXIMUM + k], kept[NEXT + k] = two_largest(x, start + k * step, n)
    for k in range(rows):
        place, to, maximum = start + k * step, j + k * j_step, float(kept[MAXIMUM + k])
        if seeks_peak is not None:
            kept[LOG_OTHERS + k] = NO_PEAK
            second = float(kept[NEXT + k])
            if (maximum - second) * (1.0 / temperature) >= PEAK_GAP:
                others, others_low = sum_around_peak(x, place, n, terms, to, maximum, second, high, low, temperature)
                if not others > MOST_OTHERS:
                    log, log_low = log1p_of(x, others, others_low)
                    keep(x, kept, LOG_OTHERS + k, log, log_low)
                    continue
        total, lost, pivot, end = sum_surely(x, place, n, terms, to, keeps, maximum, high, low)
        kept[PIVOT + k] = pivot
        keep(x, kept, TOTAL + k, total, lost)
        if seeks_peak is not None and math.isnan(total):
            kept[LOG_OTHERS + k] = math.nan
        if keeps is not None:
            store(kept, ENDS + k * 4 * lanes(x), end)


@inline
def sum_some(
    x, start, step, r, last, n, terms, j, j_step, keeps, high, low, seeks_peak, temperature, kept, sure_until, patience
):
    """Keep the sums of rows from r on, which begins at `start`: ahead, or surely up to the row `sure_until`.

    Returns how many, and `sure_until` and `patience` for the next ones: where going ahead has failed, as many rows are
    summed surely as last time twice over if no more than that went ahead, else one.
    """
    together = rows_together(x, n)
    if r < sure_until:
        rows = min(together, sure_until - r)
        sum_surely_together(x, start, step, rows, n, terms, j, j_step, keeps, high, low, seeks_peak, temperature, kept)
        return rows, sure_until, patience
    rows = min(together, last - r)
    done = sum_together(x, start, step, rows, n, terms, j, j_step, keeps, high, low, seeks_peak, kept)
    if done < rows:
        patience = min(2 * patience, PATIENCE) if r + done - sure_until <= patience else 1
        sure_until = min(r + done + patience, last)
    return done, sure_until, patience


@inline
def keep_in_two_parts(kept, first, second, value, rest):
    """Keep WIDE float64 numbers as two numbers each of the type of `kept`, at two places there."""
    store(kept, first, value)
    store(kept, second, (value - load_wide(kept, first)) + rest)
