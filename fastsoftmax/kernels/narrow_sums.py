"""Sums of narrow rows: of tiles in which each lane of a vector is a row (`tiles.py`).

Each lane has a pivot of its own, from the maximum of its row: there is nothing to guess.
"""

import math

from fastsoftmax.jit import inline
from fastsoftmax.kernels.exponential import (
    add_exactly,
    add_smaller,
    exponential,
    exponential_of_narrower,
    log2e_wide,
    magic_integer,
    magic_number,
    nodes,
)
from fastsoftmax.kernels.log1p import log1p
from fastsoftmax.kernels.pivot import MAX_PIVOT, add_four_exactly, add_group, hold, hold_out, sum_of_four
from fastsoftmax.kernels.row_results import times
from fastsoftmax.simd import (
    GROUP,
    absolute,
    constant,
    fma,
    in_a_line,
    lanes,
    larger,
    load,
    load_group,
    prefetch,
    prefetch_to_write,
    repeated,
    select,
    splat,
    store,
    widened,
)

PAUSE = 8  # elements after which what was lost is added exactly: equal numbers would all be rounded the same way


summit = constant(84, 500)  # the exponent of a row's largest term: its inverse, in two parts, is a normal number
reach = constant(178, 1200)  # how many exponents the smallest is below it: beside it, it is nothing

part = constant(100, 500)  # sums of others are in units of the largest term over 2 to this: all are normal numbers
parts_of_peak = constant(2.0**100, 2.0**500)  # how many of these units it is
own_log = constant(2.0**50, 2.0**0)  # in them: a sum below is the logarithm of 1 and itself, ...
least_of_all = constant(2.0**-51, 2.0**-576)  # ... below this it is 0


@inline
def pivots_for(x, maximum, high):
    """Return the pivots that suit the maxima; NaN where none does."""
    k = fma(maximum, high * (1.0 / nodes(x)), splat(x, magic_integer(x))) - magic_integer(x)
    return select(absolute(k) < MAX_PIVOT - summit(x), k - summit(x), splat(x, math.nan))


@inline
def floors_of(x, pivot, high):
    """Return the elements whose terms are the smallest."""
    return (pivot + (summit(x) - reach(x))) * (nodes(x) / high)


@inline
def ask_for(x, next_rows, out, to, j):
    """Ask for memory, a vector for each of four columns: rows that will be read next, and written to, unless None.

    It is that of rows without room between them.
    """
    if next_rows is not None:
        for k in range(j * lanes(x), (j + GROUP) * lanes(x), in_a_line(x)):
            prefetch(x, next_rows + k)
            if out is not None:
                prefetch_to_write(out, to + k)


@inline
def sum_terms_of_rows(x, next_rows, out, to, tile, n, keeps, pivot, high, low):
    """Return the sums of the terms of a tile's elements in two parts, NaN if there is a NaN.

    Unless `keeps` is None the terms replace the elements, and the sum of one is that itself. They are added to a number
    larger than all of them together: then what a sum loses takes less to find.
    """
    width = lanes(x)
    floor, magic = floors_of(x, pivot, high), magic_number(x, pivot)
    group_floor, group_magic = repeated(floor), repeated(magic)
    above = 2.0 ** (summit(x) + 9)  # of the terms of a narrow row, each at most sqrt(2) · 2^summit
    total, lost = splat(x, above), splat(x, 0.0)
    j, last = 0, n - (GROUP - 1)
    while j < last:
        if j > 0:
            total, lost = add_smaller(total, lost)
        pause = min(last, j + PAUSE)
        while j < pause:
            ask_for(x, next_rows, out, to, j)
            e, large, small, _ = exponential(larger(group_floor, load_group(tile, width * j)), high, low, group_magic)
            if keeps is not None:
                store(tile, width * j, e)
            total, rests = add_group(total, large)
            lost = lost + (sum_of_four(small) + sum_of_four(rests))
            j += GROUP
    while j < n:
        e, large, small, _ = exponential(larger(floor, load(tile, width * j)), high, low, magic)
        if keeps is not None:
            store(tile, width * j, e)
            if n == 1:
                return e, lost
        total, rest = add_smaller(total, large)
        lost = lost + (rest + small)
        j += 1
    return add_smaller(total - above, lost)


@inline
def over_peak(x, total, lost, peak, high, low, magic):
    """Return sums of terms, in two parts, in units of the peak's term over 2^part, likewise."""
    _, large, small, _ = exponential(peak, high, low, magic - part(x) * nodes(x))
    unit, unit_low = add_smaller(large, small)
    inverse = 1.0 / unit
    ratio = total * inverse
    return ratio, (fma(ratio, 0.0 - unit, total) + fma(ratio, 0.0 - unit_low, lost)) * inverse


@inline
def log_of_sums(x, others, lost):
    """Return log(1 + others + lost) of sums as `over_peak` gives them; nothing is subnormal unless the result is."""
    scale = 1.0 / parts_of_peak(x)
    is_own_log = others < own_log(x)
    value, rest = select(is_own_log, 0.0, others), select(is_own_log, 0.0, lost)
    log, _ = log1p(times(value, scale), times(rest, scale))
    return select(is_own_log, times(select(others < least_of_all(x), 0.0, others + lost), scale), log)


@inline
def sum_around_peaks(x, next_rows, out, to, tile, n, maximum, high, low):
    """Return sums of e^(x - maximum) over all elements but one of the largest, times 2^part, in two parts.

    The largest so far is held out while the others are summed. NaN is as in `sum_terms_of_rows`.
    """
    width = lanes(x)
    pivot = pivots_for(x, maximum, high)
    floor, magic = floors_of(x, pivot, high), magic_number(x, pivot)
    group_floor, group_magic = repeated(floor), repeated(magic)
    held, total, lost = splat(x, -math.inf), splat(x, 0.0), splat(x, 0.0)
    first, last = 0, n - (GROUP - 1)
    if n % GROUP > 0:  # then it saves a term that one is held from the beginning
        held, first = load(tile, 0), 1
    j = first
    while j < last:
        if j > first:
            total, lost = add_exactly(total, 0.0, lost)
        pause = min(last, j + PAUSE)
        while j < pause:
            ask_for(x, next_rows, out, to, j - first)
            held, v = hold_out(held, load_group(tile, width * j))
            _, large, small, _ = exponential(larger(group_floor, v), high, low, group_magic)
            total, lost = add_four_exactly(total, lost + sum_of_four(small), large)
            j += GROUP
    while j < n:
        v = load(tile, width * j)
        held, v = hold(held, v)
        _, large, small, _ = exponential(larger(floor, v), high, low, magic)
        total, lost = add_exactly(total, lost + small, large)
        j += 1
    return over_peak(x, *add_smaller(total, lost), held, high, low, magic)


@inline
def sum_few_around_peaks(x, tile, n, maximum):
    """Return sums of e^(x - maximum) of a few float32 over all but one of the largest, and that, NaN if the first is.

    They are computed in float64.
    """
    high, low = log2e_wide(1.0)
    maximum, held, total = widened(maximum), widened(load(tile, 0)), widened(splat(x, 0.0))
    for j in range(1, n):
        held, v = hold(held, widened(load(tile, lanes(x) * j)))
        v = larger(-400.0 / high, v - maximum)
        total = total + exponential_of_narrower(v, high, low, 0.0)
    return total, held
