"""`auto` on columns: another axis than the reduced one is contiguous, and vectors run across it.

x has the shape (planes, n, inner); axis 1 is reduced. A strip of columns (`strips.py`) is done at a time.

softmax        one exp an element, kept in the tile and scaled from there; two where columns are longer than a tile.
log_softmax    one exp an element. In columns where the largest element holds most of the sum, the others are summed
               once more without it.
logsumexp      one exp an element.

x is read twice, the second time from the last row to the first, so that what was read last is still in a cache;
logsumexp and a softmax that keeps its terms read it once. Columns with NaN, inf or huge numbers are brought into a row,
one by one, and done the careful way.

Error bounds, in units in the last place: softmax 2, log_softmax 2, logsumexp 1 (one ulp of 1.0 near 0).
"""

import math

import numpy as np

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful import careful_log_softmax, careful_logsumexp, careful_softmax
from fastsoftmax.kernels.exponential import (
    MAGIC_DOUBLE,
    add_exactly,
    add_smaller,
    exponential,
    log2e_over,
    log2e_wide,
)
from fastsoftmax.kernels.extended import exp2_in_parts
from fastsoftmax.kernels.logarithm import log_in_parts
from fastsoftmax.kernels.row_sums import keep_in_two_parts
from fastsoftmax.kernels.rows import inverse_in_parts, is_delicate, lowest_of, minus_log_sum, near_zero, one_over, share
from fastsoftmax.kernels.storage import room_for_columns
from fastsoftmax.kernels.strips import (
    FIRST,
    FLOOR,
    KEPT,
    LOST,
    MAGIC,
    MAXIMUM,
    SECOND,
    SUMS,
    TOTAL,
    add_terms,
    clear,
    clear_sums,
    four_rows,
    load_columns,
    pivots,
    read_chunk,
    soon_wanted,
    store_columns,
    strip_of,
    sum_chunk,
    sum_of,
)
from fastsoftmax.simd import (
    absolute,
    choose,
    copy_one,
    count_set,
    fma,
    join,
    lanes,
    larger,
    load,
    load_wide,
    quarters,
    select,
    shift_exponent,
    splat,
    splat_group,
    splat_wide,
    store,
    store_first,
)

PARAMETERS = ("in", "int", "int", "int", "out", *["int"] * 10, "real")


@inline
def place_after(block, last, i, x_start, x_outer, x_pitch, all_planes, n, inner, strip, chunk):
    """Return where x is read after the chunk from row i of a strip."""
    i += chunk
    if i >= n:
        i, block = 0, min(block + 1, last - 1)
    plane, _, column, _ = strip_of(block, strip, inner, all_planes)
    return x_start + plane * x_outer + column + i * x_pitch


@inline
def odd_columns(x, start, outer, pitch, n, planes, count, odd, kept, room):
    """Return the columns that the fast way cannot do, as rows.

    A pitch may be negative, and Numba takes a negative index for one from the end: so no x[i] here.
    """
    rows = np.empty(odd * n, x.dtype)
    to = 0
    for slot in range(planes * count * min(odd, 1)):
        if math.isnan(kept[FIRST * room + slot]):
            column = start + slot // count * outer + slot % count
            for i in range(n):
                copy_one(x, column + i * pitch, rows, to + i)
            to += n
    return rows


@inline
def write_odd_columns(rows, out, to, outer, pitch, n, planes, count, odd, kept, room):
    """Write their results, in rows, to their places."""
    row = 0
    for slot in range(planes * count * min(odd, 1)):
        if math.isnan(kept[FIRST * room + slot]):
            column = to + slot // count * outer + slot % count
            for i in range(n):
                copy_one(rows, row + i, out, column + i * pitch)
            row += n


@inline
def keep_inverses(tile, slots, high, kept, sums, room):
    """Keep the inverse sums of a strip in two parts; return how many are NaN."""
    odd = 0
    for j in range(0, slots, 8):
        total, lost = sum_of(tile, j, high, kept, sums, room)
        inverse, inverse_low = inverse_in_parts(total, lost)
        keep_in_two_parts(kept, FIRST * room + j, SECOND * room + j, inverse, inverse_low)
        odd += 8 - count_set(total == total)
    return odd


