"""`auto` on columns: another axis than the reduced one is contiguous, and vectors run across it.

x has the shape (planes, n, inner); axis 1 is reduced. A strip of columns (`strips.py`) is done at a time.

softmax        one exp an element, kept in the result and scaled from there; in a tile where the result is the input or
               has a narrower type; two where columns are too long for that.
log_softmax    one exp an element.
logsumexp      one exp an element.

What a second pass reads it reads from the last row to the first, so that what was read last is still in a cache.
Columns with NaN, inf or huge numbers are brought into rows and done the careful way.

Error bounds, in units in the last place: softmax 2, log_softmax 2, logsumexp 1 (one ulp of 1.0 near 0).
"""

import math

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful_rows import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX, carefully
from fastsoftmax.kernels.column_logs import keep_logs
from fastsoftmax.kernels.column_pivots import KEPT, SUMS, TOTAL, Kept, clear, keep_sums, pivots
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
from fastsoftmax.kernels.column_sums import settle, settle_all, sum_chunk, sum_of, sum_strip
from fastsoftmax.kernels.exponential import log2e_over
from fastsoftmax.kernels.logarithm import log_of_sum
from fastsoftmax.kernels.rows import is_delicate, near_zero
from fastsoftmax.kernels.strips import (
    CHUNK,
    Matrix,
    bring,
    can_be_read,
    chunk_of,
    chunks_of,
    either,
    head_of,
    last_column,
    part_of,
    rows_from,
    slots_of,
    strip_of,
)
from fastsoftmax.kernels.wanted_soon import chunk_after, soon_wanted
from fastsoftmax.simd import (
    WIDE,
    WRITES_WHOLE_LINES,
    absolute,
    copy_one,
    count_set,
    empty,
    empty_like,
    empty_wide,
    flush_small,
    in_a_line,
    keep_alive,
    lanes,
    load_wide,
    pointer_to,
    restore,
    store_first,
)

PARAMETERS = ("in", "int", "int", "int", "out", *["int"] * 11, "real")


LINES_IN_CACHES = 2**17  # of a result, 8 MiB, up to which it need not be asked for where whole lines are not read first
FETCHED = 2**13  # vectors of a strip of a result up to which log_softmax has it fetched while it sums


@inline
def always_the_first(matrix):
    """Return a matrix of the first row again and again: what is fetched much too soon is better not fetched."""
    return Matrix(matrix.data, matrix.start, matrix.outer, 0)


@inline
def is_far(out, elements):
    """Tell whether a result of so many elements is to be fetched before it is written."""
    return not WRITES_WHOLE_LINES or elements > LINES_IN_CACHES * in_a_line(out)


@inline
def results_of_odd(careful, x, n, strip, has_odd, kept, temperature):
    """Return how many columns the fast way cannot do, and their results, in rows, as the careful way has them.

    And how many of them `carefully` has left undone.
    """
    odd, left = count_odd(kept, strip, has_odd), 0
    rows = empty_like(x.data, odd * n)
    copy_odd_columns(x, n, strip, odd, kept, rows)
    for k in range(odd):
        left += carefully(careful, pointer_to(rows), k * n, n, pointer_to(rows), k * n, temperature)
    keep_alive(rows)
    return odd, rows, left


@inline
def room_for(x, width, tile_rows):
    """Return room for what is kept of the columns of a strip and for rows of a tile, and what is kept, as such.

    The arrays must be kept alive by the kernel.
    """
    room = width + 4 * lanes(x)  # a head, what comes twice, a vector that is not whole, and one behind all
    numbers, tile_room = empty(x, KEPT * room), empty(x, tile_rows * room)
    return numbers, tile_room, Kept(pointer_to(numbers), empty_wide(SUMS * room), room)


# --- softmax --------------------------------------------------------------------------------------------------------


