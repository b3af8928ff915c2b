"""Sums of rows: with a guessed pivot, or the right one, and of some rows together.

Every sum comes as a float64 and what that has lost. What suits its guessed pivot has the same sum whichever way it is
reached, so that a row's result does not depend on the rows beside it.
"""

import math

import numpy as np

from fastsoftmax.jit import inline
from fastsoftmax.kernels.exponential import nodes
from fastsoftmax.kernels.pivot import (
    HEADROOM,
    RowSum,
    add_up,
    aim,
    guess_pivot,
    pivot_for,
    row_maximum,
    sum_exponentials,
)
from fastsoftmax.simd import (
    WIDE,
    lanes,
    load,
    load_wide,
    rounded,
    splat,
    splat_group,
    store,
)

TOGETHER = WIDE  # rows at most that are summed before any is finished: as many as float64 lanes; none waits for its sum
TOGETHER_VECTORS = 2048 // WIDE  # 16 KiB: longer rows are not done together, or they would leave the nearest cache
PAIR_VECTORS = 8192 // WIDE  # 64 KiB: but two of up to this
PATIENCE = 64  # rows at most whose guesses are distrusted when one has failed
MAX_SPREAD = 100  # exponents that the ends of a row span at most, or its largest will be far above its guess

# What is kept of rows that are summed together: arrays of TOGETHER numbers (`row_peaks.py` has more), the last group of
# each row, and vectors of which the lanes are yet to be added, and one more.
PIVOT, TOTAL, LOST, FIRST, SECOND, MAXIMUM = (TOGETHER * k for k in range(6))
ENDS = TOGETHER * 12  # at the beginning of a vector
KEPT_VECTORS = 12 + TOGETHER * (4 + 4)


@inline
def rows_nearby(x, n):
    """Return how many rows the nearest cache has room for, beside others, at most TOGETHER."""
    return max(1, min(TOGETHER, TOGETHER_VECTORS * lanes(x) // n))


@inline
def rows_together(x, n):
    """Return how many rows are summed before they are finished."""
    return max(2 if 2 * n <= PAIR_VECTORS * lanes(x) else 1, rows_nearby(x, n))


@inline
def keep(x, kept, place, value, rest):
    """Keep value + rest of float64 as two numbers at two places TOGETHER apart."""
    high = rounded(x, value)
    kept[place], kept[place + TOGETHER] = high, (value - high) + rest


@inline
def is_far_above(x, maximum, pivot, high):
    """Tell whether the largest element of a row, unless that is NaN, is so large that the pivot will not suit."""
    return maximum * (high / nodes(x)) - pivot > aim(x) + HEADROOM + 1


@inline
def sum_row(x, start, n, terms, j, keeps, pivot, maximum, high, low, meanwhile=None):
    """Return (sum, its pivot, end, maximum): the sum is that of `sum_exponentials`, its total NaN if no pivot suits.

    The guessed pivot comes first, unless it is known to be far too low. The largest element is looked for where it does
    not suit; that it is known before (not NaN) changes no result.
    """
    nothing, end = splat(x, 0.0), splat_group(x, 0.0)
    sums = RowSum(math.nan, 0.0, nothing, nothing, nothing)
    for attempt in range(2):
        if attempt == 1 and math.isnan(maximum):
            maximum = row_maximum(x, start, n)
        if attempt == 1 or is_far_above(x, maximum, pivot, high):
            pivot = pivot_for(x, maximum, high)
        sums, _, suits, reaches, end = sum_exponentials(
            x, start, n, terms, j, keeps, pivot, high, low, None, None, meanwhile
        )
        if suits and reaches:
            break
        sums = RowSum(math.nan, 0.0, nothing, nothing, nothing)
    return sums, pivot, end, maximum


@inline
def vectors_of(x, k):
    """Return where the vectors of row k are kept of which the lanes are yet to be added."""
    return ENDS + (TOGETHER * 4 + 4 * k) * lanes(x)


@inline
def keep_vectors(x, kept, k, sums):
    """Keep the vectors of row k of which the lanes are yet to be added."""
    place = vectors_of(x, k)
    store(kept, place, sums.large)
    store(kept, place + lanes(x), sums.rounded_off)
    store(kept, place + 2 * lanes(x), sums.small)


@inline
def recall_sums(x, kept, k):
    """Return the sum of row k as it was kept."""
    place, width = vectors_of(x, k), lanes(x)
    total, lost = np.float64(kept[TOTAL + k]), np.float64(kept[LOST + k])
    return RowSum(total, lost, load(kept, place), load(kept, place + width), load(kept, place + 2 * width))


@inline
def add_up_rows(x, rows, kept):
    """Add the lanes that are yet to be added, of one row while those of others are still on their way."""
    for k in range(rows):
        total, lost = add_up(recall_sums(x, kept, k))
        keep(x, kept, TOTAL + k, total, lost)


@inline
def distrust_more(distrusted, patience, k):
    """Return how many rows are to be distrusted after the guess for row k has failed, and what `patience` is then."""
    patience = min(2 * patience, PATIENCE) if k - distrusted <= patience else 1
    return k + patience, patience


@inline
def sum_rows(x, start, step, rows, n, terms, j, j_step, keeps, high, low, kept, distrusted, patience, meanwhile=None):
    """Keep the sums of rows. What no pivot can do has NaN for a sum.

    Of the first `distrusted` rows, and of those that vary much, the largest element is looked for at once. Returns how
    many of the next rows are to be distrusted, and `patience`: where a guess has failed, one, or twice as many as last
    time if no more had gone well in between.
    """
    for k in range(rows):
        place = start + k * step
        kept[PIVOT + k], is_spread = guess_pivot(x, place, n, n // 16, high, MAX_SPREAD)
        kept[MAXIMUM + k] = row_maximum(x, place, n) if k < distrusted or is_spread else math.nan
    for k in range(rows):
        place, to = start + k * step, j + k * j_step
        known = float(kept[MAXIMUM + k])
        if k < distrusted and math.isnan(known):
            known = row_maximum(x, place, n)
        sums, pivot, end, maximum = sum_row(
            x, place, n, terms, to, keeps, float(kept[PIVOT + k]), known, high, low, meanwhile
        )
        if math.isnan(known) and not math.isnan(maximum):
            distrusted, patience = distrust_more(distrusted, patience, k)
        kept[PIVOT + k] = pivot
        keep(x, kept, TOTAL + k, sums.total, sums.lost)
        keep_vectors(x, kept, k, sums)
        if keeps is not None:
            store(kept, ENDS + k * 4 * lanes(x), end)
    add_up_rows(x, rows, kept)
    return distrusted - rows, patience


@inline
def keep_in_two_parts(kept, first, second, value, rest):
    """Keep WIDE float64 numbers as two numbers each of the type of `kept`, at two places there."""
    store(kept, first, value)
    store(kept, second, (value - load_wide(kept, first)) + rest)
