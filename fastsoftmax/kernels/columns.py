"""`auto` on columns: another axis than the reduced one is contiguous, and vectors run across it.

x has the shape (outer, n, inner); axis 1 is reduced. A *strip* of neighbouring columns is done at a time, row by row,
four rows together: maxima; sums of e^x · 2^-pivot without the largest elements, a pivot a column; then what concerns a
whole column, in float64; then the pass that writes, which computes e^x again. What is kept a column stays in L1.

Columns of float64 with a peak are done again eight at a time, as narrow rows are, with exponentials in two parts. A
strip with NaN, inf or huge numbers has its columns brought into a row, one by one, and done the careful way.

passes   3 reads + 1 write
exps     2 an element for softmax, 1 for the logarithms
Error    softmax and log_softmax 2 ULP, logsumexp 1 (one ulp of 1.0 near 0)
"""

import math

import numpy as np

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful import careful_log_softmax, careful_logsumexp, careful_softmax, maximum_or_nan
from fastsoftmax.kernels.exponential import (
    MAGIC_DOUBLE,
    add_exactly,
    exp2_in_parts,
    exponential,
    log2e_over,
    log2e_wide,
    magic_number,
)
from fastsoftmax.kernels.logarithm import log1p_of
from fastsoftmax.kernels.narrow import keep_terms, maximum_of_columns, scale_columns, subtract_from_columns
from fastsoftmax.kernels.narrow import sum_others as narrow_others
from fastsoftmax.kernels.pivot import MAX_PIVOT, aim, lowest_exponent
from fastsoftmax.kernels.rows import NEAR_ZERO, share
from fastsoftmax.kernels.storage import room_for_columns, write
from fastsoftmax.simd import (
    absolute,
    choose,
    count_set,
    fma,
    lanes,
    larger,
    larger_bits,
    load,
    load_wide,
    rounded,
    select,
    shift_exponent,
    splat,
    splat_wide,
    store,
)

PARAMETERS = (
    "in",
    "int",
    "int",
    "int",
    "out",
    "int",
    "int",
    "int",
    "int",
    "int",
    "int",
    "int",
    "int",
    "real",
)

# What is kept of each column, in arrays of `room` numbers behind one another.
MAXIMUM, MAGIC, FLOOR, SUM, LOST, TIES, FIRST, SECOND = range(8)
KEPT = 8


@inline
def find_maxima(x, start, pitch, n, count, inner, column, kept, room):
    """Keep the maxima of a strip; NaN is passed over."""
    width = lanes(x)
    for j in range(0, count, width):
        store(kept, MAXIMUM * room + j, splat(x, -math.inf))
    for i in range(0, n, 4):
        a, b = start + i * pitch, start + min(i + 1, n - 1) * pitch
        c, d = start + min(i + 2, n - 1) * pitch, start + min(i + 3, n - 1) * pitch
        for j in range(0, count, width):
            at = min(column + j, inner - width)
            best = load(kept, MAXIMUM * room + j)
            best = larger(larger(load(x, a + at), load(x, b + at)), best)
            store(kept, MAXIMUM * room + j, larger(larger(load(x, c + at), load(x, d + at)), best))


@inline
def choose_pivots(x, count, high, kept, room):
    """Keep magic numbers and floors for the maxima, and clear the sums; return whether all have a pivot."""
    width = lanes(x)
    zero = splat(x, 0.0)
    possible = 0
    for j in range(0, count, width):
        maximum = load(kept, MAXIMUM * room + j)
        k = fma(maximum, splat(x, high), splat(x, magic_number(x))) - magic_number(x)
        is_possible = absolute(k) < MAX_PIVOT
        possible += count_set(is_possible)
        pivot = select(is_possible, k - aim(x), 0.0)
        store(kept, MAGIC * room + j, magic_number(x) - pivot)
        store(kept, FLOOR * room + j, (pivot + lowest_exponent(x)) * (1.0 / high))
        store(kept, SUM * room + j, zero)
        store(kept, LOST * room + j, zero)
        store(kept, TIES * room + j, zero)
        possible -= width
    return possible == 0