@kernel(*PARAMETERS, later=SOFTMAX)
def softmax_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch,
    first, last, all_planes, n, inner, width, tile_rows, in_out, temperature, careful,
):  # fmt: skip
    """Write softmax of the strips first to last, each of up to `width` columns.

    Element i of column c of plane p stands at x[x_start + p * x_outer + i * x_pitch + c], its result in `out`
    likewise. Terms are kept there where that is possible and `in_out` is not 0, or in a tile of so many rows. If it is
    2 they are computed along the rows.
    """
    high, low = log2e_over(x, temperature)
    left = 0
    numbers, tile_room, kept = room_for(x, width, CHUNK + tile_rows)
    magic_room = empty(x, chunks_of(n) * kept.room)
    magics = Matrix(pointer_to(magic_room), 0, 0, kept.room)
    all_x = Matrix(pointer_to(x), x_start, x_outer, x_pitch)
    all_out = Matrix(pointer_to(out), out_start, out_outer, out_pitch)
    head = head_of(all_out, inner, all_planes) if in_out > 0 else head_of(all_x, inner, all_planes)
    for block in range(first, last):
        strip = strip_of(x, block, width, inner, all_planes, head)
        if strip.count == 0:
            continue
        x_here, out_here = part_of(all_x, strip), part_of(all_out, strip)
        tile = Matrix(pointer_to(tile_room), 0, strip.count, kept.room)
        keeps_in_out = can_be_read(x_here, strip) and in_out > 0
        is_kept, along_rows = keeps_in_out or n <= tile_rows, keeps_in_out and in_out == 2
        terms = either(out_here, rows_from(tile, CHUNK), keeps_in_out)
        slots, column = slots_of(kept.numbers, strip), last_column(x_here, strip)
        clear(kept, slots)
        varies = False
        for c in range(chunks_of(n)):
            i, rows = chunk_of(c, n)
            source = bring(rows_from(x_here, i), rows, strip, tile)
            x_soon = chunk_after(all_x, block, c, last, all_planes, n, inner, width, head)
            out_soon = rows_from(out_here, i)
            if keeps_in_out and is_far(out, all_planes * n * inner):
                out_soon = chunk_after(all_out, block, c, last, all_planes, n, inner, width, head)
            elif keeps_in_out or not is_kept:
                out_soon = always_the_first(out_here)
            soon = soon_wanted(x_soon, strip, slots), soon_wanted(out_soon, strip, slots)
            terms_here = rows_from(terms, i if is_kept else 0)  # where they are not kept, no one reads them
            varies = sum_chunk(
                source, rows, strip, column, c == 0, varies, terms_here, None, kept, high, low, soon, along_rows
            )
            keep_magics(kept, slots, rows_from(magics, c))
        has_odd = keep_inverses(kept, slots, high)
        settle_all(kept, strip, column)
        odd, rows_of_odd, left_here = results_of_odd(careful, x_here, n, strip, has_odd, kept, temperature)
        left += left_here
        mode = flush_small()
        if is_kept:
            write_shares(terms, out_here, n, strip, column, magics, kept)
        else:
            write_quotients(x_here, out_here, n, strip, high, low, kept)
        restore(mode)
        write_odd_columns(rows_of_odd, out_here, n, strip, odd, kept)
    keep_alive(numbers)
    keep_alive(tile_room)
    keep_alive(magic_room)
    return left


# --- log_softmax ----------------------------------------------------------------------------------------------------


