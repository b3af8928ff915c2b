"""`auto` on short columns: a vector's width of them at once, as rows in `narrow.py`, without a transposition.

x has the shape (planes, n, inner); axis 1 is reduced, and n is small. The same vector of all n rows is a tile as narrow
rows give it, a column a lane: the maxima are those of n vectors, there is no pivot to guess, and what is done once a
column (a division, a logarithm) is done for a vector of them. Where planes are narrow, some share a vector. Columns
that no pivot suits are done the careful way.

Where results are written, a tile is loaded before the one in front of it is done: the chain of maxima, and all that
waits for it, takes its time.

Error: softmax and log_softmax 2 ULP; logsumexp 1 ULP (one ulp of 1.0 near 0).
"""

import math

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful_rows import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX, carefully
from fastsoftmax.kernels.columns import PARAMETERS, column_to_row, is_far
from fastsoftmax.kernels.exponential import log2e_over
from fastsoftmax.kernels.narrow import (
    inverses,
    log_share,
    logsumexp_of_tile,
    scales,
)
from fastsoftmax.kernels.narrow_near_zero import place_of, set_aside, write_near_zero
from fastsoftmax.kernels.narrow_sums import log_of_sums, pivots_for, sum_around_peaks, sum_terms_of_rows
from fastsoftmax.kernels.row_results import share
from fastsoftmax.kernels.strips import Matrix, Strip, head_of, part_of, store_vector, strip_of
from fastsoftmax.kernels.tiles import into_column, replace_each
from fastsoftmax.simd import (
    WIDE,
    any_set,
    copy_one,
    count_set,
    empty_like,
    flush_small,
    keep_alive,
    lanes,
    larger,
    load,
    load_first,
    pointer_to,
    prefetch,
    prefetch_to_write,
    restore,
    scratch,
    scratch_wide,
    splat,
    store,
    store_first,
    to_aligned,
    wait_for_stores,
)

AHEAD = 8  # vectors ahead that elements are asked for: there are as many streams as rows, too many for a processor


