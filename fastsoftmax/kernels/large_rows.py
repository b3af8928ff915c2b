"""`auto` on rows of a result larger than caches: it is written past them, and no line of it is read first.

That would be a third of all that goes through memory. Rows are summed as in `rows.py`, to the same bits, but each while
one before is written (`waiting_row.py`). What is done the careful way is written by itself.

Error bounds, in units in the last place: softmax 2, log_softmax 2.
"""

import math

import numpy as np

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful_rows import LOG_SOFTMAX, SOFTMAX, carefully
from fastsoftmax.kernels.exponential import log2e_over
from fastsoftmax.kernels.row_peaks import LOG_OTHERS, LateRows, late_row, sum_rows_and_peaks
from fastsoftmax.kernels.row_results import inverse_of, share
from fastsoftmax.kernels.row_sums import (
    ENDS,
    KEPT_VECTORS,
    LOST,
    TOTAL,
    rows_nearby,
    sum_rows,
)
from fastsoftmax.kernels.rows import ROW_PARAMETERS, keep_logarithms
from fastsoftmax.kernels.waiting_row import SPARE, finish_row, waiting_row_if, write_rest, write_shared
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
def written_meanwhile(x, n, was_summed):
    """Return how many elements of a row were written while one of n was summed; none if that came to nothing."""
    group = 4 * lanes(x)
    return (n - 1) // group * group if was_summed else 0


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
        shared = finish_row(waits, before, n, written_meanwhile(x, n, not is_careful), border, shared, out, to)
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
    """Write log_softmax of the rows first to last, which lie as in `softmax_rows`; some are summed together."""
    left, together = 0, rows_nearby(x, n)
    nowhere_room = empty_like(out, SPARE * lanes(out))
    x, out, nowhere = pointer_to(x), pointer_to(out), pointer_to(nowhere_room)
    kept, kept_before = scratch(x, KEPT_VECTORS), scratch(x, KEPT_VECTORS)
    border, shared, waiting = scratch(x, 2), 0, 0
    high, low = log2e_over(x, temperature)
    distrusted, patience = 0, 1
    for r in range(first, last + together, together):
        rows, start = max(0, min(together, last - r)), x_start + r * x_step
        at, to = start - together * x_step * min(waiting, 1), out_start + (r - together) * out_step
        before = LateRows(waiting, kept_before, x, at, x_step, out, to, n, temperature, nowhere)
        if rows > 0:
            distrusted, patience = sum_rows_and_peaks(
                x, start, x_step, rows, n, None, 0, 0, high, low, temperature, kept, distrusted, patience, before
            )
            keep_logarithms(kept)
        for k in range(waiting):
            if math.isnan(kept_before[LOG_OTHERS + k]):
                shared = write_shared(border, shared, out, to + k * n)
                left += carefully(careful, x, at + k * x_step, n, out, to + k * n, temperature)
            else:
                written = written_meanwhile(x, n, k < rows and not math.isnan(kept[LOG_OTHERS + k]))
                shared = write_rest(late_row(before, k), n, written, border, shared)
        kept, kept_before, waiting = kept_before, kept, rows
    write_shared(border, shared, out, out_start + last * out_step)
    wait_for_stores()
    keep_alive(nowhere_room)
    return left