@inline
def write_share(tile, place, kept, slot, room, out, places, j, count):
    """Write a vector of each of four rows of terms divided by their sums."""
    inverse, inverse_low = load(kept, FIRST * room + slot), load(kept, SECOND * room + slot)
    from_a, from_b, from_c, from_d = place
    a, b, c, d = places
    store_columns(out, a + j, share(load(tile, from_a + j), inverse, inverse_low), count)
    store_columns(out, b + j, share(load(tile, from_b + j), inverse, inverse_low), count)
    store_columns(out, c + j, share(load(tile, from_c + j), inverse, inverse_low), count)
    store_columns(out, d + j, share(load(tile, from_d + j), inverse, inverse_low), count)


@inline
def write_shares(tile, tile_pitch, out, to, outer, pitch, rows, planes, count, kept, room):
    """Write the terms in the tile divided by their sums."""
    whole = count - count % lanes(out)
    for p in range(planes):
        slot = p * count
        for i in range(0, rows, 4):
            places = four_rows(to + p * outer + i * pitch, pitch, rows - i)
            tiles = four_rows(i * tile_pitch + slot, tile_pitch, rows - i)
            for j in range(0, whole, lanes(out)):
                write_share(tile, tiles, kept, slot + j, room, out, places, j, None)
            if whole < count:
                write_share(tile, tiles, kept, slot + whole, room, out, places, whole, count - whole)


@inline
def write_quotient(x, froms, kept, slot, room, high, low, out, places, j, count):
    """Write a vector of each of four rows of e^x divided by their sums."""
    magic, floor = load(kept, MAGIC * room + slot), load(kept, FLOOR * room + slot)
    inverse, inverse_low = load(kept, FIRST * room + slot), load(kept, SECOND * room + slot)
    from_a, from_b, from_c, from_d = froms
    v = join(
        load_columns(x, from_a + j, count),
        load_columns(x, from_b + j, count),
        load_columns(x, from_c + j, count),
        load_columns(x, from_d + j, count),
    )
    v = larger(join(floor, floor, floor, floor), v)
    e, _, _, _ = exponential(v, high, low, join(magic, magic, magic, magic))
    terms_a, terms_b, terms_c, terms_d = quarters(e)
    a, b, c, d = places
    store_columns(out, a + j, share(terms_a, inverse, inverse_low), count)
    store_columns(out, b + j, share(terms_b, inverse, inverse_low), count)
    store_columns(out, c + j, share(terms_c, inverse, inverse_low), count)
    store_columns(out, d + j, share(terms_d, inverse, inverse_low), count)


