"""`auto` on rows of at least a vector: the reduced axis is contiguous.

softmax        one pass that keeps e^x in the result, one that scales it: one exp an element.
log_softmax    one pass that only sums, one that subtracts: one exp an element.
logsumexp      the first of these passes.

A kernel does `block` rows and then begins anew, so that a result does not depend on which thread did the rows before.
In a block it goes ahead with the pivot of the row before (``..._ahead``) until a row does not suit it (`pivot.py`) or
is peaked. Then it looks for the maximum first (``..._knowing``), for that row and a few more: the pivot is right, and
the largest element's term is taken exactly, beside the sum of the others. What even this cannot do is done the
careful way. Nothing rare is in the two loops: one call there, and the constants of e^x would not stay in registers.

Error bounds, in units in the last place: softmax 2, log_softmax 2, logsumexp 1 (one ulp of 1.0 near 0).
"""

import math

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful import careful_log_softmax, careful_logsumexp, careful_softmax
from fastsoftmax.kernels.exponential import exponential_in_parts, log2e_over
from fastsoftmax.kernels.logarithm import log1p_of, log_in_parts, log_of_total, log_rounded
from fastsoftmax.kernels.pivot import in_window, is_peaked, pivot_for, row_maximum, sum_exponentials
from fastsoftmax.kernels.storage import room_for_terms, write
from fastsoftmax.simd import choose, fma, lanes, larger, load, rounded, smaller, splat, store

ROW_PARAMETERS = ("in", "int", "int", "out", "int", "int", "int", "int", "int", "int", "int", "real")

NEAR_ZERO = 1.0  # a smaller logsumexp is a difference of nearly equal numbers, and computed the careful way
LOOK_AHEAD = 16  # how many rows are done knowing their maximum before the guess is tried again


@inline
def guess_pivot(x, start, high):
    """Guess a pivot from the first elements of a row; a bad guess costs time only."""
    pivot = pivot_for(x, row_maximum(x, start, lanes(x)), high)
    return 0.0 if math.isnan(pivot) else pivot


@inline
def sum_knowing(x, start, n, terms, j, high, low, temperature, pivot, maximum):
    """Return the sum of the terms in two parts, that of all but the largest in units of it, and the last vector.

    The sum is NaN if there is a NaN in the row.
    """
    rest, rest_lost, top, tail, ties = sum_exponentials(x, start, n, terms, j, pivot, high, low, maximum)
    peak, peak_low = exponential_in_parts(maximum, pivot, temperature)
    others = (rest / peak) * (1.0 - peak_low / peak) + (ties - 1)
    total = rest + ties * peak
    lost = (ties * peak - (total - rest)) + (rest_lost + ties * peak_low)
    return math.nan if math.isnan(top) else total, lost, others, tail


@inline
def least_others(x):
    """Return how much the others must hold: float64 has no wider type in which a peak could be taken exactly."""
    return choose(x, 0.0, 5.0)


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
def softmax_ahead(x, x_start, x_step, out, out_start, out_step, terms, in_out, first, last, n, pivot, high, low):
    """Do the rows from first to last with a given pivot, as far as they suit it; return the row it ended at."""
    for r in range(first, last):
        j = (out_start + r * out_step) * in_out
        total, lost, top, tail, _ = sum_exponentials(x, x_start + r * x_step, n, terms, j, pivot, high, low, None)
        if not in_window(x, top) or is_peaked(total, top):
            return r
        scale_terms(terms, j, n, tail, total, lost, out, out_start + r * out_step)
    return last


@inline
def softmax_knowing(
    x, x_start, x_step, out, out_start, out_step, terms, in_out, first, last, n, high, low, temperature
):
    """Do the rows from first to last, looking for the maximum first; return the row it ended at, the last pivot."""
    pivot = 0.0
    for r in range(first, last):
        j = (out_start + r * out_step) * in_out
        maximum = row_maximum(x, x_start + r * x_step, n)
        pivot = pivot_for(x, maximum, high)
        if math.isnan(pivot):
            return r, 0.0
        total, lost, others, tail = sum_knowing(
            x, x_start + r * x_step, n, terms, j, high, low, temperature, pivot, maximum
        )
        if math.isnan(total) or others < least_others(x):
            return r, 0.0
        scale_terms(terms, j, n, tail, total, lost, out, out_start + r * out_step)
    return last, pivot


@kernel(*ROW_PARAMETERS)
def softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, block, in_place, temperature):
    """Write softmax of the rows first to last.

    Row r begins at x[x_start + r * x_step] and goes to out[out_start + r * out_step]; `in_place` tells that the two
    are one.
    """
    high, low = log2e_over(x, temperature)
    terms, in_out = room_for_terms(out, n, in_place)
    for block_first in range(first, last, block):
        r, block_last = block_first, min(block_first + block, last)
        pivot = guess_pivot(x, x_start + r * x_step, high)
        while True:
            r = softmax_ahead(
                x,
                x_start,
                x_step,
                out,
                out_start,
                out_step,
                terms,
                in_out,
                r,
                block_last,
                n,
                pivot,
                high,
                low,
            )
            if r == block_last:
                break
            stop = min(r + LOOK_AHEAD, block_last)
            r, pivot = softmax_knowing(
                x,
                x_start,
                x_step,
                out,
                out_start,
                out_step,
                terms,
                in_out,
                r,
                stop,
                n,
                high,
                low,
                temperature,
            )
            if r < stop:
                careful_softmax(x, x_start + r * x_step, n, out, out_start + r * out_step, temperature)
                r += 1
                pivot = 0.0 if r == block_last else guess_pivot(x, x_start + r * x_step, high)


