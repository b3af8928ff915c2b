"""`auto` on rows of at least a group of vectors: the reduced axis is contiguous.

softmax        one pass that keeps e^x in the result, one that scales it: one exp an element.
log_softmax    one pass that only sums, one that subtracts: one exp an element.
logsumexp      the first of these passes.

Some rows are summed together (`row_sums.py`), with pivots guessed from their ends, and then finished. Of a row that
varies much, or does not suit its guess, and of some behind it, which may be like it, the maximum is looked for. What
even the right pivot cannot do is done the careful way. Each row is computed by itself, whatever is beside it.

Error bounds, in units in the last place: softmax 2, log_softmax 2, logsumexp 1 (one ulp of 1.0 near 0).
"""

import math

import numpy as np

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful import careful_log_softmax, careful_logsumexp, careful_softmax, logsumexp_near_zero
from fastsoftmax.kernels.exponential import add_exactly, inverse_in_parts, log2e_over
from fastsoftmax.kernels.logarithm import log_and_rest
from fastsoftmax.kernels.row_sums import (
    ENDS,
    FIRST,
    KEPT_VECTORS,
    LOG_OTHERS,
    LOG_OTHERS_LOW,
    LOST,
    MAXIMUM,
    NO_PEAK,
    PIVOT,
    SECOND,
    TOTAL,
    keep_in_two_parts,
    rows_together,
    sum_rows,
)
from fastsoftmax.kernels.storage import OUT_IS_LARGE, room_for_terms
from fastsoftmax.simd import (
    FLUSHES,
    NODES,
    choose,
    flush_small,
    fma,
    keep_alive,
    lanes,
    larger,
    load,
    load_first,
    load_group,
    load_wide,
    pointer_to,
    prefetch_to_write,
    restore,
    rounded,
    scratch,
    select,
    smaller,
    splat,
    splat_group,
    store,
    store_first,
    store_one,
    store_past_caches,
    terms_in,
    to_aligned,
    wait_for_stores,
)

ROW_PARAMETERS = ("in", "int", "int", "out", "int", "int", "int", "int", "int", "int", "real")

# Where subnormal numbers become 0, shares are computed times so much: so what the second part of an inverse gives is a
# normal number, or the share is none.
SPARED_SINGLE, SPARED_DOUBLE = (2.0**25, 2.0**100) if FLUSHES else (1.0, 1.0)
# Where terms are a power of two times a number, which may itself be much larger than 1, the power is raised by so much,
# or it might be no normal number, and the inverse of the sum is shrunk.
LIFT_SINGLE, LIFT_DOUBLE = 36, 100
SHRINK_SINGLE, SHRINK_DOUBLE = 2.0**-LIFT_SINGLE, 2.0**-LIFT_DOUBLE
NEAR_ZERO_SINGLE = 0.5 if NODES[32] == 16 else 1.0  # with fewer nodes small parts are larger, and what they lose
WORTH_ALIGNING = 8  # groups of a row from which on it pays that each vector is written to one line
TINY = 0.99e-3  # a logsumexp nearer 0 than 1e-3 may err by one ulp of 1.0; one just above may be computed below


# --- softmax --------------------------------------------------------------------------------------------------------


@inline
def inverse_of(out, total, lost):
    """Return 1 / (total + lost), spared, as two numbers of the type of `out`: `share` adds no rounding but its own."""
    if choose(out, 1, 0):
        inverse = SPARED_SINGLE / (total + lost)
        high = rounded(out, inverse)
        return high, rounded(out, inverse - high)
    inverse, inverse_low = inverse_in_parts(total, lost)
    return inverse * SPARED_DOUBLE, inverse_low * SPARED_DOUBLE


@inline
def lift(x):
    """Return by what the exponents of terms are raised."""
    return choose(x, LIFT_SINGLE, LIFT_DOUBLE)


