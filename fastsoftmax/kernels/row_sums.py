"""Sums of rows: with a guessed pivot, or the right one, or around a peak, and of some rows together.

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
    RowSum,
    add_up,
    aim,
    guess_pivot,
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
    load,
    load_wide,
    rounded,
    splat,
    splat_group,
    splat_wide,
    store,
)

TOGETHER = WIDE  # rows at most that are summed before any is finished: as many as float64 lanes; none waits for its sum
TOGETHER_VECTORS = 2048 // WIDE  # 16 KiB: longer rows are not done together, or they would leave the nearest cache
PAIR_VECTORS = 8192 // WIDE  # 64 KiB: but two, where only the terms of both, or nothing, are used again
PATIENCE = 64  # rows at most whose guesses are distrusted when one has failed
MAX_SPREAD = 100  # exponents that the ends of a row span at most, or its largest will be far above its guess
MAX_SPREAD_BESIDE_PEAK = 24  # the same where a peak matters: it may well have one

LARGE_SHARE = 0.8  # of the sum: a row may have a peak where the large part of a term, at least 0.95 of it, holds more
MOST_OTHERS = 0.136  # in units of an element: it is a peak, and holds 0.88, where all others are no more than that
PEAK_GAP = 1.99  # how far a peak is above any other at least: a little less than log(1 / MOST_OTHERS)

# What is kept of rows that are summed together: arrays of TOGETHER numbers, the last group of each row, and vectors of
# which the lanes are yet to be added.
PIVOT, TOTAL, LOST, FIRST, SECOND, MAXIMUM, NEXT, LOG_OTHERS, LOG_OTHERS_LOW = (TOGETHER * k for k in range(9))
ENDS = TOGETHER * 10  # at the beginning of a vector
KEPT_VECTORS = 10 + TOGETHER * (4 + 3)
NO_PEAK = -1.0  # in place of the logarithm of a peaked row's sum, in units of the peak


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
def sum_around_peak(x, start, n, out, to, maximum, second, high, low, temperature, meanwhile=None):
    """Return the sum of all but the largest element in units of it, in two parts; NaN if no pivot suits."""
    limit = below_peak(maximum, second)
    pivot, rest_pivot = pivot_for(x, maximum, high), pivot_for(x, limit, high)
    if math.isnan(pivot) or math.isnan(rest_pivot):
        return math.nan, 0.0
    sums, _, suits, _, _ = sum_exponentials(x, start, n, out, to, None, rest_pivot, high, low, limit, None, meanwhile)
    if not suits:
        return math.nan, 0.0
    total, lost = add_up(sums)
    return others_over_peak(x, total, lost, maximum, second, high, low, temperature)


@inline
def log1p_of(x, value, lost):
    """Return log(1 + value + lost) as two float64 that have far more than the precision of x."""
    if choose(x, 1, 0):
        return float(largest(log1p_of_single(splat_wide(value + lost)))), 0.0
    return log1p_in_parts(value, lost)


@inline
def rows_together(x, n, in_pairs):
    """Return how many rows are summed before they are finished: where it pays `in_pairs`, two rather than one."""
    least = 2 if in_pairs and 2 * n <= PAIR_VECTORS * lanes(x) else 1
    return max(least, min(TOGETHER, TOGETHER_VECTORS * lanes(x) // n))


@inline
def keep(x, kept, place, value, rest):
    """Keep value + rest of float64 as two numbers at two places TOGETHER apart."""
    high = rounded(x, value)
    kept[place], kept[place + TOGETHER] = high, (value - high) + rest


@inline
def extremes(x, start, n, seeks_peak):
    """Return the largest of a row's elements and the second largest; that is the same with None for `seeks_peak`."""
    if seeks_peak is None:
        maximum = row_maximum(x, start, n)
        return maximum, maximum
    return two_largest(x, start, n)


