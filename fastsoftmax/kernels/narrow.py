"""`auto` on narrow rows: a vector's width of rows at once, a row a lane.

In a row of a few elements, what is done once a row costs the most: a maximum and a sum across lanes, a logarithm, a
division. So rows are transposed in registers (`tiles.py`), and all of that runs down the lanes of vectors, with no
exchange between them. Each lane has its own pivot, from the row's maximum (`narrow_sums.py`). The next rows are loaded
as those in front of them are written: these wait for the division or the logarithm, but those need not.

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
from fastsoftmax.kernels.tiles import exchange, into_column, load_rows, replace_each, store_few
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
    narrowed,
    pointer_to,
    repeated,
    restore,
    rounded,
    scratch,
    scratch_wide,
    select,
    splat,
    store,
    widened,
)

MANY = 8  # rows
LIMITS = {"float32": (64, 208), "float64": (32, 112)}  # of elements, where rows are few (a group of vectors), and many
# Under it (but not under TINY) the last place of a logsumexp is far under that of the sum.
near_zero = constant(NEAR_ZERO_SINGLE, 0.5)


def is_narrow(rows: int, n: int, compute_type: str) -> bool:
    """Tell whether so many rows of n elements may go this way."""
    return n < LIMITS[compute_type][rows >= MANY]


# --- what becomes of a tile -----------------------------------------------------------------------------------------


@inline
def write_tile(tile, value, factors, careful, x, start, x_step, rows, n, out, to, out_step, temperature):
    """Write value(v, *factors) of a tile of any rows, those that are NaN the careful way; return how many are left."""
    left = 0
    replace_each(tile, n, value, factors)
    for k in range(rows):
        if math.isnan(tile[k]):
            place = to + k * out_step
            left += carefully(careful, pointer_to(x), start + k * x_step, n, pointer_to(out), place, temperature)
            into_column(out, place, tile, k, lanes(x), n)
    store_few(tile, out, to, out_step, rows, n)
    return left


# --- softmax --------------------------------------------------------------------------------------------------------


@inline
def inverses(total, lost):
    """Return 1 / (total + lost), spared, in two parts."""
    inverse, scale = 1.0 / total, spared(total)
    inverse_low = fma(inverse * lost, -1.0, fma(inverse, 0.0 - total, 1.0)) * inverse
    return inverse * scale, inverse_low * scale


@kernel(*ROW_PARAMETERS, later=SOFTMAX)
def softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature, careful):
    """Write softmax of the rows first to last; for the parameters see `rows.softmax_rows`."""
    high, low = log2e_over(x, temperature)
    width, left = lanes(x), 0
    tile, maximum = scratch(x, n), splat(x, 0.0)
    mode = flush_small()
    for r in range(first - width, last, width):
        start, to = x_start + r * x_step, out_start + r * out_step
        behind, rows, is_loaded = start + width * x_step, min(width, last - r), False
        if r >= first:
            pivot = pivots_for(x, maximum, high)
            total, lost = sum_terms_of_rows(x, behind + width * x_step, out, to, tile, n, True, pivot, high, low)
            inverse, inverse_low = inverses(total, lost)
            factors = inverse, inverse_low
            if rows == width and n >= 2 and count_set(total == total) == width:
                is_loaded, groups = r + 2 * width <= last, (repeated(inverse), repeated(inverse_low))
                more = behind if is_loaded else start
                maximum = exchange(tile, n, share, factors, groups, out, to, out_step, x, more, x_step)
            else:
                left += write_tile(
                    tile, share, factors, careful, x, start, x_step, rows, n, out, to, out_step, temperature
                )
        if r + width < last and not is_loaded:
            maximum = load_rows(x, behind, x_step, min(width, last - r - width), n, tile)
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


@kernel(*ROW_PARAMETERS, later=LOG_SOFTMAX)
def log_softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature, careful):
    """Write log_softmax of the rows first to last."""
    high, low = log2e_over(x, temperature)
    scale, scale_low = scales(x, temperature)
    width, left = lanes(x), 0
    tile, maximum = scratch(x, n), splat(x, 0.0)
    for r in range(first - width, last, width):
        start, to = x_start + r * x_step, out_start + r * out_step
        behind, rows, is_loaded = start + width * x_step, min(width, last - r), False
        if r >= first:
            others, lost = sum_around_peaks(x, behind + width * x_step, out, to, tile, n, maximum, high, low)
            log = log_of_sums(x, others, lost)
            factors = maximum, log, scale, scale_low
            if rows == width and n >= 2 and count_set(log == log) == width:
                is_loaded, groups = r + 2 * width <= last, (repeated(maximum), repeated(log), scale, scale_low)
                more = behind if is_loaded else start
                maximum = exchange(tile, n, log_share, factors, groups, out, to, out_step, x, more, x_step)
            else:
                left += write_tile(
                    tile, log_share, factors, careful, x, start, x_step, rows, n, out, to, out_step, temperature
                )
        if r + width < last and not is_loaded:
            maximum = load_rows(x, behind, x_step, min(width, last - r - width), n, tile)
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