@inline
def share(e, inverse, inverse_low):
    """Return e / sum, which is never more than 1; the inverse is that of the sum, spared."""
    return smaller(1.0, fma(e, inverse, e * inverse_low) * choose(e, 1.0 / SPARED_SINGLE, 1.0 / SPARED_DOUBLE))


@inline
def scale_terms(terms, j, n, end, inverse, inverse_low, out, to):
    """Write terms / sum, those of the last group, which may overlap the one before, from `end`."""
    width = 4 * lanes(out)
    high, low = splat_group(out, inverse), splat_group(out, inverse_low)
    head = load(terms, j)  # before it may be written to
    first = to_aligned(out, to) if n >= WORTH_ALIGNING * width else 0
    for i in range(first, n - width, width):
        store(out, to + i, share(load_group(terms, j + i), high, low))
    if first > 0:
        store(out, to, share(head, splat(out, inverse), splat(out, inverse_low)))
    store(out, to + n - width, share(end, high, low))


@inline
def ask_for_ends(out, to, n):
    """Ask in time for the lines at the ends of a row: only whole lines go past the caches."""
    prefetch_to_write(out, to)
    prefetch_to_write(out, to + n - 1)


@inline
def scale_terms_past_caches(terms, j, n, end, inverse, inverse_low, out, to):
    """Do what `scale_terms` does, past the caches."""
    width, high, low = lanes(out), splat(out, inverse), splat(out, inverse_low)
    store(terms, j + n - 4 * width, end)
    i = to_aligned(out, to)
    store_first(out, to, share(load(terms, j), high, low), i)
    while i + width <= n:
        store_past_caches(out, to + i, share(load(terms, j + i), high, low))
        i += width
    store_first(out, to + i, share(load_first(terms, j + i, n - i), high, low), n - i)


@kernel(*ROW_PARAMETERS)
def softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature):
    """Write softmax of the rows first to last.

    Row r begins at x[x_start + r * x_step] and goes to out[out_start + r * out_step]; `out_is` tells what
    that is (`storage.py`).
    """
    together = 1 if out_is == OUT_IS_LARGE else rows_together(x, n)  # what is written must not come in floods
    room = room_for_terms(out, together * n, out_is)
    x, out = pointer_to(x), pointer_to(out)
    terms, in_out = terms_in(room, out)
    j_step = out_step * in_out + n * (1 - in_out)
    kept = scratch(x, KEPT_VECTORS)
    high, low = log2e_over(x, temperature)
    distrusted, patience = 0, 1
    mode = flush_small()
    for r in range(first, last, together):
        rows = min(together, last - r)
        start, to = x_start + r * x_step, out_start + r * out_step
        j = to * in_out
        if out_is == OUT_IS_LARGE:
            ask_for_ends(out, to, n)
        distrusted, patience = sum_rows(
            x, start, x_step, rows, n, terms, j, j_step, True, high, low, None, temperature, kept, distrusted, patience
        )
        for k in range(rows):
            place, write_to = start + k * x_step, to + k * out_step
            if math.isnan(kept[TOTAL + k]):
                careful_softmax(x, place, n, out, write_to, temperature)
            else:
                end = load_group(kept, ENDS + k * 4 * lanes(x))
                inverse, inverse_low = inverse_of(out, np.float64(kept[TOTAL + k]), np.float64(kept[LOST + k]))
                of_row = j + k * j_step
                if out_is == OUT_IS_LARGE:
                    scale_terms_past_caches(terms, of_row, n, end, inverse, inverse_low, out, write_to)
                else:
                    scale_terms(terms, of_row, n, end, inverse, inverse_low, out, write_to)
    if out_is == OUT_IS_LARGE:
        wait_for_stores()
    restore(mode)
    keep_alive(room)


# --- the logarithms -------------------------------------------------------------------------------------------------