@kernel(*PARAMETERS, later=LOG_SOFTMAX)
def log_softmax_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch,
    first, last, all_planes, n, inner, width, tile_rows, in_out, temperature, careful,
):  # fmt: skip
    """Write log_softmax of the strips first to last, which lie as in `softmax_columns`."""
    high, low = log2e_over(x, temperature)
    left = 0
    numbers, tile_room, kept = room_for(x, width, CHUNK)
    all_x = Matrix(pointer_to(x), x_start, x_outer, x_pitch)
    all_out = Matrix(pointer_to(out), out_start, out_outer, out_pitch)
    head = head_of(all_x, inner, all_planes)
    for block in range(first, last):
        strip = strip_of(x, block, width, inner, all_planes, head)
        if strip.count == 0:
            continue
        tile = Matrix(pointer_to(tile_room), 0, strip.count, kept.room)
        x_here, out_here = part_of(all_x, strip), part_of(all_out, strip)
        out_soon = out_here if n * width <= FETCHED * lanes(x) else always_the_first(out_here)
        slots, column = sum_strip(
            all_x, block, last, all_planes, n, inner, width, head, strip, tile, True, kept, high, low, out_soon
        )
        has_odd = keep_logs(kept, slots, high, temperature)
        settle_all(kept, strip, column)
        odd, rows_of_odd, left_here = results_of_odd(careful, x_here, n, strip, has_odd, kept, temperature)
        left += left_here
        subtract_logs(x_here, out_here, n, strip, temperature, kept, None)
        write_odd_columns(rows_of_odd, out_here, n, strip, odd, kept)
    keep_alive(numbers)
    keep_alive(tile_room)
    return left


# --- logsumexp ------------------------------------------------------------------------------------------------------


@inline
def column_to_row(x, slot, n, strip, row):
    """Copy a column into a row."""
    start = x.start + slot // strip.count * x.outer + slot % strip.count
    for i in range(n):
        copy_one(x.data, start + i * x.pitch, row, i)


@inline
def write_logs_of_sums(careful, x, n, strip, last, kept, high, row, out, to, outer):
    """Write the logarithms of the sums of a strip; the row is room for a column that must be done the careful way.

    Returns how many of these `carefully` has left undone.
    """
    numbers, sums, room, has_odd, left = kept.numbers, kept.sums, kept.room, False, 0
    for j in range(0, slots_of(numbers, strip), WIDE):
        total, lost = sum_of(kept, j, high)
        result = log_of_sum(numbers, total, lost, pivots(kept, j))
        keep_sums(kept, j, result, lost)
        is_odd = count_set(result == result) < WIDE or count_set(absolute(result) < near_zero(numbers)) > 0
        has_odd = has_odd or is_odd
    settle(sums, TOTAL * room, strip, last, numbers)
    for slot in range(strip.planes * strip.count if has_odd else 0):
        value = sums[TOTAL * room + slot]
        if math.isnan(value) or is_delicate(numbers, value):
            column_to_row(x, slot, n, strip, row)
            left += carefully(careful, row, 0, n, row, 0, 1.0)
            copy_one(row, 0, sums, TOTAL * room + slot)
    for p in range(strip.planes):
        for j in range(0, strip.count, WIDE):
            result = load_wide(sums, TOTAL * room + p * strip.count + j)
            store_first(out, to + p * outer + j, result, strip.count - j)
    return left


@kernel(*PARAMETERS, later=LOGSUMEXP)
def logsumexp_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch,
    first, last, all_planes, n, inner, width, tile_rows, in_out, temperature, careful,
):  # fmt: skip
    """Write logsumexp of the strips first to last to out[out_start + p * out_outer + column]."""
    high, low = log2e_over(x, 1.0)
    left = 0
    numbers, tile_room, kept = room_for(x, width, CHUNK)
    row = empty_like(x, n)
    all_x = Matrix(pointer_to(x), x_start, x_outer, x_pitch)
    head = head_of(all_x, inner, all_planes)
    for block in range(first, last):
        strip = strip_of(x, block, width, inner, all_planes, head)
        if strip.count == 0:
            continue
        tile = Matrix(pointer_to(tile_room), 0, strip.count, kept.room)
        _, column = sum_strip(
            all_x, block, last, all_planes, n, inner, width, head, strip, tile, None, kept, high, low, None
        )
        to = out_start + strip.plane * out_outer + strip.column
        here = part_of(all_x, strip)
        left += write_logs_of_sums(careful, here, n, strip, column, kept, high, pointer_to(row), out, to, out_outer)
    keep_alive(row)
    keep_alive(numbers)
    keep_alive(tile_room)
    return left
