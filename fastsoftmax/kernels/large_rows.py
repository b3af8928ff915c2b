"""`auto` on rows of a result larger than caches: it is written past them, and no line of it is read first.

That would be a third of all that goes through memory. Rows are summed as in `rows.py`, to the same bits, but each while
the one before is written (`waiting_row.py`). What is done the careful way is written at once.

Error bounds, in units in the last place: softmax 2, log_softmax 2.
"""

import math

import numpy as np

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful_rows import LOG_SOFTMAX, SOFTMAX, carefully
from fastsoftmax.kernels.exponential import log2e_over
from fastsoftmax.kernels.row_peaks import LOG_OTHERS, LOG_OTHERS_LOW, NO_PEAK, sum_rows_and_peaks
from fastsoftmax.kernels.row_results import inverse_of, log_factors, log_factors_of_peak, log_share, share
from fastsoftmax.kernels.row_sums import (
    ENDS,
    FIRST,
    KEPT_VECTORS,
    LOST,
    MAXIMUM,
    SECOND,
    TOTAL,
    sum_rows,
)
from fastsoftmax.kernels.rows import ROW_PARAMETERS, keep_logarithms
from fastsoftmax.kernels.waiting_row import SPARE, finish_row, waiting_row_if, write_shared
from fastsoftmax.simd import (
    empty,
    empty_like,
    flush_small,
    keep_alive,
    lanes,
    load_group,
    pointer_to,
    restore,
    scratch,
    splat,
    store,
    wait_for_stores,
)

LEAST = SPARE * 16  # elements of a row


@inline
def written_meanwhile(x, n, is_careful):
    """Return how many elements of a row were written while one of n was summed: all sums are done but a careful one."""
    group = 4 * lanes(x)
    return 0 if is_careful else (n - 1) // group * group


@kernel(*ROW_PARAMETERS, later=SOFTMAX)
def softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature, careful):
    """Write softmax of the rows first to last; for the parameters see `rows.softmax_rows`.

    Rows of `out` must lie behind one another; it is not x.
    """
    left, pitch = 0, n + 4 * lanes(x)
    room, nowhere_room = empty(out, 2 * pitch), empty_like(out, SPARE * lanes(out))
    x, out, terms, nowhere = pointer_to(x), pointer_to(out), pointer_to(room), pointer_to(nowhere_room)
    kept, border, shared = scratch(x, KEPT_VECTORS), scratch(x, 2), 0
    high, low = log2e_over(x, temperature)
    distrusted, patience = 0, 1
    waits, inverse, inverse_low = False, 0.0, 0.0
    mode = flush_small()
    for r in range(first, last + 1):
        to, j, j_before = out_start + (r - 1) * out_step, (r - first) % 2 * pitch, (r - first + 1) % 2 * pitch
        factors = splat(x, inverse), splat(x, inverse_low)
        before = waiting_row_if(waits, share, factors, terms, j_before, out, to, n, nowhere)
        is_careful = True
        if r < last:
            start = x_start + r * x_step
            distrusted, patience = sum_rows(
                x, start, x_step, 1, n, terms, j, 0, True, high, low, kept, distrusted, patience,
                before,
            )  # fmt: skip
            is_careful = math.isnan(kept[TOTAL])
        shared = finish_row(waits, before, n, written_meanwhile(x, n, is_careful), border, shared, out, to)
        waits = not is_careful
        if waits:
            store(terms, j + n - 4 * lanes(x), load_group(kept, ENDS))
            inverse, inverse_low = inverse_of(out, np.float64(kept[TOTAL]), np.float64(kept[LOST]))
        elif r < last:
            left += carefully(careful, x, start, n, out, to + n, temperature)
    write_shared(border, shared, out, out_start + last * out_step)
    wait_for_stores()
    restore(mode)
    keep_alive(room)
    keep_alive(nowhere_room)
    return left


@kernel(*ROW_PARAMETERS, later=LOG_SOFTMAX)
def log_softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature, careful):
    """Write log_softmax of the rows first to last, which lie as in `softmax_rows`."""
    left = 0
    nowhere_room = empty_like(out, SPARE * lanes(out))
    x, out, nowhere = pointer_to(x), pointer_to(out), pointer_to(nowhere_room)
    kept, border, shared = scratch(x, KEPT_VECTORS), scratch(x, 2), 0
    high, low = log2e_over(x, temperature)
    distrusted, patience = 0, 1
    waits, factors = False, log_factors(x, 0.0, 0.0, temperature)
    for r in range(first, last + 1):
        start, to = x_start + r * x_step, out_start + (r - 1) * out_step
        before = waiting_row_if(waits, log_share, factors, x, start - x_step * waits, out, to, n, nowhere)
        is_careful = True
        if r < last:
            distrusted, patience = sum_rows_and_peaks(
                x, start, x_step, 1, n, None, 0, 0, high, low, temperature, kept, distrusted, patience,
                before,
            )  # fmt: skip
            keep_logarithms(kept)
            is_careful = math.isnan(kept[LOG_OTHERS])
        shared = finish_row(waits, before, n, written_meanwhile(x, n, is_careful), border, shared, out, to)
        waits = not is_careful
        if waits:
            log_others, log_others_low = float(kept[LOG_OTHERS]), float(kept[LOG_OTHERS_LOW])
            if log_others == NO_PEAK:
                factors = log_factors(x, float(kept[FIRST]), float(kept[SECOND]), temperature)
            else:
                peak = float(kept[MAXIMUM])
                factors = log_factors_of_peak(x, peak, log_others, log_others_low, temperature)
        elif r < last:
            left += carefully(careful, x, start, n, out, to + n, temperature)
    write_shared(border, shared, out, out_start + last * out_step)
    wait_for_stores()
    keep_alive(nowhere_room)
    return left
