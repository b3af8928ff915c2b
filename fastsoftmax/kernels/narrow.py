"""`auto` on narrow rows: a vector's width of rows at once, a row a lane.

In a row of a few elements, what is done once a row costs the most: a maximum and a sum across lanes, a logarithm, a
division. So rows are transposed in registers (`tiles.py`), and all of that runs down the lanes of vectors, with no
exchange between them. Each lane has its own pivot, from the row's maximum (`narrow_sums.py`).

log_softmax adds the terms of all elements but one of the largest: log(1 + that sum) is exact however small it is.
Rows that no pivot suits (NaN, infinities, huge numbers) are done the careful way, one by one.

Error: softmax and log_softmax 2 ULP; logsumexp 1 ULP (one ulp of 1.0 near 0).
"""

import math

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful_rows import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX, carefully
from fastsoftmax.kernels.exponential import log2e_over
from fastsoftmax.kernels.logarithm import log1p_of_single, log_of_sum
from fastsoftmax.kernels.narrow_near_zero import set_aside, write_near_zero
from fastsoftmax.kernels.narrow_sums import (
    log_of_sums,
    pivots_for,
    sum_around_peaks,
    sum_few_around_peaks,
    sum_terms_of_rows,
)
from fastsoftmax.kernels.row_results import share, spared
from fastsoftmax.kernels.rows import NEAR_ZERO_SINGLE, ROW_PARAMETERS, TINY
from fastsoftmax.kernels.tiles import into_column, load_rows, store_few
from fastsoftmax.simd import (
    GROUP,
    WIDE,
    absolute,
    any_set,
    choose,
    constant,
    copy_one,
    count_set,
    flush_small,
    fma,
    lanes,
    load,
    load_group,
    narrowed,
    pointer_to,
    repeated,
    restore,
    rounded,
    scratch,
    scratch_wide,
    select,
    store,
    store_columns,
    widened,
)

MANY = 8  # rows
LIMITS = {"float32": (64, 208), "float64": (32, 112)}  # of elements, where rows are few (a group of vectors), and many
# Under it (but not under TINY) the last place of a logsumexp is far under that of the sum.
near_zero = constant(NEAR_ZERO_SINGLE, 0.5)


def is_narrow(rows: int, n: int, compute_type: str) -> bool:
    """Tell whether so many rows of n elements may go this way."""
    return n < LIMITS[compute_type][rows >= MANY]


# --- softmax --------------------------------------------------------------------------------------------------------


@inline
def inverses(total, lost):
    """Return 1 / (total + lost), spared, in two parts."""
    inverse, scale = 1.0 / total, spared(total)
    inverse_low = fma(inverse * lost, -1.0, fma(inverse, 0.0 - total, 1.0)) * inverse
    return inverse * scale, inverse_low * scale


@inline
def scale_rows(tile, n, inverse, inverse_low):
    """Multiply the tile's elements by inverses in two parts."""
    width = lanes(tile)
    for j in range(n):
        store(tile, width * j, share(load(tile, width * j), inverse, inverse_low))


@inline
def store_shares(tile, out, start, step, n, inverse, inverse_low):
    """Bring what `scale_rows` gives to rows of `out`."""
    width = lanes(out)
    inverse, inverse_low = repeated(inverse), repeated(inverse_low)
    for j in range(0, n - GROUP, GROUP):
        store_columns(out, start + j, step, share(load_group(tile, width * j), inverse, inverse_low))
    j = n - GROUP
    store_columns(out, start + j, step, share(load_group(tile, width * j), inverse, inverse_low))


@inline
def carefully_into(tile, column, careful, x, start, n, out, to, temperature):
    """Do a row the careful way, and copy its result into a column of the tile; return what `carefully` does."""
    is_left = carefully(careful, pointer_to(x), start, n, pointer_to(out), to, temperature)
    into_column(out, to, tile, column, lanes(x), n)
    return is_left


@kernel(*ROW_PARAMETERS, later=SOFTMAX)
def softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature, careful):
    """Write softmax of the rows first to last; for the parameters see `rows.softmax_rows`."""
    high, low = log2e_over(x, temperature)
    width, left = lanes(x), 0
    tile = scratch(x, n)
    mode = flush_small()
    for r in range(first, last, width):
        rows, to = min(width, last - r), out_start + r * out_step
        next_rows = x_start + (r + width) * x_step
        maximum = load_rows(x, x_start + r * x_step, x_step, rows, n, tile)
        pivot = pivots_for(x, maximum, high)
        total, lost = sum_terms_of_rows(x, next_rows, out, to, tile, n, True, pivot, high, low)
        inverse, inverse_low = inverses(total, lost)
        if rows == width and n >= GROUP and count_set(total == total) == width:
            store_shares(tile, out, to, out_step, n, inverse, inverse_low)
            continue
        scale_rows(tile, n, inverse, inverse_low)
        for k in range(rows):
            if math.isnan(tile[k]):
                left += carefully_into(
                    tile, k, careful, x, x_start + (r + k) * x_step, n, out, to + k * out_step, temperature
                )
        store_few(tile, out, to, out_step, rows, n)
    restore(mode)
    return left


# --- log_softmax ----------------------------------------------------------------------------------------------------


