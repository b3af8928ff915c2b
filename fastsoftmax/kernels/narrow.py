"""`auto` on narrow rows: a vector's width of rows at once, a row a lane, computed in float64.

In a row of a few elements, what is done once a row costs the most: a maximum and a sum across lanes, a logarithm, a
division. So rows are transposed in registers, and all of that runs down the lanes of vectors, with no exchange between
them. For a float32 result the polynomial of float64 need not be longer than that of float32, so the wider type costs
little and leaves almost no error; float64 input gets its exponentials in two parts instead.

Error: float32 1 ULP, float64 2 ULP; logsumexp 1 ULP.
"""

import math

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful import (
    LIFT,
    careful_log_softmax,
    careful_logsumexp,
    careful_softmax,
    difference,
    lifted_exponential,
)
from fastsoftmax.kernels.exponential import MAGIC_DOUBLE, add_exactly, exp2_short, log2e_wide
from fastsoftmax.kernels.logarithm import log1p_of
from fastsoftmax.kernels.rows import NEAR_ZERO, ROW_PARAMETERS
from fastsoftmax.kernels.storage import room_for_columns, room_for_tile, write
from fastsoftmax.simd import (
    absolute,
    choose,
    count_set,
    fma,
    lanes,
    larger,
    load_block,
    load_wide,
    select,
    shift_exponent,
    splat_wide,
    store,
    store_block,
)

LIMIT = {"float32": 48, "float64": 28}  # rows of fewer elements are narrow
NOTHING = -200.0  # 2^-200 is 0 as a float32


@inline
def load_rows(x, start, step, rows, n, tile):
    """Bring up to w rows of x into the tile, where element j of row r is tile[w * j + r]."""
    width = lanes(x)
    for j in range(0, n, width):
        load_block(x, start + j, step, rows, n - j, tile, width * j)


@inline
def store_rows(tile, out, start, step, rows, n):
    """Bring the tile's columns to up to w rows of `out`."""
    width = lanes(out)
    for j in range(0, n, width):
        store_block(tile, width * j, out, start + j, step, rows, n - j)


@inline
def into_column(row, tile, column, pitch, n):
    """Copy a row into a column."""
    for j in range(n):
        tile[column + pitch * j] = row[j]


@inline
def short_exponential(d, high):
    """Return e^d for d <= 0 to the precision of float32, 2^NOTHING where it is less."""
    d = larger(splat_wide(NOTHING / high), d)
    steps = fma(d, high, splat_wide(MAGIC_DOUBLE))
    return shift_exponent(exp2_short(fma(d, high, MAGIC_DOUBLE - steps)), steps)


@inline
def maximum_of_columns(tile, column, pitch, n):
    """Return the largest elements of the 8 columns that begin at tile[column]; NaN is passed over."""
    maximum = load_wide(tile, column)
    for j in range(1, n):
        maximum = larger(load_wide(tile, column + pitch * j), maximum)
    return maximum


@inline
def keep_terms(x, tile, column, pitch, n, maximum, high, low, terms, to, to_pitch):
    """Write e^(x - maximum) of 8 columns of the tile to those at terms[to], and return their sums in two parts.

    These are NaN where there is a NaN, or the maximum is not finite. For float64 all is multiplied by 2^LIFT.
    """
    total, lost = splat_wide(0.0), splat_wide(0.0)
    for j in range(n):
        v = load_wide(tile, column + pitch * j)
        if choose(x, 1, 0):
            e = short_exponential(v - maximum, high)
            total = total + e
        else:
            e, e_low = lifted_exponential(v, maximum, high, low)
            total, lost = add_exactly(total, lost + e_low, e)
        store(terms, to + to_pitch * j, e)
    return total, lost


@inline
def sum_others(x, tile, column, pitch, n, maximum, high, low):
    """Return the sums of e^(x - maximum) of 8 columns of the tile without one of the largest elements each.

    These are NaN where there is a NaN, or the maximum is not finite.
    """
    zero = splat_wide(0.0)
    rest, lost, ties = zero, zero, zero
    for j in range(n):
        v = load_wide(tile, column + pitch * j)
        is_maximum = v == maximum
        if choose(x, 1, 0):
            rest = rest + select(is_maximum, (v - maximum) * 0.0, short_exponential(v - maximum, high))
        else:
            e, e_low = lifted_exponential(v, maximum, high, low)
            rest, lost = add_exactly(
                rest, lost + select(is_maximum, 0.0, e_low), select(is_maximum, (v - maximum) * 0.0, e)
            )
        ties = ties + select(is_maximum, 1.0, zero)
    return (rest + lost) * choose(x, 1.0, 2.0**-LIFT) + (ties - 1.0)


