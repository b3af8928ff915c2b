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
from fastsoftmax.kernels.careful_rows import LOG_SOFTMAX, LOGSUMEXP_OF_ROWS, NEAR_ZERO, SOFTMAX, carefully
from fastsoftmax.kernels.exponential import log2e_over
from fastsoftmax.kernels.logarithm import log_of_terms
from fastsoftmax.kernels.peak import NO_PEAK
from fastsoftmax.kernels.row_peaks import LOG_OTHERS, LOG_OTHERS_LOW, sum_rows_and_peaks
from fastsoftmax.kernels.row_results import inverse_of, scale_terms, subtract_log_sum, subtract_peak
from fastsoftmax.kernels.row_sums import (
    ENDS,
    FIRST,
    KEPT_VECTORS,
    LOST,
    MAXIMUM,
    PIVOT,
    SECOND,
    TOTAL,
    keep_in_two_parts,
    rows_together,
    sum_rows,
)
from fastsoftmax.kernels.storage import room_for_terms
from fastsoftmax.simd import (
    NODES,
    constant,
    copy_one,
    flush_small,
    keep_alive,
    lanes,
    load_group,
    load_wide,
    pointer_to,
    restore,
    scratch,
    store_one,
    terms_in,
)

ROW_PARAMETERS = ("in", "int", "int", "out", "int", "int", "int", "int", "int", "int", "real")

NEAR_ZERO_SINGLE = 0.5 if NODES[32] == 16 else 1.0  # with fewer nodes small parts are larger, and what they lose
near_zero = constant(NEAR_ZERO_SINGLE, 1.0)  # a logsumexp under it has a last place under that of the sum
TINY = 0.99e-3  # a logsumexp nearer 0 than 1e-3 may err by one ulp of 1.0; one just above may be computed below


@kernel(*ROW_PARAMETERS, later=SOFTMAX)
def softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature, careful):
    """Write softmax of the rows first to last.

    Row r begins at x[x_start + r * x_step] and goes to out[out_start + r * out_step]; `out_is` tells what
    that is (`storage.py`), and `careful` where the careful way is known. Returns how many rows want it, but not yet can
    have it.
    """
    left = 0
    together = rows_together(x, n)
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
        distrusted, patience = sum_rows(
            x, start, x_step, rows, n, terms, j, j_step, True, high, low, kept, distrusted, patience
        )
        for k in range(rows):
            place, write_to = start + k * x_step, to + k * out_step
            if math.isnan(kept[TOTAL + k]):
                left += carefully(careful, x, place, n, out, write_to, temperature)
            else:
                end = load_group(kept, ENDS + k * 4 * lanes(x))
                inverse, inverse_low = inverse_of(out, np.float64(kept[TOTAL + k]), np.float64(kept[LOST + k]))
                of_row = j + k * j_step
                scale_terms(terms, of_row, n, end, inverse, inverse_low, out, write_to)
    restore(mode)
    keep_alive(room)
    return left


@inline
def keep_logarithms(kept):
    """Keep the logarithms of the sums of all rows, as two numbers."""
    log, rest = log_of_terms(kept, load_wide(kept, TOTAL), load_wide(kept, LOST), load_wide(kept, PIVOT))
    keep_in_two_parts(kept, FIRST, SECOND, log, rest)


@kernel(*ROW_PARAMETERS, later=LOG_SOFTMAX)
def log_softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature, careful):
    """Write log_softmax of the rows first to last, which lie as in `softmax_rows`."""
    left = 0
    together = rows_together(x, n)
    x, out = pointer_to(x), pointer_to(out)
    kept = scratch(x, KEPT_VECTORS)
    high, low = log2e_over(x, temperature)
    distrusted, patience = 0, 1
    for r in range(first, last, together):
        rows = min(together, last - r)
        start, to = x_start + r * x_step, out_start + r * out_step
        distrusted, patience = sum_rows_and_peaks(
            x, start, x_step, rows, n, out, to, out_step, high, low, temperature, kept, distrusted, patience
        )
        keep_logarithms(kept)
        for k in range(rows):
            place, write_to = start + k * x_step, to + k * out_step
            log_others, log_others_low = float(kept[LOG_OTHERS + k]), float(kept[LOG_OTHERS_LOW + k])
            if log_others == NO_PEAK:
                log, log_low = float(kept[FIRST + k]), float(kept[SECOND + k])
                subtract_log_sum(x, place, n, out, write_to, log, log_low, temperature, None, None)
            elif math.isnan(log_others):
                left += carefully(careful, x, place, n, out, write_to, temperature)
            else:
                peak = float(kept[MAXIMUM + k])
                subtract_peak(x, place, n, out, write_to, peak, log_others, log_others_low, temperature)
    return left


@inline
def is_delicate(x, result):
    """Tell whether a logsumexp is near 0, but not so near that its error is bounded absolutely."""
    return TINY <= abs(result) < near_zero(x)


@inline
def is_surely_delicate(x, result):
    """Tell of a logsumexp of any precision whether it is delicate in any."""
    return 1.01 * TINY <= abs(result) <= 0.99 * near_zero(x)


@kernel(*ROW_PARAMETERS, later=LOGSUMEXP_OF_ROWS)
def logsumexp_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature, careful):
    """Write logsumexp of the rows first to last to out[out_start + r * out_step]; the temperature is 1."""
    left = 0
    x, out = pointer_to(x), pointer_to(out)
    kept = scratch(x, KEPT_VECTORS)
    high, low = log2e_over(x, temperature)
    distrusted, patience, together = 0, 1, rows_together(x, n)
    r, expects_delicate = first, False
    while r < last:
        start = x_start + r * x_step
        if expects_delicate:  # as the one before was: then the plain sum may be left out
            left += carefully(careful + NEAR_ZERO, x, start, n, out, out_start + r * out_step, temperature)
            copy_one(out, out_start + r * out_step, kept, FIRST)
            expects_delicate = is_surely_delicate(x, float(kept[FIRST]))
            if expects_delicate:
                r += 1
                continue
        rows = min(together, last - r)
        distrusted, patience = sum_rows(
            x, start, x_step, rows, n, None, 0, 0, None, high, low, kept, distrusted, patience
        )
        keep_logarithms(kept)
        for k in range(rows):
            place, write_to = start + k * x_step, out_start + (r + k) * out_step
            result = float(kept[FIRST + k])
            expects_delicate = is_delicate(x, result)
            if expects_delicate:
                left += carefully(careful + NEAR_ZERO, x, place, n, out, write_to, temperature)
            elif math.isnan(result):
                left += carefully(careful, x, place, n, out, write_to, temperature)
            else:
                store_one(out, write_to, result)
        r += rows
    return left