@inline
def other_term(v, maximum, floor, high, low, magic):
    """Return (e^x · 2^-pivot, or 0 for a maximum; 1 for a maximum, else 0; the exponents)."""
    e, steps = exponential(v, floor, high, low, magic)
    is_maximum = v == maximum
    return select(is_maximum, 0.0, e), select(is_maximum, 1.0, e - e), steps


@inline
def sum_others(x, start, pitch, n, count, inner, column, high, low, kept, room):
    """Keep the sums of the terms of a strip without the maxima, and count these; return whether there is no NaN."""
    width = lanes(x)
    high, low = splat(x, high), splat(x, low)
    worst = splat(x, 0.0)
    whole = n - n % 4
    for i in range(0, n, 4):
        a = start + i * pitch
        b, c, d = a + pitch, a + 2 * pitch, a + 3 * pitch
        for j in range(0, count, width):
            at = min(column + j, inner - width)
            maximum, magic = load(kept, MAXIMUM * room + j), load(kept, MAGIC * room + j)
            floor = load(kept, FLOOR * room + j)
            if i < whole:
                ea, ta, sa = other_term(load(x, a + at), maximum, floor, high, low, magic)
                eb, tb, sb = other_term(load(x, b + at), maximum, floor, high, low, magic)
                ec, tc, sc = other_term(load(x, c + at), maximum, floor, high, low, magic)
                ed, td, sd = other_term(load(x, d + at), maximum, floor, high, low, magic)
                e, t = (ea + eb) + (ec + ed), (ta + tb) + (tc + td)
                worst = larger_bits(worst, larger_bits(larger_bits(sa, sb), larger_bits(sc, sd)))
            else:
                e, t, s = other_term(load(x, a + at), maximum, floor, high, low, magic)
                worst = larger_bits(worst, s)
                for row in range(i + 1, n):
                    v = load(x, start + row * pitch + at)
                    eb, tb, sb = other_term(v, maximum, floor, high, low, magic)
                    e, t, worst = e + eb, t + tb, larger_bits(worst, sb)
            total, lost = add_exactly(load(kept, SUM * room + j), load(kept, LOST * room + j), e)
            store(kept, SUM * room + j, total)
            store(kept, LOST * room + j, lost)
            store(kept, TIES * room + j, load(kept, TIES * room + j) + t)
    return count_set(worst == worst) == width


@inline
def totals(x, j, kept, room, temperature):
    """Return (total, what it lost, sum of the others in units of the largest, maximum) of 8 columns, float64."""
    high, low = log2e_wide(temperature)
    maximum = load_wide(kept, MAXIMUM * room + j)
    pivot = magic_number(x) - load_wide(kept, MAGIC * room + j)
    ties = load_wide(kept, TIES * room + j)
    rest, rest_lost = load_wide(kept, SUM * room + j), load_wide(kept, LOST * room + j)
    scaled = maximum * high
    n = (scaled + MAGIC_DOUBLE) - MAGIC_DOUBLE
    peak, peak_low = exp2_in_parts(scaled - n, fma(maximum, high, 0.0 - scaled) + maximum * low)
    power = shift_exponent(splat_wide(1.0), (n - pivot) + MAGIC_DOUBLE)
    peak, peak_low = peak * power, peak_low * power
    others = ((rest + rest_lost) / peak) * (1.0 - peak_low / peak) + (ties - 1.0)
    total, lost = add_exactly(ties * peak, fma(ties, peak_low, rest_lost), rest)
    return total, lost, others, maximum


@inline
def sum_strip(x, start, pitch, n, count, inner, column, high, low, kept, room):
    """Do both passes over a strip; return whether no column of it is odd: has NaN, inf or huge numbers."""
    find_maxima(x, start, pitch, n, count, inner, column, kept, room)
    possible = choose_pivots(x, count, high, kept, room)
    return sum_others(x, start, pitch, n, count, inner, column, high, low, kept, room) and possible


@inline
def least_others(x):
    """Return how much the others must hold of the largest; columns with less are peaked."""
    return choose(x, 1.0, 5.0)


@inline
def keep_parts(x, j, kept, room, value, rest):
    """Keep 8 float64 numbers as two numbers each of the type that x is computed in."""
    store(kept, FIRST * room + j, value)
    store(kept, SECOND * room + j, (value - load_wide(kept, FIRST * room + j)) + rest)


