"""`auto` on tall matrices of few columns, which are folded: as many rows as make some vectors count as one row.

So all lanes of a vector have elements, be there ever so few columns, and none of them is copied. Each column is then
some columns of the folded matrix, a *share* in each: these are summed as any columns are (`column_sums.py`), each with
a pivot of its own, and united. What is left of the last row comes as a chunk of its own, filled up with -inf.

Error bounds, in units in the last place: softmax 2, log_softmax 2, logsumexp 1 (one ulp of 1.0 near 0).
"""

import collections
import math

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful_rows import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX
from fastsoftmax.kernels.column_logs import keep_logs
from fastsoftmax.kernels.column_pivots import (
    FLOOR,
    HELD,
    HELD_OUT,
    LARGEST,
    LOST,
    MAGIC,
    PART,
    PART_LOST,
    PART_REST,
    TOTAL,
    clear,
    keep,
    keep_sums,
    raise_pivots,
    recall,
    recall_wide,
    sums_of,
)
from fastsoftmax.kernels.column_results import (
    keep_inverses,
    keep_magics,
    subtract_logs,
    write_odd_columns,
    write_quotients,
    write_shares,
)
from fastsoftmax.kernels.column_sums import settle, sum_chunk
from fastsoftmax.kernels.columns import (
    PARAMETERS,
    always_the_first,
    is_far,
    results_of_odd,
    room_for,
    write_logs_of_sums,
)
from fastsoftmax.kernels.exponential import add_exactly, factored_exponential, log2e_over
from fastsoftmax.kernels.strips import (
    CHUNK,
    Matrix,
    Strip,
    bring,
    can_be_read,
    chunk_of,
    chunks_of,
    either,
    last_column,
    rows_from,
    slots_of,
    soon_wanted,
)
from fastsoftmax.simd import (
    WIDE,
    empty,
    empty_like,
    flush_small,
    keep_alive,
    lanes,
    larger,
    load_first,
    pointer_to,
    restore,
    splat,
    store,
)

#: Columns of a plane as it is, and folded, as strips; the whole rows of the latter, and the elements that are left.
Fold = collections.namedtuple("Fold", "plane strip rows rest")


@inline
def fold_of(n, inner, width):
    """Return how planes of n times `inner` elements are folded to rows of `width`."""
    rows = n * inner // width
    return Fold(Strip(0, 1, 0, inner), Strip(0, 1, 0, width), rows, n * inner - rows * width)


@inline
def folded(data, start, fold):
    """Return the folded matrix that begins at data[start]."""
    return Matrix(data, start, 0, fold.strip.count)


@inline
def unfolded(matrix, fold):
    """Return the matrix as it is."""
    return Matrix(matrix.data, matrix.start, 0, fold.plane.count)


@inline
def piece_of(fold, is_rest):
    """Return (first row, rows, strip) of the whole rows of a folded matrix, or of what is left."""
    return (fold.rows, 1, Strip(0, 1, 0, fold.rest)) if is_rest else (0, fold.rows, fold.strip)


@inline
def bring_chunk(x, c, fold, tile):
    """Return where vectors of a chunk can be read, and its rows; the last is the rest, in one row."""
    first, count = chunk_of(c, fold.rows)
    if count > 0:
        return bring(rows_from(x, first), count, fold.strip, tile), count
    for j in range(0, fold.strip.count, lanes(tile.data)):
        left = min(lanes(tile.data), max(fold.rest - j, 0))
        store(tile.data, tile.start + j, load_first(x.data, x.start + fold.rows * x.pitch + j, left))
    return either(x, tile, False), 1


@inline
def settle_sums(kept, strip, last):
    """Settle what uniting needs."""
    for what in (LARGEST, HELD, MAGIC, FLOOR):
        settle(kept.numbers, what * kept.room, strip.count, last, lanes(kept.numbers))
    for what in (TOTAL, LOST):
        settle(kept.sums, what * kept.room, strip.count, last, lanes(kept.numbers))


@inline
def terms_of_chunk(terms, tile, c, fold, keeps):
    """Return where the terms of a chunk go, unless `terms` is None: what is not kept, as of the rest, no one reads."""
    if terms is None:
        return None
    return either(rows_from(terms, c * CHUNK), rows_from(tile, CHUNK), keeps and c < chunks_of(fold.rows))