@inline
def sum_row(x, start, n, terms, j, keeps, pivot, maximum, second, high, low, seeks_peak, temperature, meanwhile=None):
    """Return (sum, its pivot, end, maximum, logarithm of 1 + others, what that lost).

    The sum is that of `sum_exponentials`, its total NaN if no pivot suits; with `seeks_peak` the total and what it lost
    are all of it. The guessed pivot comes first, unless it is known to be far too low. The largest element, and with
    `seeks_peak` the second, are looked for where it does not suit, or a term is so large that the row may have a peak;
    that they are known before (not NaN) changes no result. The others of a peak are in units of it; where there is
    none, or with None for `seeks_peak`, their logarithm is NO_PEAK. For `meanwhile` see `sum_exponentials`.
    """
    nothing, end = splat(x, 0.0), splat_group(x, 0.0)
    sums = RowSum(math.nan, 0.0, nothing, nothing, nothing)
    log, log_low = NO_PEAK, 0.0
    for attempt in range(2):
        may_have_peak = False
        if not math.isnan(maximum):
            if seeks_peak is not None and (maximum - second) * (1.0 / temperature) >= PEAK_GAP:
                others, rest = sum_around_peak(
                    x, start, n, terms, j, maximum, second, high, low, temperature, meanwhile
                )
                if not others > MOST_OTHERS:
                    log, log_low = log1p_of(x, others, rest)
                    break
            is_far = maximum * (high / nodes(x)) - pivot > aim(x) + HEADROOM + 1
            if math.isnan(sums.total) and (attempt == 1 or is_far):
                pivot = pivot_for(x, maximum, high)
        if math.isnan(sums.total):
            sums, peak, suits, reaches, end = sum_exponentials(
                x, start, n, terms, j, keeps, pivot, high, low, None, seeks_peak, meanwhile
            )
            if not (suits and reaches):
                sums = RowSum(math.nan, 0.0, nothing, nothing, nothing)
            elif seeks_peak is not None:
                total, lost = add_up(sums)
                sums = RowSum(total, lost, nothing, nothing, nothing)
                may_have_peak = math.isnan(maximum) and any_set(peak >= LARGE_SHARE * total)
        if not (math.isnan(sums.total) or may_have_peak):
            break
        if math.isnan(maximum):
            maximum, second = extremes(x, start, n, seeks_peak)
    return sums, pivot, end, maximum, log, log_low


@inline
def vectors_of(x, k):
    """Return where the vectors of row k are kept of which the lanes are yet to be added."""
    return ENDS + (TOGETHER * 4 + 3 * k) * lanes(x)


@inline
def keep_vectors(x, kept, k, sums):
    """Keep the vectors of row k of which the lanes are yet to be added."""
    place = vectors_of(x, k)
    store(kept, place, sums.large)
    store(kept, place + lanes(x), sums.rounded_off)
    store(kept, place + 2 * lanes(x), sums.small)


@inline
def add_up_rows(x, rows, kept):
    """Add the lanes that are yet to be added, of one row while those of others are still on their way."""
    for k in range(rows):
        place = vectors_of(x, k)
        large, rounded_off = load(kept, place), load(kept, place + lanes(x))
        small = load(kept, place + 2 * lanes(x))
        total, lost = np.float64(kept[TOTAL + k]), np.float64(kept[LOST + k])
        total, lost = add_up(RowSum(total, lost, large, rounded_off, small))
        keep(x, kept, TOTAL + k, total, lost)


@inline
def sum_rows(
    x, start, step, rows, n, terms, j, j_step, keeps, high, low, seeks_peak, temperature, kept, distrusted, patience,
    meanwhile=None,
):  # fmt: skip
    """Keep the sums of rows; of one with a peak, unless `seeks_peak` is None, the logarithm of that of the others.

    What no pivot can do has NaN for a sum, and for the logarithm of the others. Of the first `distrusted` rows, and of
    those that vary much, the extremes are looked for at once. Returns how many of the next rows are to be distrusted,
    and `patience`: where a guess has failed, one, or twice as many as last time if no more had gone well in between.
    """
    max_spread = MAX_SPREAD if seeks_peak is None else MAX_SPREAD_BESIDE_PEAK
    for k in range(rows):
        place = start + k * step
        kept[PIVOT + k], is_spread = guess_pivot(x, place, n, n // 16, high, max_spread)
        kept[MAXIMUM + k] = math.nan
        if k < distrusted or is_spread:
            kept[MAXIMUM + k], kept[NEXT + k] = extremes(x, place, n, seeks_peak)
    for k in range(rows):
        place, to = start + k * step, j + k * j_step
        known, second = float(kept[MAXIMUM + k]), float(kept[NEXT + k])
        if k < distrusted and math.isnan(known):
            known, second = extremes(x, place, n, seeks_peak)
        sums, pivot, end, maximum, log, log_low = sum_row(
            x, place, n, terms, to, keeps, float(kept[PIVOT + k]), known, second, high, low, seeks_peak, temperature,
            meanwhile,
        )  # fmt: skip
        if math.isnan(known) and not math.isnan(maximum):
            patience = min(2 * patience, PATIENCE) if k - distrusted <= patience else 1
            distrusted = k + patience
        kept[PIVOT + k] = pivot
        keep(x, kept, TOTAL + k, sums.total, sums.lost)
        if seeks_peak is None:
            keep_vectors(x, kept, k, sums)
        else:
            kept[MAXIMUM + k] = maximum
            keep(x, kept, LOG_OTHERS + k, math.nan if log == NO_PEAK and math.isnan(sums.total) else log, log_low)
        if keeps is not None:
            store(kept, ENDS + k * 4 * lanes(x), end)
    if seeks_peak is None:
        add_up_rows(x, rows, kept)
    return distrusted - rows, patience


@inline
def keep_in_two_parts(kept, first, second, value, rest):
    """Keep WIDE float64 numbers as two numbers each of the type of `kept`, at two places there."""
    store(kept, first, value)
    store(kept, second, (value - load_wide(kept, first)) + rest)