@inline
def place_of(j, column, inner, width):
    """Return the column of x that belongs to slot j; the last vector overlaps the one before."""
    return min(column + j - j % width, inner - width) + j % width


@inline
def blend(tile, is_wanted, out, to, pitch, n):
    """Write the wanted ones of 8 columns that stand in the tile."""
    for i in range(n):
        old = load_wide(out, to + i * pitch)
        store(out, to + i * pitch, select(is_wanted, load_wide(tile, 8 * i), old))


@inline
def is_odd(x, start, pitch, n, row, high):
    """Copy a column into a row; return whether the fast way cannot do it."""
    for i in range(n):
        row[i] = x[start + i * pitch]
    maximum = maximum_or_nan(row, 0, n)
    return not np.isfinite(maximum) or abs(maximum * high) >= MAX_PIVOT - 1


@inline
def from_row(row, out, to, pitch, n):
    """Copy a row into a column."""
    for i in range(n):
        out[to + i * pitch] = row[i]


@inline
def strip_of(block, strip, inner):
    """Return (outer index, first column, number of columns) of a block."""
    strips = (inner + strip - 1) // strip
    first = block % strips * strip
    return block // strips, first, min(strip, inner - first)


# fmt: off
@kernel(*PARAMETERS)
def softmax_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch, first, last, n, inner, strip, temperature
):
    """Write softmax of the strips first to last; element i of column c stands at x[x_start + i * x_pitch + c]."""
    high, low = log2e_over(x, temperature)
    wide_high, wide_low = log2e_wide(temperature)
    width = lanes(x)
    room = strip + width
    kept, tile, row = room_for_columns(x, KEPT * room), room_for_columns(x, 8 * n), np.empty(n, out.dtype)
    for block in range(first, last):
        outer, column, count = strip_of(block, strip, inner)
        slots = (count + width - 1) // width * width
        start, to = x_start + outer * x_outer, out_start + outer * out_outer
        sound = sum_strip(x, start, x_pitch, n, count, inner, column, high, low, kept, room)
        for j in range(0, slots, 8):
            total, lost, others, _ = totals(x, j, kept, room, temperature)
            inverse = 1.0 / total
            inverse_low = fma(inverse, 0.0 - lost, fma(inverse, 0.0 - total, 1.0)) * inverse
            keep_parts(x, j, kept, room, inverse, inverse_low)
        vector_high, vector_low = splat(x, high), splat(x, low)
        for i in range(n):
            for j in range(0, count, width):
                at = place_of(j, column, inner, width)
                v = load(x, start + i * x_pitch + at)
                floor, magic = load(kept, FLOOR * room + j), load(kept, MAGIC * room + j)
                e, _ = exponential(v, floor, vector_high, vector_low, magic)
                value = share(e, load(kept, FIRST * room + j), load(kept, SECOND * room + j))
                store(out, to + i * out_pitch + at, value)
        for j in range(0, slots, 8):
            _, _, others, _ = totals(x, j, kept, room, temperature)
            is_peaked = others < least_others(x)
            if count_set(is_peaked) > 0:
                at = place_of(j, column, inner, width)
                maximum = maximum_of_columns(x, start + at, x_pitch, n)
                total, lost = keep_terms(x, x, start + at, x_pitch, n, maximum, wide_high, wide_low, tile, 0, 8)
                scale_columns(tile, 0, 8, n, total, lost, tile, 0, 8)
                blend(tile, is_peaked, out, to + at, out_pitch, n)
        if not sound:
            for k in range(column, column + count):
                if is_odd(x, start + k, x_pitch, n, row, high):
                    careful_softmax(row, 0, n, row, 0, temperature)
                    from_row(row, out, to + k, out_pitch, n)


