"""`auto` on rows of at least a vector: the reduced axis is contiguous.

softmax        one pass that keeps e^x in the result, one that scales it: one exp an element.
log_softmax    one pass that only sums, one that subtracts: one exp an element.
logsumexp      the first of these passes.

A row's pivot is guessed from its ends (`pivot.py`). The inner loop goes ahead (``..._ahead``) until a row does not
suit its pivot, or is peaked: then the largest term's rounding would be the sum's, and that term is replaced by its
exact value. Nothing rare is in the inner loop: one call there, and the constants of e^x would not stay in registers.
What even the right pivot cannot do is done the careful way. Each row is computed by itself, whatever is beside it.

Error bounds, in units in the last place: softmax 2, log_softmax 2, logsumexp 1 (one ulp of 1.0 near 0).
"""

import math

import numpy as np

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful import careful_log_softmax, careful_logsumexp, careful_softmax
from fastsoftmax.kernels.exponential import add_exactly, exponential_in_parts, log2e_over
from fastsoftmax.kernels.logarithm import log1p_of, log_in_parts, log_of_total, log_rounded
from fastsoftmax.kernels.pivot import (
    MAX_PIVOT,
    aim,
    in_window,
    is_peaked,
    pivot_for,
    row_maximum,
    sum_exponentials,
)
from fastsoftmax.kernels.storage import room_for_terms, write
from fastsoftmax.simd import choose, fma, lanes, larger, largest, ldexp_small, load, rounded, smaller, splat, store

ROW_PARAMETERS = ("in", "int", "int", "out", "int", "int", "int", "int", "int", "int", "real")

NEAR_ZERO = 1.0  # a smaller logsumexp is a difference of nearly equal numbers, and computed the careful way


@inline
def guess_pivot(x, start, n, high):
    """Guess a pivot from the ends of a row; a bad guess costs time only."""
    ends = larger(load(x, start), load(x, start + n - lanes(x)))
    pivot = np.rint(float(largest(ends)) * high) - aim(x)
    return pivot if abs(pivot) < MAX_PIVOT else 0.0


@inline
def sum_around_peak(x, start, n, high, low, temperature):
    """Return (maximum, pivot, total, what it lost, sum of the others in units of the largest) of a row.

    The largest terms are taken exactly. The last number is NaN where there is a NaN or no pivot.
    """
    maximum = row_maximum(x, start, n)
    pivot = pivot_for(x, maximum, high)
    if math.isnan(pivot):
        return maximum, pivot, 0.0, 0.0, pivot
    rest, lost, top, _, ties = sum_exponentials(x, start, n, None, 0, pivot, high, low, maximum)
    peak, peak_low = exponential_in_parts(maximum, pivot, temperature)
    others = ((rest + lost) / peak) * (1.0 - peak_low / peak) + (ties - 1)
    total, lost = add_exactly(ties * peak, ties * peak_low + lost, rest)
    return maximum, pivot, total, lost, math.nan if math.isnan(top) else others


# --- softmax --------------------------------------------------------------------------------------------------------


@inline
def inverse_of(out, total, lost):
    """Return 1 / (total + lost) as two numbers of the type of `out`: multiplying by it adds no rounding of its own."""
    inverse = 1.0 / total
    high = rounded(out, inverse)
    if choose(out, 1, 0):
        return high, rounded(out, inverse - high)
    return high, fma(-inverse, lost, fma(-inverse, total, 1.0)) * inverse


@inline
def share(e, inverse, inverse_low):
    """Return e / sum, which is never more than 1."""
    return smaller(1.0, fma(e, inverse, e * inverse_low))


@inline
def scale_terms(terms, j, n, tail, total, lost, out, to):
    """Write terms / (total + lost) for n >= lanes elements."""
    width = lanes(out)
    high, low = inverse_of(out, total, lost)
    high, low = splat(out, high), splat(out, low)
    i = 0
    while i < n - (4 * width - 1):
        a = load(terms, j + i)
        b = load(terms, j + i + width)
        c = load(terms, j + i + 2 * width)
        d = load(terms, j + i + 3 * width)
        store(out, to + i, share(a, high, low))
        store(out, to + i + width, share(b, high, low))
        store(out, to + i + 2 * width, share(c, high, low))
        store(out, to + i + 3 * width, share(d, high, low))
        i += 4 * width
    while i < n - (width - 1):
        store(out, to + i, share(load(terms, j + i), high, low))
        i += width
    if i < n:
        store(out, to + n - width, share(tail, high, low))


@inline
def softmax_ahead(x, x_start, x_step, out, out_start, out_step, terms, in_out, first, last, n, high, low):
    """Do the rows from first to last, as far as their guessed pivots suit them.

    Returns the row it ended at, and of that row the pivot, the sum in two parts, its largest exponent and last vector.
    """
    total, lost, top, tail = 0.0, 0.0, 0.0, splat(x, 0.0)
    pivot = guess_pivot(x, x_start + first * x_step, n, high)
    for r in range(first, last):
        j = (out_start + r * out_step) * in_out
        total, lost, top, tail, _ = sum_exponentials(x, x_start + r * x_step, n, terms, j, pivot, high, low, None)
        if not in_window(x, top) or is_peaked(total, top):
            return r, pivot, total, lost, top, tail
        pivot = guess_pivot(x, x_start + min(r + 1, last - 1) * x_step, n, high)  # early: the next row waits for it
        scale_terms(terms, j, n, tail, total, lost, out, out_start + r * out_step)
    return last, pivot, total, lost, top, tail