@inline
def write_quotients(
    x, start, x_outer, x_pitch, out, to, outer, pitch, rows, planes, count, high, low, tile, kept, room
):
    """Write e^x divided by the sums, from the last rows, which are still in a cache, to the first."""
    high, low = splat_group(tile, high), splat_group(tile, low)
    whole = count - count % lanes(out)
    for p in range(planes):
        slot = p * count
        for i in range((rows - 1) // 4 * 4, -1, -4):
            froms = four_rows(start + p * x_outer + i * x_pitch, x_pitch, rows - i)
            places = four_rows(to + p * outer + i * pitch, pitch, rows - i)
            for j in range(0, whole, lanes(out)):
                write_quotient(x, froms, kept, slot + j, room, high, low, out, places, j, None)
            if whole < count:
                write_quotient(x, froms, kept, slot + whole, room, high, low, out, places, whole, count - whole)


# fmt: off
@kernel(*PARAMETERS)
def softmax_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch,
    first, last, all_planes, n, inner, strip, chunk, temperature,
):
    """Write softmax of the strips first to last.

    Element i of column c of plane p stands at x[x_start + p * x_outer + i * x_pitch + c].
    """
    high, low = log2e_over(x, temperature)
    pitch = room = strip + 2 * lanes(x)
    kept, sums = room_for_columns(x, KEPT * room), np.empty(SUMS * room)
    tile = room_for_columns(x, (min(n, chunk) + 3) * pitch)
    for block in range(first, last):
        plane, planes, column, count = strip_of(block, strip, inner, all_planes)
        start, to = x_start + plane * x_outer + column, out_start + plane * out_outer + column
        clear(tile, planes * count, kept, sums, room)
        for i in range(0, n, chunk):
            rows = min(chunk, n - i)
            read_chunk(x, start + i * x_pitch, x_outer, x_pitch, rows, planes, count, tile, pitch, kept, room)
            ahead = place_after(block, last, i, x_start, x_outer, x_pitch, all_planes, n, inner, strip, chunk)
            # with more than one chunk to come, a result's place would be fetched much too soon: then always the same
            soon = soon_wanted(x, ahead, x_pitch, out, to, out_pitch if n <= chunk else 0, n, planes)
            sum_chunk(tile, pitch, rows, planes * count, tile, high, low, kept, sums, room, soon)
        odd = keep_inverses(tile, planes * count, high, kept, sums, room)
        rows_of_odd = odd_columns(x, start, x_outer, x_pitch, n, planes, count, odd, kept, room)
        for k in range(odd):
            careful_softmax(rows_of_odd, k * n, n, rows_of_odd, k * n, temperature)
        if n <= chunk:
            write_shares(tile, pitch, out, to, out_outer, out_pitch, n, planes, count, kept, room)
        else:
            write_quotients(
                x, start, x_outer, x_pitch, out, to, out_outer, out_pitch, n, planes, count, high, low, tile, kept, room
            )
        write_odd_columns(rows_of_odd, out, to, out_outer, out_pitch, n, planes, count, odd, kept, room)


@inline
def keep_logs(tile, slots, high, temperature, kept, sums, room):
    """Keep minus the logarithms of the sums of a strip in two parts.

    Return how many are NaN, and whether in some columns the largest element holds most of the sum.
    """
    odd, peaked = 0, 0
    for j in range(0, slots, 8):
        total, lost = sum_of(tile, j, high, kept, sums, room)
        a, b = log_in_parts(total, lost, pivots(tile, j, kept, room))
        log = a + b
        keep_in_two_parts(kept, FIRST * room + j, SECOND * room + j, 0.0 - log, (log - a) - b)
        odd += 8 - count_set(total == total)
        peaked += count_set(is_peaked(tile, j, temperature, kept, room))
    return odd, peaked > 0


@inline
def is_peaked(tile, j, temperature, kept, room):
    """Tell of which of 8 columns the largest element holds so much of the sum that its logarithm nearly vanishes."""
    log_share = load_wide(kept, MAXIMUM * room + j) / temperature + load_wide(kept, FIRST * room + j)
    return log_share >= choose(tile, -0.1625, -0.5)


@inline
def keep_logs_around_peaks(tile, slots, temperature, kept, sums, room):
    """Do the same for the columns with a peak, from the sums without it."""
    high, low = log2e_wide(temperature)
    for j in range(0, slots, 8):
        wanted = is_peaked(tile, j, temperature, kept, room)
        if count_set(wanted) == 0:
            continue
        maximum = load_wide(kept, MAXIMUM * room + j)
        scaled = maximum * high
        n = (scaled + MAGIC_DOUBLE) - MAGIC_DOUBLE
        peak, peak_low = exp2_in_parts(scaled - n, fma(maximum, high, 0.0 - scaled) + maximum * low)
        power = shift_exponent(splat_wide(1.0), (n - pivots(tile, j, kept, room)) + MAGIC_DOUBLE)
        peak, peak_low = peak * power, peak_low * power
        rest, rest_low = add_smaller(load_wide(sums, TOTAL * room + j), load_wide(sums, LOST * room + j))
        others = rest / peak
        others_low = (fma(0.0 - others, peak, rest) + fma(0.0 - others, peak_low, rest_low)) / peak
        u = others + 1.0
        a, b = log_in_parts(u, (others - (u - 1.0)) + others_low, 0.0)
        quotient = maximum / temperature
        quotient_low = fma(quotient, -temperature, maximum) / temperature
        log, rest = add_exactly(quotient, quotient_low + b, a)
        first, second = load_wide(kept, FIRST * room + j), load_wide(kept, SECOND * room + j)
        store(kept, FIRST * room + j, select(wanted, 0.0 - log, first))
        rest = ((0.0 - log) - load_wide(kept, FIRST * room + j)) - rest
        store(kept, SECOND * room + j, select(wanted, rest, second))