# --- the logarithms -------------------------------------------------------------------------------------------------


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
def log_softmax_ahead(x, x_start, x_step, out, out_start, out_step, first, last, n, pivot, high, low, temperature):
    """Do the rows from first to last with a given pivot, as far as they suit it; return the row it ended at."""
    for r in range(first, last):
        total, lost, top, _, _ = sum_exponentials(x, x_start + r * x_step, n, None, 0, pivot, high, low, None)
        if not in_window(x, top) or is_peaked(total, top):
            return r
        log_high, log_low = log_rounded(x, total, lost, pivot)
        subtract_log_sum(x, x_start + r * x_step, n, out, out_start + r * out_step, log_high, log_low, temperature)
    return last


@inline
def log_softmax_knowing(x, x_start, x_step, out, out_start, out_step, first, last, n, high, low, temperature):
    """Do the rows from first to last, looking for the maximum first; return the row it ended at, the last pivot."""
    pivot = 0.0
    for r in range(first, last):
        maximum = row_maximum(x, x_start + r * x_step, n)
        pivot = pivot_for(x, maximum, high)
        if math.isnan(pivot):
            return r, 0.0
        total, _, others, _ = sum_knowing(x, x_start + r * x_step, n, None, 0, high, low, temperature, pivot, maximum)
        if math.isnan(total) or others < least_others(x):
            return r, 0.0
        log_high, log_low = log_of_total(x, maximum, temperature, others)
        subtract_log_sum(x, x_start + r * x_step, n, out, out_start + r * out_step, log_high, log_low, temperature)
    return last, pivot


@kernel(*ROW_PARAMETERS)
def log_softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, block, in_place, temperature):
    """Write log_softmax of the rows first to last, which lie as in `softmax_rows`."""
    high, low = log2e_over(x, temperature)
    for block_first in range(first, last, block):
        r, block_last = block_first, min(block_first + block, last)
        pivot = guess_pivot(x, x_start + r * x_step, high)
        while True:
            r = log_softmax_ahead(
                x, x_start, x_step, out, out_start, out_step, r, block_last, n, pivot, high, low, temperature
            )
            if r == block_last:
                break
            stop = min(r + LOOK_AHEAD, block_last)
            r, pivot = log_softmax_knowing(
                x, x_start, x_step, out, out_start, out_step, r, stop, n, high, low, temperature
            )
            if r < stop:
                careful_log_softmax(x, x_start + r * x_step, n, out, out_start + r * out_step, temperature)
                r += 1
                pivot = 0.0 if r == block_last else guess_pivot(x, x_start + r * x_step, high)


@inline
def logsumexp_ahead(x, x_start, x_step, out, out_start, out_step, first, last, n, pivot, high, low):
    """Do the rows from first to last with a given pivot, as far as they suit it; return the row it ended at."""
    for r in range(first, last):
        total, lost, top, _, _ = sum_exponentials(x, x_start + r * x_step, n, None, 0, pivot, high, low, None)
        a, b = log_in_parts(total, lost, pivot)
        if not in_window(x, top) or is_peaked(total, top) or abs(a + b) < NEAR_ZERO:
            return r
        write(out, out_start + r * out_step, a + b)
    return last


@inline
def logsumexp_knowing(x, x_start, x_step, out, out_start, out_step, first, last, n, high, low):
    """Do the rows from first to last, looking for the maximum first; return the row it ended at, the last pivot."""
    pivot = 0.0
    for r in range(first, last):
        maximum = row_maximum(x, x_start + r * x_step, n)
        pivot = pivot_for(x, maximum, high)
        if math.isnan(pivot):
            return r, 0.0
        total, _, others, _ = sum_knowing(x, x_start + r * x_step, n, None, 0, high, low, 1.0, pivot, maximum)
        if math.isnan(total) or others < least_others(x):
            return r, 0.0
        result = maximum + log1p_of(others)
        if abs(result) < NEAR_ZERO:
            return r, 0.0
        write(out, out_start + r * out_step, result)
    return last, pivot


@kernel(*ROW_PARAMETERS)
def logsumexp_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, block, in_place, temperature):
    """Write logsumexp of the rows first to last to out[out_start + r * out_step]; the temperature is 1."""
    high, low = log2e_over(x, temperature)
    for block_first in range(first, last, block):
        r, block_last = block_first, min(block_first + block, last)
        pivot = guess_pivot(x, x_start + r * x_step, high)
        while True:
            r = logsumexp_ahead(x, x_start, x_step, out, out_start, out_step, r, block_last, n, pivot, high, low)
            if r == block_last:
                break
            stop = min(r + LOOK_AHEAD, block_last)
            r, pivot = logsumexp_knowing(x, x_start, x_step, out, out_start, out_step, r, stop, n, high, low)
            if r < stop:
                near_zero = True
                while near_zero and r < block_last:  # a row of log-probabilities seldom comes alone
                    result = careful_logsumexp(x, x_start + r * x_step, n)
                    write(out, out_start + r * out_step, result)
                    near_zero = abs(result) < NEAR_ZERO
                    r += 1
                pivot = 0.0 if r == block_last else guess_pivot(x, x_start + r * x_step, high)
