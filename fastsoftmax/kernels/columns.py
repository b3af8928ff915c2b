"""`auto` on columns: another axis than the reduced one is contiguous, and vectors run across it.

x has the shape (planes, n, inner); axis 1 is reduced. A strip of columns (`strips.py`) is done at a time.

softmax        one exp an element, kept in the result and scaled from there; in a tile where the result is the input or
               has a narrower type; two where columns are too long for that.
log_softmax    one exp an element. In columns where the largest element holds most of the sum, the others are summed
               once more without it.
logsumexp      one exp an element.

What a second pass reads it reads from the last row to the first, so that what was read last is still in a cache.
Columns with NaN, inf or huge numbers are brought into a row, one by one, and done the careful way.

Error bounds, in units in the last place: softmax 2, log_softmax 2, logsumexp 1 (one ulp of 1.0 near 0).
"""

import math

import numpy as np

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful import careful_log_softmax, careful_logsumexp, careful_softmax
from fastsoftmax.kernels.column_results import (
    copy_odd_columns,
    count_odd,
    keep_inverses,
    keep_magics,
    subtract_logs,
    write_odd_columns,
    write_quotients,
    write_shares,
)
from fastsoftmax.kernels.column_sums import (
    FIRST,
    FLOOR,
    KEPT,
    MAGIC,
    MAXIMUM,
    SECOND,
    SUMS,
    TOTAL,
    Kept,
    add_sums,
    clear,
    clear_sums,
    keep,
    keep_sums,
    pivots,
    recall,
    recall_wide,
    settle,
    settle_all,
    sum_chunk,
    sum_down,
    sum_of,
    sum_strip,
    sums_of,
)
from fastsoftmax.kernels.exponential import (
    MAGIC_DOUBLE,
    add_exactly,
    add_smaller,
    log2e_over,
    log2e_wide,
)
from fastsoftmax.kernels.extended import exp2_in_parts
from fastsoftmax.kernels.logarithm import log_in_parts
from fastsoftmax.kernels.row_sums import keep_in_two_parts
from fastsoftmax.kernels.rows import is_delicate, near_zero
from fastsoftmax.kernels.storage import room_for_columns
from fastsoftmax.kernels.strips import (
    CHUNK,
    Matrix,
    bring,
    can_be_read,
    chunk_after,
    chunks_of,
    either,
    last_column,
    part_of,
    rows_from,
    slots_of,
    soon_wanted,
    strip_of,
)
from fastsoftmax.simd import (
    absolute,
    choose,
    copy_one,
    count_set,
    fma,
    keep_alive,
    lanes,
    load_wide,
    pointer_to,
    select,
    shift_exponent,
    splat_wide,
    store_first,
)

PARAMETERS = ("in", "int", "int", "int", "out", *["int"] * 11, "real")


# --- softmax --------------------------------------------------------------------------------------------------------


@kernel(*PARAMETERS)
def softmax_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch,
    first, last, all_planes, n, inner, width, tile_rows, in_out, temperature,
):  # fmt: skip
    """Write softmax of the strips first to last, each of up to `width` columns.

    Element i of column c of plane p stands at x[x_start + p * x_outer + i * x_pitch + c], its result in `out`
    likewise. Terms are kept there where that is possible and `in_out` is 1, or in a tile of so many rows.
    """
    high, low = log2e_over(x, temperature)
    room = width + 2 * lanes(x)
    numbers, sums = room_for_columns(x, KEPT * room), np.empty(SUMS * room)
    tile_room = room_for_columns(x, (CHUNK + tile_rows) * room)
    magic_pitch = (width + lanes(x) - 1) // lanes(x) * lanes(x)
    magic_room = room_for_columns(x, chunks_of(n) * magic_pitch + lanes(x))
    kept, magics = Kept(pointer_to(numbers), sums, room), Matrix(pointer_to(magic_room), 0, 0, magic_pitch)
    all_x = Matrix(pointer_to(x), x_start, x_outer, x_pitch)
    all_out = Matrix(pointer_to(out), out_start, out_outer, out_pitch)
    for block in range(first, last):
        strip = strip_of(block, width, inner, all_planes)
        x_here, out_here = part_of(all_x, strip), part_of(all_out, strip)
        tile = Matrix(pointer_to(tile_room), 0, strip.count, room)
        keeps_in_out = can_be_read(x_here, strip) and in_out == 1
        is_kept = keeps_in_out or n <= tile_rows
        terms = either(out_here, rows_from(tile, CHUNK), keeps_in_out)
        slots, column = slots_of(kept.numbers, strip), last_column(x_here, strip)
        clear(kept, slots)
        for c in range(chunks_of(n)):
            i = c * CHUNK
            rows = min(CHUNK, n - i)
            source = bring(rows_from(x_here, i), rows, strip, tile)
            x_soon = chunk_after(all_x, block, c, last, all_planes, n, inner, width)
            out_soon = rows_from(out_here, i)
            if keeps_in_out:
                out_soon = chunk_after(all_out, block, c, last, all_planes, n, inner, width)
            elif not is_kept:  # it would be fetched much too soon: then always the same
                out_soon = Matrix(out_here.data, out_here.start, out_here.outer, 0)
            soon = soon_wanted(x_soon, strip, slots), soon_wanted(out_soon, strip, slots)
            terms_here = rows_from(terms, i if is_kept else 0)
            sum_chunk(source, rows, slots, column, c == 0, terms_here, kept, high, low, soon)
            keep_magics(kept, slots, rows_from(magics, c))
        has_odd = keep_inverses(kept, slots, high)
        settle_all(kept, strip, column)
        odd = count_odd(kept, strip, has_odd)
        rows_of_odd = np.empty(odd * n, x.dtype)
        copy_odd_columns(x_here, n, strip, odd, kept, rows_of_odd)
        for k in range(odd):
            careful_softmax(rows_of_odd, k * n, n, rows_of_odd, k * n, temperature)
        if is_kept:
            write_shares(terms, out_here, n, strip, column, magics, kept)
        else:
            write_quotients(x_here, out_here, n, strip, high, low, kept)
        write_odd_columns(rows_of_odd, out_here, n, strip, odd, kept)
    keep_alive(numbers)
    keep_alive(tile_room)
    keep_alive(magic_room)