@inline
def sum_around_peaks(
    x, start, outer, pitch, n, planes, count, chunk, tile, tile_pitch, temperature, high, low, kept, sums, room
):
    """Sum the terms of a strip again without the largest elements."""
    clear_sums(planes * count, sums, room)
    for i in range(0, n, chunk):
        rows = min(chunk, n - i)
        if n > chunk:
            read_chunk(x, start + i * pitch, outer, pitch, rows, planes, count, tile, tile_pitch, kept, room)
        for j in range(0, planes * count, lanes(tile)):
            peaks = 0
            for k in range(j, j + lanes(tile), 8):
                peaks += count_set(is_peaked(tile, k, temperature, kept, room))
            if peaks > 0:
                maximum = load(kept, MAXIMUM * room + j)
                add_terms(tile, j, tile_pitch, rows, None, maximum, high, low, kept, sums, room, None)


@inline
def write_log_share(x, froms, kept, slot, room, out, places, j, count, scale, scale_low, lowest):
    """Write a vector of each of four rows of elements over the temperature less the logarithms of their sums."""
    log, log_low = load(kept, FIRST * room + slot), load(kept, SECOND * room + slot)
    from_a, from_b, from_c, from_d = froms
    a, b, c, d = places
    value_a = minus_log_sum(load_columns(x, from_a + j, count), lowest, scale, scale_low, log, log_low)
    value_b = minus_log_sum(load_columns(x, from_b + j, count), lowest, scale, scale_low, log, log_low)
    value_c = minus_log_sum(load_columns(x, from_c + j, count), lowest, scale, scale_low, log, log_low)
    value_d = minus_log_sum(load_columns(x, from_d + j, count), lowest, scale, scale_low, log, log_low)
    store_columns(out, a + j, value_a, count)
    store_columns(out, b + j, value_b, count)
    store_columns(out, c + j, value_c, count)
    store_columns(out, d + j, value_d, count)


