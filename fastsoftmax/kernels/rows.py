"""`auto` on rows of at least a group of vectors: the reduced axis is contiguous.

softmax        one pass that keeps e^x in the result, one that scales it: one exp an element.
log_softmax    one pass that only sums, one that subtracts: one exp an element.
logsumexp      the first of these passes.

A row's pivot is guessed from its ends (`pivot.py`). The inner loop goes ahead (``..._ahead``) until a row does not
suit its pivot; that row, and some behind it, which may be like it, are done with their maxima known. What even the
right pivot cannot do is done the careful way. Each row is computed by itself, whatever is beside it.

Error bounds, in units in the last place: softmax 2, log_softmax 2, logsumexp 1 (one ulp of 1.0 near 0).
"""

import math

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful import careful_log_softmax, careful_logsumexp, careful_softmax
from fastsoftmax.kernels.exponential import add_exactly, log2e_over
from fastsoftmax.kernels.logarithm import log1p_in_parts, log_in_parts
from fastsoftmax.kernels.row_sums import (
    ENDS,
    FIRST,
    KEPT,
    LOST,
    PIVOT,
    SECOND,
    TOTAL,
    keep_in_two_parts,
    keep_sum,
    rows_together,
    sum_around_peak,
    sum_surely,
    sum_together,
)
from fastsoftmax.kernels.storage import room_for_terms, terms_in, write
from fastsoftmax.simd import (
    any_set,
    choose,
    fma,
    keep_alive,
    lanes,
    larger,
    load_group,
    load_wide,
    pointer_to,
    rounded,
    scratch,
    select,
    smaller,
    splat_group,
    store,
)

ROW_PARAMETERS = ("in", "int", "int", "out", "int", "int", "int", "int", "int", "int", "real")

LARGE_SHARE = 0.85  # of the sum: log_softmax of an element that holds more needs the sum of the others
TINY = 0.99e-3  # a logsumexp nearer 0 than 1e-3 may err by one ulp of 1.0; one just above may be computed below
PATIENCE = 64  # rows at most that are done the sure way when going ahead has failed


@inline
def patience_after(patience, rows):
    """Return how many rows to do the sure way after so many went ahead: twice as many as last time, or one."""
    return min(2 * patience, PATIENCE) if rows <= patience else 1


# --- softmax --------------------------------------------------------------------------------------------------------


@inline
def inverse_in_parts(total, lost):
    """Return 1 / (total + lost) of float64, numbers or vectors, in two parts."""
    inverse = 1.0 / total
    return inverse, fma(inverse, 0.0 - lost, fma(inverse, 0.0 - total, 1.0)) * inverse


@inline
def keep_inverses(kept):
    """Keep 1 / sum of all rows, as two numbers: multiplying by it adds no rounding of its own."""
    inverse, inverse_low = inverse_in_parts(load_wide(kept, TOTAL), load_wide(kept, LOST))
    keep_in_two_parts(kept, FIRST, SECOND, inverse, inverse_low)


@inline
def inverse_of(out, total, lost):
    """Return 1 / (total + lost) as two numbers of the type of `out`: multiplying by it adds no rounding of its own."""
    if choose(out, 1, 0):
        inverse = 1.0 / (total + lost)
        high = rounded(out, inverse)
        return high, rounded(out, inverse - high)
    return inverse_in_parts(total, lost)


@inline
def share(e, inverse, inverse_low):
    """Return e / sum, which is never more than 1."""
    return smaller(1.0, fma(e, inverse, e * inverse_low))


@inline
def scale_terms(terms, j, n, end, inverse, inverse_low, out, to):
    """Write terms / sum, those of the last group from `end`."""
    width = 4 * lanes(out)
    high, low = splat_group(out, inverse), splat_group(out, inverse_low)
    whole = n - n % width
    for i in range(0, whole, width):
        store(out, to + i, share(load_group(terms, j + i), high, low))
    if whole < n:
        store(out, to + n - width, share(end, high, low))


@inline
def softmax_ahead(x, x_start, x_step, out, out_start, out_step, terms, in_out, first, last, n, high, low, kept):
    """Do the rows from first to last, as far as their guessed pivots suit them; return the row it ended at."""
    together = rows_together(x, n)
    j_step = out_step * in_out + n * (1 - in_out)
    r = first
    while r < last:
        rows = min(together, last - r)
        start, to = x_start + r * x_step, out_start + r * out_step
        j = to * in_out
        done, _ = sum_together(x, start, x_step, rows, n, terms, j, j_step, high, low, None, kept)
        keep_inverses(kept)
        for k in range(done):
            end = load_group(kept, ENDS + k * 4 * lanes(x))
            scale_terms(terms, j + k * j_step, n, end, kept[FIRST + k], kept[SECOND + k], out, to + k * out_step)
        r += done
        if done < rows:
            break
    return r