@inline
def minus_log_sum(v, lowest, scale, scale_low, minus_high, minus_low):
    """Return v · (scale + scale_low) - log_sum."""
    return fma(v, scale, minus_high) + fma(larger(lowest, v), scale_low, minus_low)


@inline
def in_two_parts(x, value, rest):
    """Return float64 value + rest as two numbers of the type that x is computed in."""
    high = rounded(x, value)
    return high, rounded(x, (value - high) + rest)


@inline
def one_over(x, temperature):
    """Return 1 / temperature as two numbers of the type that x is computed in."""
    inverse = 1.0 / temperature
    return in_two_parts(x, inverse, fma(-inverse, temperature, 1.0) * inverse)


@inline
def lowest_of(x):
    """Return a number nearly as low as any: in place of -inf, whose product with a zero would be NaN."""
    return choose(x, -3.0e38, -1.0e308)


@inline
def log_share(v, maximum, top, lowest, scale, scale_low, minus_high, minus_low):
    """Return v · (scale + scale_low) - log_sum, and `top` where v is the maximum, unless that is None."""
    result = minus_log_sum(v, lowest, scale, scale_low, minus_high, minus_low)
    return result if maximum is None else select(v == maximum, top, result)


@inline
def subtract_log_sum(x, start, n, out, to, log_high, log_low, temperature, maximum, top):
    """Write x / temperature - log_sum, all factors in two parts, and `top` for the maximum (groups, or both None)."""
    width = 4 * lanes(x)
    scale, scale_low = one_over(x, temperature)
    scale, scale_low = splat_group(x, scale), splat_group(x, scale_low)
    high, low = splat_group(x, -log_high), splat_group(x, -log_low)
    lowest = splat_group(x, lowest_of(x))
    end = load_group(x, start + n - width)  # before `out`, which may be x, is written to
    whole = n - n % width
    for i in range(0, whole, width):
        v = load_group(x, start + i)
        store(out, to + i, log_share(v, maximum, top, lowest, scale, scale_low, high, low))
    if whole < n:
        store(out, to + n - width, log_share(end, maximum, top, lowest, scale, scale_low, high, low))


@inline
def subtract_log_sum_past_caches(x, start, n, out, to, log_high, log_low, temperature):
    """Do what `subtract_log_sum` does where no element is a peak, past the caches."""
    width = lanes(x)
    scale, scale_low = one_over(x, temperature)
    scale, scale_low, lowest = splat(x, scale), splat(x, scale_low), splat(x, lowest_of(x))
    high, low = splat(x, -log_high), splat(x, -log_low)
    i = to_aligned(out, to)
    store_first(out, to, minus_log_sum(load(x, start), lowest, scale, scale_low, high, low), i)
    while i + width <= n:
        store_past_caches(out, to + i, minus_log_sum(load(x, start + i), lowest, scale, scale_low, high, low))
        i += width
    rest = n - i
    v = load_first(x, start + i, rest)
    store_first(out, to + i, minus_log_sum(v, lowest, scale, scale_low, high, low), rest)


@inline
def subtract_peak(x, start, n, out, to, peak, log, log_low, temperature):
    """Write (x - peak) / temperature - log. What is written for the peak keeps the logarithm's precision."""
    inverse = 1.0 / temperature
    quotient = peak * inverse
    rest = fma(peak, inverse, -quotient) + peak * (fma(-inverse, temperature, 1.0) * inverse)
    total, rest = add_exactly(quotient, rest + log_low, log)
    high, low = in_two_parts(x, total, rest)
    maximum, top = splat_group(x, peak), splat_group(x, -(log + log_low))
    subtract_log_sum(x, start, n, out, to, high, low, temperature, maximum, top)


@inline
def keep_logarithms(kept):
    """Keep the logarithms of the sums of all rows, as two numbers."""
    log, rest = log_and_rest(load_wide(kept, TOTAL), load_wide(kept, LOST), load_wide(kept, PIVOT))
    keep_in_two_parts(kept, FIRST, SECOND, log, rest)