@inline
def scales(x, temperature):
    """Return 1 / temperature in two parts, the second positive: its product with -inf is no NaN."""
    inverse = 1.0 / temperature
    scale = rounded(x, inverse * (1.0 - choose(x, 2.0**-23, 2.0**-52)))
    return scale, rounded(x, (inverse - scale) + fma(-inverse, temperature, 1.0) * inverse)


@inline
def log_share(v, maximum, log, scale, scale_low):
    """Return (v - maximum) · (scale + scale_low) - log, two terms of one sign."""
    d = v - maximum
    return fma(d, scale, fma(d, scale_low, 0.0 - log))


@inline
def subtract_from_rows(tile, n, maximum, log, scale, scale_low):
    """Replace the tile's elements by their `log_share`."""
    width = lanes(tile)
    for j in range(n):
        store(tile, width * j, log_share(load(tile, width * j), maximum, log, scale, scale_low))


@inline
def store_log_shares(tile, out, start, step, n, maximum, log, scale, scale_low):
    """Bring what `subtract_from_rows` gives to rows of `out`."""
    width = lanes(out)
    maximum, log = repeated(maximum), repeated(log)
    for j in range(0, n - GROUP, GROUP):
        store_columns(out, start + j, step, log_share(load_group(tile, width * j), maximum, log, scale, scale_low))
    j = n - GROUP
    store_columns(out, start + j, step, log_share(load_group(tile, width * j), maximum, log, scale, scale_low))


@kernel(*ROW_PARAMETERS, later=LOG_SOFTMAX)
def log_softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature, careful):
    """Write log_softmax of the rows first to last."""
    high, low = log2e_over(x, temperature)
    scale, scale_low = scales(x, temperature)
    width, left = lanes(x), 0
    tile = scratch(x, n)
    for r in range(first, last, width):
        rows, to = min(width, last - r), out_start + r * out_step
        next_rows = x_start + (r + width) * x_step
        maximum = load_rows(x, x_start + r * x_step, x_step, rows, n, tile)
        others, lost = sum_around_peaks(x, next_rows, out, to, tile, n, maximum, high, low)
        log = log_of_sums(x, others, lost)
        if rows == width and n >= GROUP and count_set(log == log) == width:
            store_log_shares(tile, out, to, out_step, n, maximum, log, scale, scale_low)
            continue
        subtract_from_rows(tile, n, maximum, log, scale, scale_low)
        for k in range(rows):
            if math.isnan(tile[k]):
                left += carefully_into(
                    tile, k, careful, x, x_start + (r + k) * x_step, n, out, to + k * out_step, temperature
                )
        store_few(tile, out, to, out_step, rows, n)
    return left


# --- logsumexp ------------------------------------------------------------------------------------------------------


@inline
def logsumexp_of_tile(x, next_rows, tile, n, maximum, high, low):
    """Return logsumexp of the rows of a tile, and which are so near 0 that they are to be looked at again."""
    in_double = choose(x, n, GROUP) < GROUP  # that is faster, and exact near 0, too
    if in_double:
        others, held = sum_few_around_peaks(x, tile, n, maximum)
        result = narrowed(x, held + log1p_of_single(others))
    else:
        pivot = pivots_for(x, maximum, high)
        total, lost = sum_terms_of_rows(x, next_rows, None, 0, tile, n, None, pivot, high, low)
        result = narrowed(x, log_of_sum(x, widened(total), widened(lost), widened(pivot)))
        if n == 1:  # it is that itself
            result = maximum + 0.0
    size = absolute(result)
    return result, select(size >= TINY, size, 1.0) < (0.0 if in_double else near_zero(x))


@kernel(*ROW_PARAMETERS, later=LOGSUMEXP)
def logsumexp_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature, careful):
    """Write logsumexp of the rows first to last; the temperature is 1."""
    high, low = log2e_over(x, 1.0)
    width, left = lanes(x), 0
    tile, results = scratch(x, n), scratch(x, 1)
    aside, numbers, waiting = scratch(x, 2 * n), scratch_wide(2 * (lanes(x) // WIDE)), 0  # see `narrow_near_zero.py`
    for r in range(first, last, width):
        rows, to = min(width, last - r), out_start + r * out_step
        next_rows = x_start + (r + width) * x_step
        maximum = load_rows(x, x_start + r * x_step, x_step, rows, n, tile)
        result, is_delicate = logsumexp_of_tile(x, next_rows, tile, n, maximum, high, low)
        if any_set(is_delicate):
            waiting = set_aside(x, is_delicate, tile, n, r, rows, aside, numbers, waiting)
        if rows == width and out_step == 1 and count_set(result == result) == width:
            store(out, to, result)
        else:
            store(results, 0, result)
            for k in range(rows):
                place = to + k * out_step
                if math.isnan(results[k]):
                    left += carefully(
                        careful, pointer_to(x), x_start + (r + k) * x_step, n, pointer_to(out), place, temperature
                    )
                else:
                    copy_one(results, k, out, place)
        while waiting >= width or (waiting > 0 and r + width >= last):
            waiting = write_near_zero(x, aside, n, numbers, waiting, results, out, out_start, 1, out_step)
    return left