# --- log_softmax ----------------------------------------------------------------------------------------------------


@inline
def keep_logs(kept, slots, high, temperature):
    """Keep minus the logarithms of the sums of a strip in two parts.

    Tell whether some are NaN, and whether in some columns the largest element holds most of the sum.
    """
    has_odd, has_peaks = False, False
    for j in range(0, slots, 8):
        total, lost = sum_of(kept, j, high)
        a, b = log_in_parts(total, lost, pivots(kept, j))
        log = a + b
        keep_in_two_parts(kept.numbers, FIRST * kept.room + j, SECOND * kept.room + j, 0.0 - log, (log - a) - b)
        has_odd = has_odd or count_set(total == total) < 8
        has_peaks = has_peaks or count_set(is_peaked(kept, j, temperature)) > 0
    return has_odd, has_peaks


@inline
def is_peaked(kept, j, temperature):
    """Tell of which of 8 columns the largest element holds so much of the sum that its logarithm nearly vanishes."""
    log_share = recall_wide(kept, MAXIMUM, j) / temperature + recall_wide(kept, FIRST, j)
    return log_share >= choose(kept.numbers, -0.1625, -0.5)


@inline
def keep_logs_around_peaks(kept, slots, temperature):
    """Do the same for the columns with a peak, from the sums without it."""
    high, low = log2e_wide(temperature)
    for j in range(0, slots, 8):
        wanted = is_peaked(kept, j, temperature)
        if count_set(wanted) == 0:
            continue
        maximum = recall_wide(kept, MAXIMUM, j)
        scaled = maximum * high
        n = (scaled + MAGIC_DOUBLE) - MAGIC_DOUBLE
        peak, peak_low = exp2_in_parts(scaled - n, fma(maximum, high, 0.0 - scaled) + maximum * low)
        power = shift_exponent(splat_wide(1.0), (n - pivots(kept, j)) + MAGIC_DOUBLE)
        peak, peak_low = peak * power, peak_low * power
        rest, rest_low = add_smaller(*sums_of(kept, j))
        others = rest / peak
        others_low = (fma(0.0 - others, peak, rest) + fma(0.0 - others, peak_low, rest_low)) / peak
        u = others + 1.0
        a, b = log_in_parts(u, (others - (u - 1.0)) + others_low, 0.0)
        quotient = maximum / temperature
        quotient_low = fma(quotient, -temperature, maximum) / temperature
        log, rest = add_exactly(quotient, quotient_low + b, a)
        keep(kept, FIRST, j, select(wanted, 0.0 - log, recall_wide(kept, FIRST, j)))
        rest = ((0.0 - log) - recall_wide(kept, FIRST, j)) - rest
        keep(kept, SECOND, j, select(wanted, rest, recall_wide(kept, SECOND, j)))


@inline
def sum_around_peaks(x, n, strip, slots, last, tile, temperature, kept, high, low):
    """Sum the terms of a strip again without the largest elements."""
    clear_sums(kept, slots)
    for c in range(chunks_of(n)):
        i = c * CHUNK
        rows = min(CHUNK, n - i)
        source = bring(rows_from(x, i), rows, strip, tile)
        for slot in range(0, slots, lanes(kept.numbers)):
            peaks = 0
            for k in range(slot, slot + lanes(kept.numbers), 8):
                peaks += count_set(is_peaked(kept, k, temperature))
            if peaks > 0:
                j, maximum = min(slot, last), recall(kept, MAXIMUM, slot)
                floor, magic = recall(kept, FLOOR, slot), recall(kept, MAGIC, slot)
                total, lost, _ = sum_down(source, j, rows, None, maximum, floor, magic, high, low, (None, None))
                add_sums(kept, slot, total, lost, 0.0)