@kernel(*ROW_PARAMETERS)
def log_softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature):
    """Write log_softmax of the rows first to last, which lie as in `softmax_rows`."""
    together = 1 if out_is == OUT_IS_LARGE else rows_together(x, n)
    x, out = pointer_to(x), pointer_to(out)
    kept = scratch(x, KEPT_VECTORS)
    high, low = log2e_over(x, temperature)
    distrusted, patience = 0, 1
    for r in range(first, last, together):
        rows = min(together, last - r)
        start, to = x_start + r * x_step, out_start + r * out_step
        if out_is == OUT_IS_LARGE:
            ask_for_ends(out, to, n)
        soon, at, step = (x, start, x_step) if out_is == OUT_IS_LARGE else (out, to, out_step)
        distrusted, patience = sum_rows(
            x, start, x_step, rows, n, soon, at, step, None, high, low, True, temperature, kept, distrusted, patience
        )
        keep_logarithms(kept)
        for k in range(rows):
            place, write_to = start + k * x_step, to + k * out_step
            log_others, log_others_low = float(kept[LOG_OTHERS + k]), float(kept[LOG_OTHERS_LOW + k])
            if log_others == NO_PEAK:
                log, log_low = float(kept[FIRST + k]), float(kept[SECOND + k])
                if out_is == OUT_IS_LARGE:
                    subtract_log_sum_past_caches(x, place, n, out, write_to, log, log_low, temperature)
                else:
                    subtract_log_sum(x, place, n, out, write_to, log, log_low, temperature, None, None)
            elif math.isnan(log_others):
                careful_log_softmax(x, place, n, out, write_to, temperature)
            else:
                peak = float(kept[MAXIMUM + k])
                subtract_peak(x, place, n, out, write_to, peak, log_others, log_others_low, temperature)
    if out_is == OUT_IS_LARGE:
        wait_for_stores()


@inline
def near_zero(x):
    """Return under which size a logsumexp is so near 0 that its last place is under the last place of the sum."""
    return choose(x, NEAR_ZERO_SINGLE, 1.0)


@inline
def is_delicate(x, result):
    """Tell whether a logsumexp is near 0, but not so near that its error is bounded absolutely."""
    return TINY <= abs(result) < near_zero(x)


@inline
def is_surely_delicate(x, result):
    """Tell of a logsumexp of any precision whether it is delicate in any."""
    return 1.01 * TINY <= abs(result) <= 0.99 * near_zero(x)


@kernel(*ROW_PARAMETERS)
def logsumexp_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature):
    """Write logsumexp of the rows first to last to out[out_start + r * out_step]; the temperature is 1."""
    x, out = pointer_to(x), pointer_to(out)
    kept = scratch(x, KEPT_VECTORS)
    high, low = log2e_over(x, temperature)
    distrusted, patience, together = 0, 1, rows_together(x, n)
    r, expects_delicate = first, False
    while r < last:
        start = x_start + r * x_step
        if expects_delicate:  # as the one before was: then the plain sum may be left out
            result = logsumexp_near_zero(x, start, n)
            expects_delicate = is_surely_delicate(x, result)
            if expects_delicate:
                store_one(out, out_start + r * out_step, result)
                r += 1
                continue
        rows = min(together, last - r)
        distrusted, patience = sum_rows(
            x, start, x_step, rows, n, None, 0, 0, None, high, low, None, temperature, kept, distrusted, patience
        )
        keep_logarithms(kept)
        for k in range(rows):
            result = float(kept[FIRST + k])
            expects_delicate = is_delicate(x, result)
            if expects_delicate:
                result = logsumexp_near_zero(x, start + k * x_step, n)
            elif math.isnan(result):
                result = careful_logsumexp(x, start + k * x_step, n)
            store_one(out, out_start + (r + k) * out_step, result)
        r += rows