@inline
def scale_columns(terms, column, pitch, n, total, lost, out, to, to_pitch):
    """Write the terms of 8 columns divided by (total + lost)."""
    inverse = 1.0 / total
    inverse_low = fma(inverse * lost, -1.0, fma(inverse, 0.0 - total, 1.0)) * inverse
    for j in range(n):
        e = load_wide(terms, column + pitch * j)
        store(out, to + to_pitch * j, fma(e, inverse, e * inverse_low))


@inline
def subtract_from_columns(x, tile, column, pitch, n, maximum, log, temperature, out, to, to_pitch):
    """Write (x - maximum) / temperature - log of 8 columns."""
    scale = splat_wide(1.0 / temperature)
    scale_low = splat_wide(fma(-1.0 / temperature, temperature, 1.0) / temperature)
    for j in range(n):
        v = load_wide(tile, column + pitch * j)
        if choose(x, 1, 0):
            value = fma(v - maximum, scale, 0.0 - log)
        else:
            d, lost = difference(v, maximum)
            correction = fma(lost, scale, d * scale_low)
            correction = select(correction == correction, correction, 0.0)  # of an infinite difference
            value = fma(d, scale, 0.0 - log) + correction
        store(out, to + to_pitch * j, value)


@kernel(*ROW_PARAMETERS)
def softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, in_place, temperature):
    """Write softmax of the rows first to last; for the parameters see `rows.softmax_rows`."""
    high, low = log2e_wide(temperature)
    width = lanes(x)
    tile, row = room_for_tile(x, n), room_for_columns(x, n)
    for r in range(first, last, width):
        rows = min(width, last - r)
        load_rows(x, x_start + r * x_step, x_step, rows, n, tile)
        for column in range(0, width, 8):
            maximum = maximum_of_columns(tile, column, width, n)
            total, lost = keep_terms(x, tile, column, width, n, maximum, high, low, tile, column, width)
            scale_columns(tile, column, width, n, total, lost, tile, column, width)
            if count_set(total == total) < 8:
                for k in range(column, min(column + 8, rows)):
                    if math.isnan(tile[k]):
                        careful_softmax(x, x_start + (r + k) * x_step, n, row, 0, temperature)
                        into_column(row, tile, k, width, n)
        store_rows(tile, out, out_start + r * out_step, out_step, rows, n)


@kernel(*ROW_PARAMETERS)
def log_softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, in_place, temperature):
    """Write log_softmax of the rows first to last: (x - maximum) / temperature - log1p(rest)."""
    high, low = log2e_wide(temperature)
    width = lanes(x)
    tile, row = room_for_tile(x, n), room_for_columns(x, n)
    for r in range(first, last, width):
        rows = min(width, last - r)
        load_rows(x, x_start + r * x_step, x_step, rows, n, tile)
        for column in range(0, width, 8):
            maximum = maximum_of_columns(tile, column, width, n)
            others = sum_others(x, tile, column, width, n, maximum, high, low)
            subtract_from_columns(
                x, tile, column, width, n, maximum, log1p_of(others), temperature, tile, column, width
            )
            if count_set(others == others) < 8:
                for k in range(column, min(column + 8, rows)):
                    if math.isnan(tile[k]):
                        careful_log_softmax(x, x_start + (r + k) * x_step, n, row, 0, temperature)
                        into_column(row, tile, k, width, n)
        store_rows(tile, out, out_start + r * out_step, out_step, rows, n)


@kernel(*ROW_PARAMETERS)
def logsumexp_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, in_place, temperature):
    """Write logsumexp of the rows first to last: maximum + log1p(rest)."""
    high, low = log2e_wide(1.0)
    width = lanes(x)
    tile = room_for_tile(x, n)
    for r in range(first, last, width):
        rows = min(width, last - r)
        load_rows(x, x_start + r * x_step, x_step, rows, n, tile)
        for column in range(0, width, 8):
            maximum = maximum_of_columns(tile, column, width, n)
            result = maximum + log1p_of(sum_others(x, tile, column, width, n, maximum, high, low))
            delicate = count_set(absolute(result) >= choose(x, 0.0, NEAR_ZERO)) < 8
            store(tile, column, result)
            for k in range(r + column, min(r + column + 8, last)):
                value = float(tile[k - r])
                if delicate and not abs(value) >= choose(x, 0.0, NEAR_ZERO):
                    value = careful_logsumexp(x, x_start + k * x_step, n)
                write(out, out_start + k * out_step, value)