@inline
def number_of(kept, what, j):
    """Return a number of one column."""
    return kept.numbers[what * kept.room + j]


@inline
def unite_largest(kept, columns, width, holds):
    """Give the shares of each column its largest element. Unless `holds` is None, only the largest of all is held out.

    What else was held out by a share is kept as HELD_OUT, -inf by the one that holds it still.
    """
    for j in range(columns):
        largest, holder = number_of(kept, LARGEST, j), j
        for k in range(j + columns, width, columns):
            largest = max(largest, number_of(kept, LARGEST, k))
            if holds is not None and number_of(kept, HELD, k) > number_of(kept, HELD, holder):
                holder = k
        held = number_of(kept, HELD, holder)
        for k in range(j, width, columns):
            if holds is not None:
                released = number_of(kept, HELD, k) if k != holder else -math.inf
                kept.numbers[HELD_OUT * kept.room + k] = released
                largest = max(largest, released)
        for k in range(j, width, columns):
            kept.numbers[LARGEST * kept.room + k] = largest
            kept.numbers[HELD * kept.room + k] = held


@inline
def add_released(kept, width, high, low):
    """Add the terms of what is not held out any more."""
    x = kept.numbers
    for j in range(0, width, lanes(x)):
        v = larger(recall(kept, FLOOR, j), recall(kept, HELD_OUT, j))
        large, a, b, _ = factored_exponential(v, splat(x, high), splat(x, low), recall(kept, MAGIC, j))
        keep(kept, PART, j, large)
        keep(kept, PART_LOST, j, a)
        keep(kept, PART_REST, j, b)
    for j in range(0, width, WIDE):
        total, lost = add_exactly(*sums_of(kept, j), recall_wide(kept, PART, j))
        small = recall_wide(kept, PART_LOST, j) * recall_wide(kept, PART_REST, j)
        keep_sums(kept, j, *add_exactly(total, lost, small))


@inline
def unite(kept, columns, width, holds, high, low):
    """Give the shares of each column, which are `columns` apart, its sum, its pivot and its largest element."""
    unite_largest(kept, columns, width, holds)
    for j in range(0, width, lanes(kept.numbers)):
        raise_pivots(kept, j, high, True)
    if holds is not None:
        add_released(kept, width, high, low)
    totals, losts = TOTAL * kept.room, LOST * kept.room
    for j in range(columns):
        total, lost = 0.0, 0.0
        for k in range(j, width, columns):
            total, lost = add_exactly(total, lost + kept.sums[losts + k], kept.sums[totals + k])
        for k in range(j, width, columns):
            kept.sums[totals + k], kept.sums[losts + k] = total, lost


@inline
def sum_folded(x, fold, tile, terms, keeps, out, magics, holds, kept, high, low):
    """Sum the columns of a folded matrix, and unite those that are shares of the same; `out` is fetched meanwhile.

    Unless `terms` is None, that is where terms of rows are kept if `keeps` says so, and `magics` where the pivots of
    each chunk are. Returns where its slots end, and its last vector begins.
    """
    strip = fold.strip
    slots, last = slots_of(kept.numbers, strip), last_column(x, strip)
    clear(kept, slots)
    varies = False
    for c in range(chunks_of(fold.rows) + min(fold.rest, 1)):
        source, count = bring_chunk(x, c, fold, tile)
        x_soon = soon_wanted(rows_from(x, (c + 1) * CHUNK), strip, slots)
        soon = x_soon, None if out is None else soon_wanted(rows_from(out, (c + 1) * CHUNK), strip, slots)
        terms_here = terms_of_chunk(terms, tile, c, fold, keeps)
        varies = sum_chunk(source, count, slots, last, c == 0, varies, terms_here, holds, kept, high, low, soon)
        if terms is not None:
            keep_magics(kept, slots, rows_from(magics, c))
    settle_sums(kept, strip, last)
    unite(kept, fold.plane.count, strip.count, holds, high, low)
    return slots, last