@kernel(*ROW_PARAMETERS)
def softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, in_place, temperature):
    """Write softmax of the rows first to last.

    Row r begins at x[x_start + r * x_step] and goes to out[out_start + r * out_step]; `in_place` tells that the two
    are one.
    """
    high, low = log2e_over(x, temperature)
    terms, in_out = room_for_terms(out, n, in_place)
    r = first
    while True:
        r, pivot, total, lost, top, tail = softmax_ahead(
            x, x_start, x_step, out, out_start, out_step, terms, in_out, r, last, n, high, low
        )
        if r == last:
            break
        start, to = x_start + r * x_step, out_start + r * out_step
        if not in_window(x, top):
            pivot = pivot_for(x, row_maximum(x, start, n), high)
            if not math.isnan(pivot):
                total, lost, top, tail, _ = sum_exponentials(x, start, n, terms, to * in_out, pivot, high, low, None)
        if math.isnan(pivot) or math.isnan(top):
            careful_softmax(x, start, n, out, to, temperature)
        else:
            if is_peaked(total, top):
                _, better, total, lost, _ = sum_around_peak(x, start, n, high, low, temperature)
                total, lost = ldexp_small(total, better - pivot), ldexp_small(lost, better - pivot)
            scale_terms(terms, to * in_out, n, tail, total, lost, out, to)
        r += 1


# --- the logarithms -------------------------------------------------------------------------------------------------


@inline
def least_others(x):
    """Return how much the others must hold: float64 has no wider type in which less could be added."""
    return choose(x, 0.0, 1.0)


@inline
def subtract_log_sum(x, start, n, out, to, log_high, log_low, temperature):
    """Write x / temperature - log_sum for n >= lanes elements, all factors in two parts."""
    width = lanes(x)
    inverse = 1.0 / temperature
    scale = rounded(x, inverse)
    scale_low = splat(x, rounded(x, (inverse - scale) + fma(-inverse, temperature, 1.0) * inverse))
    scale = splat(x, scale)
    minus_high = splat(x, -log_high)
    minus_low = splat(x, -log_low)
    lowest = splat(x, choose(x, -3.0e38, -1.0e308))  # -inf times a zero would be NaN
    tail = load(x, start + n - width)
    i = 0
    while i < n - (width - 1):
        v = load(x, start + i)
        store(out, to + i, fma(v, scale, minus_high) + fma(larger(lowest, v), scale_low, minus_low))
        i += width
    if i < n:
        value = fma(tail, scale, minus_high) + fma(larger(lowest, tail), scale_low, minus_low)
        store(out, to + n - width, value)


@inline
def log_softmax_ahead(x, x_start, x_step, out, out_start, out_step, first, last, n, high, low, temperature):
    """Do the rows from first to last, as far as their guessed pivots suit them; return the row it ended at."""
    pivot = guess_pivot(x, x_start + first * x_step, n, high)
    for r in range(first, last):
        total, lost, top, _, _ = sum_exponentials(x, x_start + r * x_step, n, None, 0, pivot, high, low, None)
        if not in_window(x, top) or is_peaked(total, top):
            return r
        log_high, log_low = log_rounded(x, total, lost, pivot)
        pivot = guess_pivot(x, x_start + min(r + 1, last - 1) * x_step, n, high)
        subtract_log_sum(x, x_start + r * x_step, n, out, out_start + r * out_step, log_high, log_low, temperature)
    return last


@kernel(*ROW_PARAMETERS)
def log_softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, in_place, temperature):
    """Write log_softmax of the rows first to last, which lie as in `softmax_rows`."""
    high, low = log2e_over(x, temperature)
    r = first
    while True:
        r = log_softmax_ahead(x, x_start, x_step, out, out_start, out_step, r, last, n, high, low, temperature)
        if r == last:
            break
        start, to = x_start + r * x_step, out_start + r * out_step
        maximum, _, _, _, others = sum_around_peak(x, start, n, high, low, temperature)
        if others >= least_others(x):
            log_high, log_low = log_of_total(x, maximum, temperature, others)
            subtract_log_sum(x, start, n, out, to, log_high, log_low, temperature)
        else:
            careful_log_softmax(x, start, n, out, to, temperature)
        r += 1


@inline
def logsumexp_ahead(x, x_start, x_step, out, out_start, out_step, first, last, n, high, low):
    """Do the rows from first to last, as far as their guessed pivots suit them; return the row it ended at."""
    pivot = guess_pivot(x, x_start + first * x_step, n, high)
    for r in range(first, last):
        total, lost, top, _, _ = sum_exponentials(x, x_start + r * x_step, n, None, 0, pivot, high, low, None)
        a, b = log_in_parts(total, lost, pivot)
        if not in_window(x, top) or is_peaked(total, top) or abs(a + b) < NEAR_ZERO:
            return r
        pivot = guess_pivot(x, x_start + min(r + 1, last - 1) * x_step, n, high)
        write(out, out_start + r * out_step, a + b)
    return last


@kernel(*ROW_PARAMETERS)
def logsumexp_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, in_place, temperature):
    """Write logsumexp of the rows first to last to out[out_start + r * out_step]; the temperature is 1."""
    high, low = log2e_over(x, temperature)
    r = first
    while True:
        r = logsumexp_ahead(x, x_start, x_step, out, out_start, out_step, r, last, n, high, low)
        if r == last:
            break
        start, to = x_start + r * x_step, out_start + r * out_step
        maximum, _, _, _, others = sum_around_peak(x, start, n, high, low, temperature)
        result = maximum + log1p_of(others) if others >= least_others(x) else 0.0
        if abs(result) < NEAR_ZERO:
            result = careful_logsumexp(x, start, n)
        write(out, to, result)
        r += 1