@kernel(*PARAMETERS)
def log_softmax_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch,
    first, last, all_planes, n, inner, width, tile_rows, in_out, temperature,
):  # fmt: skip
    """Write log_softmax of the strips first to last, which lie as in `softmax_columns`."""
    high, low = log2e_over(x, temperature)
    room = width + 2 * lanes(x)
    numbers, sums = room_for_columns(x, KEPT * room), np.empty(SUMS * room)
    tile_room = room_for_columns(x, CHUNK * room)
    kept = Kept(pointer_to(numbers), sums, room)
    all_x = Matrix(pointer_to(x), x_start, x_outer, x_pitch)
    all_out = Matrix(pointer_to(out), out_start, out_outer, out_pitch)
    for block in range(first, last):
        strip = strip_of(block, width, inner, all_planes)
        tile = Matrix(pointer_to(tile_room), 0, strip.count, room)
        x_here, out_here = part_of(all_x, strip), part_of(all_out, strip)
        slots, column = sum_strip(all_x, block, last, all_planes, n, inner, width, strip, tile, kept, high, low)
        has_odd, has_peaks = keep_logs(kept, slots, high, temperature)
        if has_peaks:
            sum_around_peaks(x_here, n, strip, slots, column, tile, temperature, kept, high, low)
            keep_logs_around_peaks(kept, slots, temperature)
        settle_all(kept, strip, column)
        odd = count_odd(kept, strip, has_odd)
        rows_of_odd = np.empty(odd * n, x.dtype)
        copy_odd_columns(x_here, n, strip, odd, kept, rows_of_odd)
        for k in range(odd):
            careful_log_softmax(rows_of_odd, k * n, n, rows_of_odd, k * n, temperature)
        subtract_logs(x_here, out_here, n, strip, temperature, kept)
        write_odd_columns(rows_of_odd, out_here, n, strip, odd, kept)
    keep_alive(numbers)
    keep_alive(tile_room)


# --- logsumexp ------------------------------------------------------------------------------------------------------


@inline
def column_to_row(x, slot, n, strip, row):
    """Copy a column into a row."""
    start = x.start + slot // strip.count * x.outer + slot % strip.count
    for i in range(n):
        copy_one(x.data, start + i * x.pitch, row, i)


@kernel(*PARAMETERS)
def logsumexp_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch,
    first, last, all_planes, n, inner, width, tile_rows, in_out, temperature,
):  # fmt: skip
    """Write logsumexp of the strips first to last to out[out_start + p * out_outer + column]."""
    high, low = log2e_over(x, 1.0)
    room = width + 2 * lanes(x)
    numbers, sums = room_for_columns(x, KEPT * room), np.empty(SUMS * room)
    tile_room, row = room_for_columns(x, CHUNK * room), np.empty(n, x.dtype)
    kept = Kept(pointer_to(numbers), sums, room)
    all_x = Matrix(pointer_to(x), x_start, x_outer, x_pitch)
    for block in range(first, last):
        strip = strip_of(block, width, inner, all_planes)
        tile = Matrix(pointer_to(tile_room), 0, strip.count, room)
        slots, column = sum_strip(all_x, block, last, all_planes, n, inner, width, strip, tile, kept, high, low)
        has_odd = False
        for j in range(0, slots, 8):
            total, lost = sum_of(kept, j, high)
            a, b = log_in_parts(total, lost, pivots(kept, j))
            result = a + b
            keep_sums(kept, j, result, lost)
            is_odd = count_set(result == result) < 8 or count_set(absolute(result) < near_zero(x)) > 0
            has_odd = has_odd or is_odd
        settle(sums, TOTAL * room, strip.count, column, lanes(x))
        for slot in range(strip.planes * strip.count if has_odd else 0):
            value = sums[TOTAL * room + slot]
            if math.isnan(value) or is_delicate(x, value):
                column_to_row(part_of(all_x, strip), slot, n, strip, row)
                sums[TOTAL * room + slot] = careful_logsumexp(row, 0, n)
        to = out_start + strip.plane * out_outer + strip.column
        for p in range(strip.planes):
            for j in range(0, strip.count, 8):
                result = load_wide(sums, TOTAL * room + p * strip.count + j)
                store_first(out, to + p * out_outer + j, result, strip.count - j)
    keep_alive(numbers)
    keep_alive(tile_room)