@kernel(*PARAMETERS, later=SOFTMAX)
def softmax_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch,
    first, last, all_planes, n, inner, width, tile_rows, in_out, temperature, careful,
):  # fmt: skip
    """Write softmax of the planes first to last, as in `columns.py`, folded to rows of `width`.

    Terms are kept in `out` where that is possible and `in_out` is 1, or e^x is computed twice. Rows of the matrices lie
    behind one another, a multiple of them makes `width`; `x_pitch`, `out_pitch`, `all_planes` and `tile_rows` do
    nothing.
    """
    high, low = log2e_over(x, temperature)
    fold, left = fold_of(n, inner, width), 0
    numbers, tile_room, kept = room_for(x, width, 2 * CHUNK)
    magic_room = empty(x, (chunks_of(fold.rows) + 1) * kept.room)
    magics, tile = Matrix(pointer_to(magic_room), 0, 0, kept.room), Matrix(pointer_to(tile_room), 0, width, kept.room)
    for p in range(first, last):
        x_here = folded(pointer_to(x), x_start + p * x_outer, fold)
        out_here = folded(pointer_to(out), out_start + p * out_outer, fold)
        keeps = can_be_read(x_here, fold.strip) and in_out == 1
        soon = out_here if keeps and is_far(out, n * inner) else always_the_first(out_here)
        slots, column = sum_folded(x_here, fold, tile, out_here, keeps, soon, magics, None, kept, high, low)
        has_odd = keep_inverses(kept, slots, high)
        of_x = unfolded(x_here, fold)
        odd, rows_of_odd, left_here = results_of_odd(careful, of_x, n, fold.plane, has_odd, kept, temperature)
        left += left_here
        mode = flush_small()
        if keeps:
            write_shares(out_here, out_here, fold.rows, fold.strip, column, magics, kept)
        for is_rest in range(keeps, 2):
            begin, rows, strip = piece_of(fold, is_rest)
            write_quotients(rows_from(x_here, begin), rows_from(out_here, begin), rows, strip, high, low, kept)
        restore(mode)
        write_odd_columns(rows_of_odd, unfolded(out_here, fold), n, fold.plane, odd, kept)
    keep_alive(numbers)
    keep_alive(tile_room)
    keep_alive(magic_room)
    return left


@kernel(*PARAMETERS, later=LOG_SOFTMAX)
def log_softmax_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch,
    first, last, all_planes, n, inner, width, tile_rows, in_out, temperature, careful,
):  # fmt: skip
    """Write log_softmax of the planes first to last, folded as in `softmax_columns`."""
    high, low = log2e_over(x, temperature)
    fold, left = fold_of(n, inner, width), 0
    numbers, tile_room, kept = room_for(x, width, CHUNK)
    tile = Matrix(pointer_to(tile_room), 0, width, kept.room)
    for p in range(first, last):
        x_here = folded(pointer_to(x), x_start + p * x_outer, fold)
        out_here = folded(pointer_to(out), out_start + p * out_outer, fold)
        slots, _ = sum_folded(x_here, fold, tile, None, False, None, None, True, kept, high, low)
        has_odd = keep_logs(kept, slots, high, temperature)
        of_x = unfolded(x_here, fold)
        odd, rows_of_odd, left_here = results_of_odd(careful, of_x, n, fold.plane, has_odd, kept, temperature)
        left += left_here
        for is_rest in range(2):
            begin, rows, strip = piece_of(fold, is_rest)
            subtract_logs(rows_from(x_here, begin), rows_from(out_here, begin), rows, strip, temperature, kept)
        write_odd_columns(rows_of_odd, unfolded(out_here, fold), n, fold.plane, odd, kept)
    keep_alive(numbers)
    keep_alive(tile_room)
    return left


@kernel(*PARAMETERS, later=LOGSUMEXP)
def logsumexp_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch,
    first, last, all_planes, n, inner, width, tile_rows, in_out, temperature, careful,
):  # fmt: skip
    """Write logsumexp of the planes first to last to out[out_start + p * out_outer + column]."""
    high, low = log2e_over(x, 1.0)
    fold, left = fold_of(n, inner, width), 0
    numbers, tile_room, kept = room_for(x, width, CHUNK)
    row, tile = empty_like(x, n), Matrix(pointer_to(tile_room), 0, width, kept.room)
    for p in range(first, last):
        x_here = folded(pointer_to(x), x_start + p * x_outer, fold)
        sum_folded(x_here, fold, tile, None, False, None, None, None, kept, high, low)
        of_x, to = unfolded(x_here, fold), out_start + p * out_outer
        left += write_logs_of_sums(careful, of_x, n, fold.plane, inner, kept, high, pointer_to(row), out, to, 0)
    keep_alive(row)
    keep_alive(numbers)
    keep_alive(tile_room)
    return left