@inline
def subtract_logs(
    x, start, x_outer, x_pitch, out, to, outer, pitch, rows, planes, count, temperature, kept, room
):
    """Write x over the temperature less the logarithms of the sums, from the last rows to the first."""
    scale, scale_low = one_over(out, temperature)
    scale, scale_low, lowest = splat(out, scale), splat(out, scale_low), splat(out, lowest_of(out))
    whole = count - count % lanes(out)
    for p in range(planes):
        slot = p * count
        for i in range((rows - 1) // 4 * 4, -1, -4):
            froms = four_rows(start + p * x_outer + i * x_pitch, x_pitch, rows - i)
            places = four_rows(to + p * outer + i * pitch, pitch, rows - i)
            for j in range(0, whole, lanes(out)):
                write_log_share(x, froms, kept, slot + j, room, out, places, j, None, scale, scale_low, lowest)
            if whole < count:
                rest = count - whole
                write_log_share(x, froms, kept, slot + whole, room, out, places, whole, rest, scale, scale_low, lowest)


# fmt: off
@kernel(*PARAMETERS)
def log_softmax_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch,
    first, last, all_planes, n, inner, strip, chunk, temperature,
):
    """Write log_softmax of the strips first to last, which lie as in `softmax_columns`."""
    high, low = log2e_over(x, temperature)
    pitch = room = strip + 2 * lanes(x)
    kept, sums = room_for_columns(x, KEPT * room), np.empty(SUMS * room)
    tile = room_for_columns(x, (min(n, chunk) + 3) * pitch)
    for block in range(first, last):
        plane, planes, column, count = strip_of(block, strip, inner, all_planes)
        start, to = x_start + plane * x_outer + column, out_start + plane * out_outer + column
        clear(tile, planes * count, kept, sums, room)
        for i in range(0, n, chunk):
            rows = min(chunk, n - i)
            read_chunk(x, start + i * x_pitch, x_outer, x_pitch, rows, planes, count, tile, pitch, kept, room)
            ahead = place_after(block, last, i, x_start, x_outer, x_pitch, all_planes, n, inner, strip, chunk)
            soon = soon_wanted(x, ahead, x_pitch, None, 0, 0, n, planes)
            sum_chunk(tile, pitch, rows, planes * count, None, high, low, kept, sums, room, soon)
        odd, peaked = keep_logs(tile, planes * count, high, temperature, kept, sums, room)
        if peaked:
            sum_around_peaks(
                x, start, x_outer, x_pitch, n, planes, count, chunk, tile, pitch, temperature,
                high, low, kept, sums, room,
            )
            keep_logs_around_peaks(tile, planes * count, temperature, kept, sums, room)
        rows_of_odd = odd_columns(x, start, x_outer, x_pitch, n, planes, count, odd, kept, room)
        for k in range(odd):
            careful_log_softmax(rows_of_odd, k * n, n, rows_of_odd, k * n, temperature)
        subtract_logs(
            x, start, x_outer, x_pitch, out, to, out_outer, out_pitch, n, planes, count, temperature, kept, room
        )
        write_odd_columns(rows_of_odd, out, to, out_outer, out_pitch, n, planes, count, odd, kept, room)


# fmt: on
@inline
def column_to_row(x, start, pitch, n, row):
    """Copy a column into a row."""
    for i in range(n):
        copy_one(x, start + i * pitch, row, i)


# fmt: off
@kernel(*PARAMETERS)
def logsumexp_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch,
    first, last, all_planes, n, inner, strip, chunk, temperature,
):
    """Write logsumexp of the strips first to last to out[out_start + p * out_outer + column]."""
    high, low = log2e_over(x, 1.0)
    pitch = room = strip + 2 * lanes(x)
    kept, sums = room_for_columns(x, KEPT * room), np.empty(SUMS * room)
    tile, row = room_for_columns(x, (min(n, chunk) + 3) * pitch), np.empty(n, x.dtype)
    for block in range(first, last):
        plane, planes, column, count = strip_of(block, strip, inner, all_planes)
        start, to = x_start + plane * x_outer + column, out_start + plane * out_outer + column
        clear(tile, planes * count, kept, sums, room)
        for i in range(0, n, chunk):
            rows = min(chunk, n - i)
            read_chunk(x, start + i * x_pitch, x_outer, x_pitch, rows, planes, count, tile, pitch, kept, room)
            ahead = place_after(block, last, i, x_start, x_outer, x_pitch, all_planes, n, inner, strip, chunk)
            soon = soon_wanted(x, ahead, x_pitch, None, 0, 0, n, planes)
            sum_chunk(tile, pitch, rows, planes * count, None, high, low, kept, sums, room, soon)
        for j in range(0, planes * count, 8):
            total, lost = sum_of(tile, j, high, kept, sums, room)
            a, b = log_in_parts(total, lost, pivots(tile, j, kept, room))
            result = a + b
            store(sums, TOTAL * room + j, result)
            if count_set(result == result) < 8 or count_set(absolute(result) < near_zero(x)) > 0:
                for slot in range(j, min(j + 8, planes * count)):
                    value = sums[TOTAL * room + slot]
                    if math.isnan(value) or is_delicate(x, value):
                        column_to_row(x, start + slot // count * x_outer + slot % count, x_pitch, n, row)
                        sums[TOTAL * room + slot] = careful_logsumexp(row, 0, n)
        for p in range(planes):
            for j in range(0, count, 8):
                store_first(out, to + p * out_outer + j, load_wide(sums, TOTAL * room + p * count + j), count - j)
# fmt: on