@inline
def planes_together(x, inner):
    """Return how many planes share a vector."""
    return max(1, lanes(x) // inner)


@inline
def tiles_of(x, strip, together):
    """Return how many tiles a strip makes: each of the columns of some planes, or a vector of those of one."""
    return (strip.planes + together - 1) // together * ((strip.count + strip.twice + lanes(x) - 1) // lanes(x))


@inline
def columns_at(x, strip, p, j, together):
    """Return the columns of a tile, from plane p and column j of a strip on: a strip of up to a vector of them."""
    planes = min(together, strip.planes - p)
    count = lanes(x) - strip.twice if j == 0 else lanes(x)
    return Strip(strip.plane + p, planes, strip.column + j, min(count, strip.count - j), 0)


@inline
def before_first(x, strip):
    """Return the columns behind which those of the first tile come."""
    return Strip(strip.plane, 0, strip.column, 0, 0)


@inline
def columns_behind(x, strip, columns, together):
    """Return the columns of the next tile."""
    p, j = columns.plane - strip.plane, columns.column - strip.column + columns.count
    if j >= strip.count:
        p, j = p + columns.planes, 0
    return columns_at(x, strip, p, j, together)


@inline
def is_aligned(out, head):
    """Tell whether all rows of a result behind a head begin where a vector may be written past the caches."""
    width = lanes(out.data)
    return to_aligned(out.data, out.start + head) == 0 and out.outer % width == 0 and out.pitch % width == 0


@inline
def load_tile(x, columns, n, out, asks, tile):
    """Bring columns of a matrix into the tile, side by side; return their maxima, NaN passed over.

    Ask for those that come next, and for their results if it `asks` and `out` is not None.
    """
    data, width = x.data, lanes(x.data)
    at = x.start + columns.plane * x.outer + columns.column
    maximum = splat(data, -math.inf)
    if columns.count < width:
        for i in range(n):
            for q in range(columns.planes):
                v = load_first(data, at + q * x.outer + i * x.pitch, columns.count)
                store(tile, width * i + q * columns.count, v)
        for i in range(n):
            maximum = larger(load(tile, width * i), maximum)
        return maximum
    for i in range(n):
        place = at + i * x.pitch
        v = load(data, place)
        prefetch(data, place + AHEAD * width)
        if out is not None and asks:
            to = out.start + columns.plane * out.outer + columns.column + i * out.pitch
            prefetch_to_write(out.data, to + AHEAD * width)
        store(tile, width * i, v)
        maximum = larger(v, maximum)
    return maximum


@inline
def store_tile(tile, n, out, columns):
    """Bring the tile to its place."""
    to = out.start + columns.plane * out.outer + columns.column
    for i in range(n):
        for q in range(columns.planes):
            v = load(tile, lanes(tile) * i + q * columns.count)
            store_first(out.data, to + q * out.outer + i * out.pitch, v, columns.count)


@inline
def carefully_as_row(careful, x, slot, n, columns, temperature):
    """Return the result of a column as the careful way has it, as a row, and whether it was left undone."""
    row = empty_like(x.data, n)
    column_to_row(x, slot, n, columns, row)
    is_left = carefully(careful, pointer_to(row), 0, n, pointer_to(row), 0, temperature)
    keep_alive(row)
    return row, is_left


@kernel(*PARAMETERS, later=SOFTMAX)
def softmax_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch,
    first, last, all_planes, n, inner, strip_width, tile_rows, is_large, temperature, careful,
):  # fmt: skip
    """Write softmax of the strips first to last, as in `columns.py`; past the caches if `is_large` and that can be.

    `tile_rows` does nothing.
    """
    x, out, left = pointer_to(x), pointer_to(out), 0
    all_x, all_out = Matrix(x, x_start, x_outer, x_pitch), Matrix(out, out_start, out_outer, out_pitch)
    head = head_of(all_out, inner, all_planes) if is_large == 1 else head_of(all_x, inner, all_planes)
    past_caches = is_large == 1 and is_aligned(all_out, head)
    asks = not past_caches and is_far(out, all_planes * n * inner)
    high, low = log2e_over(x, temperature)
    width, together = lanes(x), planes_together(x, inner)
    tile, next_tile = scratch(x, n + 1), scratch(x, n + 1)
    next_maximum = splat(x, 0.0)
    mode = flush_small()
    for block in range(first, last):
        strip = strip_of(x, block, strip_width, inner, all_planes, head)
        if strip.count == 0:
            continue
        tiles, next_columns = tiles_of(x, strip, together), before_first(x, strip)
        for number in range(-1, tiles):
            columns, maximum, tile, next_tile = next_columns, next_maximum, next_tile, tile
            if number + 1 < tiles:
                next_columns = columns_behind(x, strip, columns, together)
                next_maximum = load_tile(all_x, next_columns, n, all_out, asks, next_tile)
            if number < 0:
                continue
            pivot = pivots_for(x, maximum, high)
            total, lost = sum_terms_of_rows(x, None, None, 0, tile, n, True, pivot, high, low)
            inverse, inverse_low = inverses(total, lost)
            if columns.count == width and count_set(total == total) == width:
                to = out_start + columns.plane * out_outer + columns.column
                for i in range(n):
                    v = share(load(tile, width * i), inverse, inverse_low)
                    store_vector(out, to + i * out_pitch, v, past_caches)
                continue
            replace_each(tile, n, share, (inverse, inverse_low))
            for k in range(columns.planes * columns.count):
                if math.isnan(tile[k]):
                    row, is_left = carefully_as_row(careful, part_of(all_x, columns), k, n, columns, temperature)
                    into_column(row, 0, tile, k, width, n)
                    left += is_left
            store_tile(tile, n, all_out, columns)
    wait_for_stores()
    restore(mode)
    return left