@kernel(*ROW_PARAMETERS)
def softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, in_place, temperature):
    """Write softmax of the rows first to last.

    Row r begins at x[x_start + r * x_step] and goes to out[out_start + r * out_step]; `in_place` tells that the two
    are one.
    """
    room = room_for_terms(out, rows_together(x, n) * n, in_place)
    x, out = pointer_to(x), pointer_to(out)
    terms, in_out = terms_in(room, out)
    kept = scratch(x, KEPT)
    high, low = log2e_over(x, temperature)
    patience = 1
    r = first
    while r < last:
        before = r
        r = softmax_ahead(x, x_start, x_step, out, out_start, out_step, terms, in_out, r, last, n, high, low, kept)
        patience = patience_after(patience, r - before)
        stop = min(r + patience, last)
        while r < stop:
            start, to = x_start + r * x_step, out_start + r * out_step
            total, lost, _, _, end = sum_surely(x, start, n, terms, to * in_out, high, low, None)
            if math.isnan(total):
                careful_softmax(x, start, n, out, to, temperature)
            else:
                keep_sum(x, kept, 0, total, lost)
                keep_inverses(kept)
                scale_terms(terms, to * in_out, n, end, kept[FIRST], kept[SECOND], out, to)
            r += 1
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
    a, b = log_in_parts(load_wide(kept, TOTAL), load_wide(kept, LOST), load_wide(kept, PIVOT))
    keep_in_two_parts(kept, FIRST, SECOND, a + b, (a - (a + b)) + b)


@inline
def log_softmax_ahead(x, x_start, x_step, out, out_start, out_step, first, last, n, high, low, temperature, kept):
    """Do the rows from first to last, as far as they are plain; return the row it ended at, and if it has a sum."""
    together = rows_together(x, n)
    r = first
    while r < last:
        rows = min(together, last - r)
        start, to = x_start + r * x_step, out_start + r * out_step
        done, has_sum = sum_together(x, start, x_step, rows, n, None, 0, 0, high, low, LARGE_SHARE, kept)
        keep_logarithms(kept)
        for k in range(done):
            log_high, log_low = float(kept[FIRST + k]), float(kept[SECOND + k])
            place = start + k * x_step
            subtract_log_sum(x, place, n, out, to + k * out_step, log_high, log_low, temperature, None, None)
        r += done
        if done < rows:
            return r, has_sum
    return last, True


@kernel(*ROW_PARAMETERS)
def log_softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, in_place, temperature):
    """Write log_softmax of the rows first to last, which lie as in `softmax_rows`."""
    x, out = pointer_to(x), pointer_to(out)
    kept = scratch(x, KEPT)
    high, low = log2e_over(x, temperature)
    r = first
    while r < last:
        r, has_sum = log_softmax_ahead(
            x, x_start, x_step, out, out_start, out_step, r, last, n, high, low, temperature, kept
        )
        stop = min(r + (1 if has_sum else PATIENCE), last)
        while r < stop:
            start, to = x_start + r * x_step, out_start + r * out_step
            is_peaked, total, lost, pivot = has_sum, 0.0, 0.0, 0.0
            if not has_sum:
                total, lost, peak, pivot, _ = sum_surely(x, start, n, None, 0, high, low, True)
                is_peaked = any_set(peak >= LARGE_SHARE * total)
            if is_peaked:
                maximum, total, lost = sum_around_peak(x, start, n, high, low, temperature)
                if not math.isnan(total):
                    log, log_low = log1p_in_parts(total, lost)
                    subtract_peak(x, start, n, out, to, maximum, log, log_low, temperature)
            elif not math.isnan(total):
                keep_sum(x, kept, 0, total, lost)
                kept[PIVOT] = pivot
                keep_logarithms(kept)
                log, log_low = float(kept[FIRST]), float(kept[SECOND])
                subtract_log_sum(x, start, n, out, to, log, log_low, temperature, None, None)
            if math.isnan(total):
                careful_log_softmax(x, start, n, out, to, temperature)
            r += 1


@inline
def near_zero(x):
    """Return under which size a logsumexp is so near 0 that its last place is under the last place of the sum."""
    return choose(x, 0.5, 1.0)


@inline
def is_delicate(x, result):
    """Tell whether a logsumexp is near 0, but not so near that its error is bounded absolutely."""
    return TINY <= abs(result) < near_zero(x)


@inline
def logsumexp_ahead(x, x_start, x_step, out, out_start, out_step, first, last, n, high, low, kept):
    """Do the rows from first to last, as far as they are plain; return the row it ended at, and if it has a sum."""
    together = rows_together(x, n)
    r = first
    while r < last:
        rows = min(together, last - r)
        done, has_sum = sum_together(x, x_start + r * x_step, x_step, rows, n, None, 0, 0, high, low, None, kept)
        keep_logarithms(kept)
        for k in range(done):
            result = float(kept[FIRST + k])
            if is_delicate(x, result):
                return r + k, True
            write(out, out_start + (r + k) * out_step, result)
        r += done
        if done < rows:
            return r, has_sum
    return last, True


@kernel(*ROW_PARAMETERS)
def logsumexp_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, in_place, temperature):
    """Write logsumexp of the rows first to last to out[out_start + r * out_step]; the temperature is 1."""
    x, out = pointer_to(x), pointer_to(out)
    kept = scratch(x, KEPT)
    high, low = log2e_over(x, temperature)
    r = first
    while r < last:
        r, has_sum = logsumexp_ahead(x, x_start, x_step, out, out_start, out_step, r, last, n, high, low, kept)
        stop = min(r + (1 if has_sum else PATIENCE), last)
        while r < stop:
            start, to = x_start + r * x_step, out_start + r * out_step
            result, is_plain = 0.0, False
            if not has_sum:
                total, lost, _, pivot, _ = sum_surely(x, start, n, None, 0, high, low, None)
                keep_sum(x, kept, 0, total, lost)
                kept[PIVOT] = pivot
                keep_logarithms(kept)
                result = float(kept[FIRST])
                is_plain = not (math.isnan(total) or is_delicate(x, result))
            if not is_plain:
                result = careful_logsumexp(x, start, n)
            write(out, to, result)
            r += 1