@kernel(*PARAMETERS)
def log_softmax_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch, first, last, n, inner, strip, temperature
):
    """Write log_softmax of the strips first to last, which lie as in `softmax_columns`."""
    high, low = log2e_over(x, temperature)
    wide_high, wide_low = log2e_wide(temperature)
    inverse = 1.0 / temperature
    scale = splat(x, rounded(x, inverse))
    scale_low = splat(x, (inverse - rounded(x, inverse)) + fma(-inverse, temperature, 1.0) * inverse)
    lowest = splat(x, choose(x, -3.0e38, -1.0e308))
    width = lanes(x)
    room = strip + width
    kept, tile, row = room_for_columns(x, KEPT * room), room_for_columns(x, 8 * n), np.empty(n, out.dtype)
    for block in range(first, last):
        outer, column, count = strip_of(block, strip, inner)
        slots = (count + width - 1) // width * width
        start, to = x_start + outer * x_outer, out_start + outer * out_outer
        sound = sum_strip(x, start, x_pitch, n, count, inner, column, high, low, kept, room)
        for j in range(0, slots, 8):
            _, _, others, maximum = totals(x, j, kept, room, temperature)
            quotient = maximum / temperature
            rest = fma(quotient, -temperature, maximum) / temperature
            log, rest = add_exactly(quotient, rest, log1p_of(others))
            keep_parts(x, j, kept, room, 0.0 - log, 0.0 - rest)
        for i in range(n):
            for j in range(0, count, width):
                at = place_of(j, column, inner, width)
                v = load(x, start + i * x_pitch + at)
                first_part = fma(v, scale, load(kept, FIRST * room + j))
                second_part = fma(larger(lowest, v), scale_low, load(kept, SECOND * room + j))
                store(out, to + i * out_pitch + at, first_part + second_part)
        for j in range(0, slots, 8):
            _, _, others, _ = totals(x, j, kept, room, temperature)
            is_peaked = others < least_others(x)
            if count_set(is_peaked) > 0:
                at = place_of(j, column, inner, width)
                maximum = maximum_of_columns(x, start + at, x_pitch, n)
                others = narrow_others(x, x, start + at, x_pitch, n, maximum, wide_high, wide_low)
                log = log1p_of(others)
                subtract_from_columns(x, x, start + at, x_pitch, n, maximum, log, temperature, tile, 0, 8)
                blend(tile, is_peaked, out, to + at, out_pitch, n)
        if not sound:
            for k in range(column, column + count):
                if is_odd(x, start + k, x_pitch, n, row, high):
                    careful_log_softmax(row, 0, n, row, 0, temperature)
                    from_row(row, out, to + k, out_pitch, n)


@kernel(*PARAMETERS)
def logsumexp_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch, first, last, n, inner, strip, temperature
):
    """Write logsumexp of the strips first to last to out[out_start + column]; out_pitch is not used."""
    high, low = log2e_over(x, temperature)
    wide_high, wide_low = log2e_wide(temperature)
    width = lanes(x)
    room = strip + width
    kept, row = room_for_columns(x, KEPT * room), np.empty(n, x.dtype)
    for block in range(first, last):
        outer, column, count = strip_of(block, strip, inner)
        slots = (count + width - 1) // width * width
        start, to = x_start + outer * x_outer, out_start + outer * out_outer
        sound = sum_strip(x, start, x_pitch, n, count, inner, column, high, low, kept, room)
        for j in range(0, slots, 8):
            at = place_of(j, column, inner, width)
            _, _, others, maximum = totals(x, j, kept, room, 1.0)
            result = maximum + log1p_of(others)
            is_delicate = select(others < least_others(x), 1.0, select(absolute(result) < NEAR_ZERO, 1.0, 0.0 * others))
            if count_set(is_delicate == 1.0) > 0:
                others = narrow_others(x, x, start + at, x_pitch, n, maximum, wide_high, wide_low)
                result = select(is_delicate == 1.0, maximum + log1p_of(others), result)
            store(kept, FIRST * room + j, result)
            for k in range(8):
                value = float(kept[FIRST * room + j + k])
                is_near_zero = abs(value) < choose(x, 0.0, NEAR_ZERO)
                if is_near_zero or (not sound and is_odd(x, start + at + k, x_pitch, n, row, high)):
                    is_odd(x, start + at + k, x_pitch, n, row, high)
                    value = careful_logsumexp(row, 0, n)
                write(out, to + at + k, value)
# fmt: on