@kernel(*PARAMETERS, later=LOG_SOFTMAX)
def log_softmax_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch,
    first, last, all_planes, n, inner, strip_width, tile_rows, is_large, temperature, careful,
):  # fmt: skip
    """Write log_softmax of the strips first to last."""
    x, out, left = pointer_to(x), pointer_to(out), 0
    all_x, all_out = Matrix(x, x_start, x_outer, x_pitch), Matrix(out, out_start, out_outer, out_pitch)
    head = head_of(all_out, inner, all_planes) if is_large == 1 else head_of(all_x, inner, all_planes)
    past_caches = is_large == 1 and is_aligned(all_out, head)
    asks = not past_caches and is_far(out, all_planes * n * inner)
    high, low = log2e_over(x, temperature)
    scale, scale_low = scales(x, temperature)
    width, together = lanes(x), planes_together(x, inner)
    tile, next_tile = scratch(x, n + 1), scratch(x, n + 1)
    next_maximum = splat(x, 0.0)
    for block in range(first, last):
        strip = strip_of(x, block, strip_width, inner, all_planes, head)
        if strip.count == 0:
            continue
        tiles, next_columns = tiles_of(x, strip, together), before_first(x, strip)
        for number in range(-1, tiles):
            columns, maximum, tile, next_tile = next_columns, next_maximum, next_tile, tile
            if number + 1 < tiles:
                next_columns = columns_behind(x, strip, columns, together)
                next_maximum = load_tile(all_x, next_columns, n, all_out, asks, next_tile)
            if number < 0:
                continue
            others, lost = sum_around_peaks(x, None, None, 0, tile, n, maximum, high, low)
            log = log_of_sums(x, others, lost)
            if columns.count == width and count_set(log == log) == width:
                to = out_start + columns.plane * out_outer + columns.column
                for i in range(n):
                    v = log_share(load(tile, width * i), maximum, log, scale, scale_low)
                    store_vector(out, to + i * out_pitch, v, past_caches)
                continue
            replace_each(tile, n, log_share, (maximum, log, scale, scale_low))
            for k in range(columns.planes * columns.count):
                if math.isnan(tile[k]):
                    row, is_left = carefully_as_row(careful, part_of(all_x, columns), k, n, columns, temperature)
                    into_column(row, 0, tile, k, width, n)
                    left += is_left
            store_tile(tile, n, all_out, columns)
    wait_for_stores()
    return left


@kernel(*PARAMETERS, later=LOGSUMEXP)
def logsumexp_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch,
    first, last, all_planes, n, inner, strip_width, tile_rows, is_large, temperature, careful,
):  # fmt: skip
    """Write logsumexp of the strips first to last to out[out_start + p * out_outer + column].

    `tile_rows` and `is_large` do nothing.
    """
    x, out, left = pointer_to(x), pointer_to(out), 0
    all_x = Matrix(x, x_start, x_outer, x_pitch)
    head = head_of(all_x, inner, all_planes)
    high, low = log2e_over(x, 1.0)
    width, together = lanes(x), planes_together(x, inner)
    tile, results = scratch(x, n + 1), scratch(x, 1)
    aside, numbers, waiting = scratch(x, 2 * n), scratch_wide(2 * (lanes(x) // WIDE)), 0  # see `narrow_near_zero.py`
    for block in range(first, last):
        strip = strip_of(x, block, strip_width, inner, all_planes, head)
        if strip.count == 0:
            continue
        for p in range(0, strip.planes, together):
            behind = 0
            while behind < strip.count:
                columns = columns_at(x, strip, p, behind, together)
                behind += columns.count
                maximum = load_tile(all_x, columns, n, None, False, tile)
                in_tile, place = columns.planes * columns.count, columns.plane * inner + columns.column
                result, is_delicate = logsumexp_of_tile(x, None, tile, n, maximum, high, low)
                if any_set(is_delicate):
                    waiting = set_aside(x, is_delicate, tile, n, place, in_tile, aside, numbers, waiting)
                if columns.count == width and count_set(result == result) == width:
                    store(out, out_start + columns.plane * out_outer + columns.column, result)
                else:
                    store(results, 0, result)
                    for k in range(in_tile):
                        if math.isnan(results[k]):
                            row, is_left = carefully_as_row(careful, part_of(all_x, columns), k, n, columns, 1.0)
                            copy_one(row, 0, results, k)
                            left += is_left
                        copy_one(results, k, out, out_start + place_of(place + k, inner, out_outer))
                is_end = block == last - 1 and p + columns.planes == strip.planes and behind == strip.count
                while waiting >= width or (waiting > 0 and is_end):
                    waiting = write_near_zero(x, aside, n, numbers, waiting, results, out, out_start, inner, out_outer)
    return left
