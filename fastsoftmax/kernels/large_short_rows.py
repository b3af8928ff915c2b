"""`auto` on short rows of a result larger than caches: it is written past them, and no line of it is read first.

Rows are computed as in `short_rows.py`, to the same bits, but one is written for each of the next that is summed
(`waiting_row.py`): arithmetic has the time that memory takes. What is done the careful way is written at once.

Error: softmax and log_softmax 2 ULP.
"""

import math

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful_rows import LOG_SOFTMAX, SOFTMAX, carefully
from fastsoftmax.kernels.exponential import log2e_over
from fastsoftmax.kernels.narrow import inverses, log_share, scales
from fastsoftmax.kernels.narrow_sums import log_of_sums
from fastsoftmax.kernels.row_results import share
from fastsoftmax.kernels.rows import ROW_PARAMETERS
from fastsoftmax.kernels.short_sums import KEPT, ROWS, Room, forget, maxima_of_rows, sums_of_others, sums_of_terms
from fastsoftmax.kernels.waiting_row import WaitingRows, write_row, write_shared
from fastsoftmax.simd import flush_small, lanes, pointer_to, restore, scratch, splat, store, wait_for_stores


@inline
def carefully_all(careful, factors, rows, x, start, step, n, out, to, temperature):
    """Do rows whose factors are NaN the careful way; return how many of them are left undone."""
    left = 0
    for k in range(rows):
        if math.isnan(factors[lanes(factors) + k]):
            left += carefully(careful, x, start + k * step, n, out, to + k * n, temperature)
    return left


@kernel(*ROW_PARAMETERS, later=SOFTMAX)
def softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature, careful):
    """Write softmax of the rows first to last; for the parameters see `rows.softmax_rows`.

    Rows of `out` must lie behind one another; it is not x.
    """
    x, out, left = pointer_to(x), pointer_to(out), 0
    high, low = log2e_over(x, temperature)
    width = lanes(x)
    pitch = (n + width - 1) // width * width
    terms = scratch(x, 2 * pitch)
    room = Room(scratch(x, ROWS), scratch(x, ROWS), scratch(x, ROWS), scratch(x, KEPT))
    forget(x, room.totals, room.losts)
    factors, border, shared = scratch(x, 2), scratch(x, 2), scratch(x, 1)
    shared[0] = 0.0
    mode = flush_small()
    maximum, count, j, j_before = splat(x, 0.0), 0, 0, width * pitch
    for r in range(first - width, last + width, width):
        rows, start, to = min(width, last - r), x_start + r * x_step, out_start + r * out_step
        before = WaitingRows(
            count, n, share, factors, (), terms, j_before, pitch, out, to - width * out_step, border, shared
        )
        is_summed = first <= r < last
        total, lost = maximum, maximum
        if is_summed:
            total, lost, _ = sums_of_terms(
                x, start, x_step, rows, n, terms, j, None, 0, 0, maximum, high, low, room, before
            )
        if r + width < last:  # beside what waits for the sums
            behind = x_start + (r + width) * x_step
            maximum = maxima_of_rows(x, behind, x_step, min(width, last - r - width), n, room.maxima)
        for k in range(rows if is_summed else 0, count):
            write_row(before, k)
        count = 0
        if is_summed:
            inverse, inverse_low = inverses(total, lost)
            store(factors, 0, inverse)
            store(factors, width, inverse_low)
            left += carefully_all(careful, factors, rows, x, start, x_step, n, out, to, temperature)
            count, j, j_before = rows, j_before, j
    write_shared(border, int(shared[0]), out, out_start + last * out_step)
    wait_for_stores()
    restore(mode)
    return left


@kernel(*ROW_PARAMETERS, later=LOG_SOFTMAX)
def log_softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature, careful):
    """Write log_softmax of the rows first to last, which lie as in `softmax_rows`."""
    x, out, left = pointer_to(x), pointer_to(out), 0
    high, low = log2e_over(x, temperature)
    scale, scale_low = scales(x, temperature)
    width = lanes(x)
    constants = splat(x, scale), splat(x, scale_low)
    room = Room(scratch(x, ROWS), scratch(x, ROWS), scratch(x, ROWS), scratch(x, KEPT))
    forget(x, room.totals, room.losts)
    factors, border, shared = scratch(x, 2), scratch(x, 2), scratch(x, 1)
    shared[0] = 0.0
    maximum, next_maximum, count = splat(x, 0.0), splat(x, 0.0), 0
    for r in range(first - width, last + width, width):
        rows, start, to = min(width, last - r), x_start + r * x_step, out_start + r * out_step
        before = WaitingRows(
            count, n, log_share, factors, constants, x, start - width * x_step, x_step, out, to - width * out_step,
            border, shared,
        )  # fmt: skip
        is_summed, maximum = first <= r < last, next_maximum
        others, lost = maximum, maximum
        if is_summed:
            others, lost = sums_of_others(x, start, x_step, rows, n, None, 0, 0, maximum, high, low, room, before)
        if r + width < last:  # beside what waits for the sums
            behind = x_start + (r + width) * x_step
            next_maximum = maxima_of_rows(x, behind, x_step, min(width, last - r - width), n, room.maxima)
        for k in range(rows if is_summed else 0, count):
            write_row(before, k)
        count = 0
        if is_summed:
            store(factors, 0, maximum)
            store(factors, width, log_of_sums(x, others, lost))
            left += carefully_all(careful, factors, rows, x, start, x_step, n, out, to, temperature)
            count = rows
    write_shared(border, int(shared[0]), out, out_start + last * out_step)
    wait_for_stores()
    return left
