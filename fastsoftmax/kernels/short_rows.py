"""`auto` on short rows: a vector's width of rows at once, each along its own vectors.

In a row of some vectors a maximum and a sum across the lanes take as long as a few of them. So these are found for as
many rows as a vector has lanes (`short_sums.py`). With a row a lane the rest, pivots, a division, a logarithm, is done
as for narrow rows, which are transposed for it (`narrow.py`): here nothing but maxima and sums is.

The maxima of the next rows are looked for beside what waits for the sums of those in front.

Rows that no pivot suits (NaN, infinities, huge numbers) are done the careful way, one by one.

Error: softmax and log_softmax 2 ULP; logsumexp 1 ULP (one ulp of 1.0 near 0).
"""

import math

from fastsoftmax.jit import kernel
from fastsoftmax.kernels.careful_rows import LOG_SOFTMAX, LOGSUMEXP_OF_ROWS, NEAR_ZERO, SOFTMAX, carefully
from fastsoftmax.kernels.exponential import log2e_over
from fastsoftmax.kernels.logarithm import log_of_sum
from fastsoftmax.kernels.narrow import inverses, log_share, scales
from fastsoftmax.kernels.narrow_sums import log_of_sums
from fastsoftmax.kernels.row_results import share
from fastsoftmax.kernels.rows import ROW_PARAMETERS, is_delicate
from fastsoftmax.kernels.short_sums import KEPT, ROWS, Room, forget, maxima_of_rows, sums_of_others, sums_of_terms
from fastsoftmax.simd import (
    flush_small,
    lanes,
    load,
    load_first,
    narrowed,
    pointer_to,
    restore,
    scratch,
    splat,
    store,
    store_first,
    store_one,
    widened,
)

LIMITS = {"float32": (64, 400), "float64": (64, 200)}  # of elements, from and to below which it pays
MANY = 8  # rows


def is_short(rows: int, n: int, compute_type: str) -> bool:
    """Tell whether so many rows of n elements may go this way."""
    least, limit = LIMITS[compute_type]
    return rows >= MANY and least <= n < limit


@kernel(*ROW_PARAMETERS, later=SOFTMAX)
def softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature, careful):
    """Write softmax of the rows first to last; for the parameters see `rows.softmax_rows`."""
    x, out, left = pointer_to(x), pointer_to(out), 0
    high, low = log2e_over(x, temperature)
    width, whole = lanes(x), n - n % lanes(x)
    pitch = (n + width - 1) // width * width
    terms = scratch(x, pitch)
    room = Room(scratch(x, ROWS), scratch(x, ROWS), scratch(x, ROWS), scratch(x, KEPT))
    forget(x, room.totals, room.losts)
    mode = flush_small()
    maximum, total, lost = splat(x, 0.0), splat(x, 0.0), splat(x, 0.0)
    for r in range(first - width, last, width):
        rows, start, to = min(width, last - r), x_start + r * x_step, out_start + r * out_step
        if r >= first:
            total, lost, _ = sums_of_terms(
                x, start, x_step, rows, n, terms, 0, out, to, out_step, maximum, high, low, room
            )
        if r + width < last:  # beside what waits for the sums
            behind = x_start + (r + width) * x_step
            maximum = maxima_of_rows(x, behind, x_step, min(width, last - r - width), n, room.maxima)
        if r < first:
            continue
        inverse, inverse_low = inverses(total, lost)
        store(room.kept, 0, inverse)
        store(room.kept, width, inverse_low)
        for k in range(rows):
            j, place = k * pitch, to + k * out_step
            if math.isnan(room.kept[k]):
                left += carefully(careful, x, start + k * x_step, n, out, place, temperature)
                continue
            high_part, low_part = splat(x, room.kept[k]), splat(x, room.kept[width + k])
            for i in range(0, whole, width):
                store(out, place + i, share(load(terms, j + i), high_part, low_part))
            if whole < n:
                store_first(out, place + whole, share(load(terms, j + whole), high_part, low_part), n - whole)
    restore(mode)
    return left


@kernel(*ROW_PARAMETERS, later=LOG_SOFTMAX)
def log_softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature, careful):
    """Write log_softmax of the rows first to last."""
    x, out, left = pointer_to(x), pointer_to(out), 0
    high, low = log2e_over(x, temperature)
    scale, scale_low = scales(x, temperature)
    width, whole = lanes(x), n - n % lanes(x)
    room = Room(scratch(x, ROWS), scratch(x, ROWS), scratch(x, ROWS), scratch(x, KEPT))
    forget(x, room.totals, room.losts)
    maximum, next_maximum, others, lost = splat(x, 0.0), splat(x, 0.0), splat(x, 0.0), splat(x, 0.0)
    for r in range(first - width, last, width):
        rows, start, to = min(width, last - r), x_start + r * x_step, out_start + r * out_step
        maximum = next_maximum
        if r >= first:
            others, lost = sums_of_others(x, start, x_step, rows, n, out, to, out_step, maximum, high, low, room)
        if r + width < last:  # beside what waits for the sums
            behind = x_start + (r + width) * x_step
            next_maximum = maxima_of_rows(x, behind, x_step, min(width, last - r - width), n, room.maxima)
        if r < first:
            continue
        store(room.kept, 0, maximum)
        store(room.kept, width, log_of_sums(x, others, lost))
        for k in range(rows):
            at, place = start + k * x_step, to + k * out_step
            if math.isnan(room.kept[width + k]):
                left += carefully(careful, x, at, n, out, place, temperature)
                continue
            top, log = splat(x, room.kept[k]), splat(x, room.kept[width + k])
            for i in range(0, whole, width):
                store(out, place + i, log_share(load(x, at + i), top, log, scale, scale_low))
            if whole < n:
                v = load_first(x, at + whole, n - whole)
                store_first(out, place + whole, log_share(v, top, log, scale, scale_low), n - whole)
    return left


@kernel(*ROW_PARAMETERS, later=LOGSUMEXP_OF_ROWS)
def logsumexp_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature, careful):
    """Write logsumexp of the rows first to last; the temperature is 1."""
    x, out, left = pointer_to(x), pointer_to(out), 0
    high, low = log2e_over(x, 1.0)
    width = lanes(x)
    room = Room(scratch(x, ROWS), scratch(x, ROWS), scratch(x, ROWS), scratch(x, KEPT))
    forget(x, room.totals, room.losts)
    maximum, total, lost, pivot = splat(x, 0.0), splat(x, 0.0), splat(x, 0.0), splat(x, 0.0)
    for r in range(first - width, last, width):
        rows, start, to = min(width, last - r), x_start + r * x_step, out_start + r * out_step
        if r >= first:
            total, lost, pivot = sums_of_terms(x, start, x_step, rows, n, None, 0, None, 0, 0, maximum, high, low, room)
        if r + width < last:  # beside what waits for the sums
            behind = x_start + (r + width) * x_step
            maximum = maxima_of_rows(x, behind, x_step, min(width, last - r - width), n, room.maxima)
        if r < first:
            continue
        store(room.kept, 0, narrowed(x, log_of_sum(x, widened(total), widened(lost), widened(pivot))))
        for k in range(rows):
            result, at, place = float(room.kept[k]), start + k * x_step, to + k * out_step
            if is_delicate(x, result):
                left += carefully(careful + NEAR_ZERO, x, at, n, out, place, temperature)
            elif math.isnan(result):
                left += carefully(careful, x, at, n, out, place, temperature)
            else:
                store_one(out, place, result)
    return left
