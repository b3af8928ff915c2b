"""Strips of columns: what is done to many columns at once, a column a lane.

A strip is read a *chunk* of rows at a time into a tile, row behind row. Strips are wide and chunks low, since a cache
reads along rows, and holds few of them where their distance is a power of two. Each vector of columns then goes down
its chunk with its sums in registers: the maxima, then the terms e^x · 2^-pivot, which may replace the elements. Where
another chunk raises a maximum, what has been summed is scaled by a power of two, which is exact.

The pivot puts the largest term near 2^aim. So a sum that starts from twice that, the *bias*, is always larger than
what is added to it, and three operations give what each addition has rounded off.
"""

import math

from fastsoftmax.jit import inline
from fastsoftmax.kernels.exponential import (
    MAGIC_DOUBLE,
    add_exactly,
    add_smaller,
    exponential,
    magic_integer,
    magic_number,
    nodes,
    pivot_in,
)
from fastsoftmax.kernels.pivot import MAX_PIVOT, add_four_exactly, add_group, aim, lowest_exponent, sum_of_four
from fastsoftmax.simd import (
    absolute,
    choose,
    fma,
    join,
    lanes,
    larger,
    load,
    load_first,
    load_wide,
    prefetch,
    quarters,
    select,
    shift_exponent,
    smaller,
    splat,
    splat_group,
    splat_wide,
    store,
    store_first,
)

SEGMENT = 64  # rows after which a sum moves on to float64: the small parts are added without what that loses

# What is kept of each column, in arrays of `room` numbers behind one another: in the type that is computed in ...
MAXIMUM, MAGIC, FLOOR, FIRST, SECOND, PART, PART_LOST = range(7)
KEPT = 7
# ... and in float64.
TOTAL, LOST = range(2)
SUMS = 2


@inline
def strip_of(block, strip, inner, all_planes):
    """Return (first plane, planes, first column, columns of a plane) of a block; narrow planes share a strip."""
    together = max(1, strip // inner)
    strips = (inner + strip - 1) // strip
    plane, column = block // strips * together, block % strips * strip
    return plane, min(together, all_planes - plane), column, min(strip, inner - column)


@inline
def load_columns(x, index, count):
    """Return the vector at x[index], with -inf behind `count` elements unless that is None."""
    return load(x, index) if count is None else load_first(x, index, count)


@inline
def store_columns(out, index, value, count):
    """Write the first `count` lanes of a vector, or all if that is None."""
    if count is None:
        store(out, index, value)
    else:
        store_first(out, index, value, count)


@inline
def four_rows(at, pitch, rows):
    """Return where the next four rows begin; the last of `rows` stands for those behind it."""
    last = rows - 1  # a pitch may be negative: numbers of rows are compared, not places
    return at, at + min(1, last) * pitch, at + min(2, last) * pitch, at + min(3, last) * pitch


@inline
def read_vector(x, places, j, count, tile, to, pitch, kept, slot):
    """Copy a vector of each of four rows into the tile and raise the maxima."""
    a, b, c, d = places
    va, vb = load_columns(x, a + j, count), load_columns(x, b + j, count)
    vc, vd = load_columns(x, c + j, count), load_columns(x, d + j, count)
    store(tile, to, va)
    store(tile, to + pitch, vb)
    store(tile, to + 2 * pitch, vc)
    store(tile, to + 3 * pitch, vd)
    best = larger(vb, larger(va, load(kept, slot)))
    store(kept, slot, larger(vd, larger(vc, best)))


@inline
def read_chunk(x, start, outer, pitch, rows, planes, count, tile, tile_pitch, kept, room):
    """Copy rows of a strip into the tile and raise the maxima, passing over NaN.

    Rows of -inf make the rows a multiple of four, columns of 0 fill the last vector.
    """
    zero, nothing = splat(tile, 0.0), splat(tile, -math.inf)
    whole = count - count % lanes(x)
    for p in range(planes):
        slot = MAXIMUM * room + p * count
        for i in range(0, rows, 4):
            places = four_rows(start + p * outer + i * pitch, pitch, rows - i)
            to = i * tile_pitch + p * count
            for j in range(0, whole, lanes(x)):
                read_vector(x, places, j, None, tile, to + j, tile_pitch, kept, slot + j)
            if whole < count:
                read_vector(x, places, whole, count - whole, tile, to + whole, tile_pitch, kept, slot + whole)
    for i in range(rows):
        store(tile, i * tile_pitch + planes * count, zero)
    for i in range(rows, (rows + 3) // 4 * 4):
        for j in range(0, planes * count, lanes(tile)):
            store(tile, i * tile_pitch + j, nothing)


@inline
def load_four(tile, at, pitch):
    """Return the vectors at one place of four rows as a group."""
    return join(load(tile, at), load(tile, at + pitch), load(tile, at + 2 * pitch), load(tile, at + 3 * pitch))


@inline
def has_pivot(x, maximum, high):
    """Tell which maxima have a pivot."""
    return absolute(maximum * (high / nodes(x))) < MAX_PIVOT


@inline
def raise_pivots(tile, j, high, kept, sums, room):
    """Choose the pivots of a vector of columns anew and bring the sums to them."""
    maximum = load(kept, MAXIMUM * room + j)
    k = fma(maximum, splat(tile, high / nodes(tile)), splat(tile, magic_integer(tile))) - magic_integer(tile)
    pivot = select(has_pivot(tile, maximum, high), k - aim(tile), 0.0)
    store(kept, PART * room + j, magic_number(tile, pivot))
    store(kept, FLOOR * room + j, (pivot + lowest_exponent(tile)) * (nodes(tile) / high))
    for k in range(j, j + lanes(tile), 8):
        before, after = load_wide(kept, MAGIC * room + k), load_wide(kept, PART * room + k)
        shift = pivot_in(tile, before) - pivot_in(tile, after)
        shift = larger(smaller(shift, splat_wide(0.0)), splat_wide(-1022.0))
        power = shift_exponent(splat_wide(1.0), shift + MAGIC_DOUBLE)
        store(sums, TOTAL * room + k, load_wide(sums, TOTAL * room + k) * power)
        store(sums, LOST * room + k, load_wide(sums, LOST * room + k) * power)
    store(kept, MAGIC * room + j, load(kept, PART * room + j))


@inline
def soon_wanted(x, ahead, x_pitch, out, to, out_pitch, n, planes):
    """Return what `sum_segment` is to fetch while it computes: for each vector of the tile one of x and of `out`.

    Narrow planes are taken to lie behind one another; if they do not, that costs time only.
    """
    if planes > 1:
        return x, ahead, lanes(x), out, to, lanes(x), n
    return x, ahead, x_pitch, out, to, out_pitch, 1


@inline
def fetch_four(array, place, pitch):
    """Ask for what stands at a place of four rows, unless the array is None."""
    if array is not None:
        prefetch(array, place)
        prefetch(array, place + pitch)
        prefetch(array, place + 2 * pitch)
        prefetch(array, place + 3 * pitch)


@inline
def sum_segment(tile, at, pitch, rows, terms, maximum, floor, high, low, magic, soon, row, j):
    """Return the sums of the terms of a vector of columns, and what they lost.

    With `terms` they replace the elements. With a maximum, elements equal to it are left out; without, the sums are
    larger by the bias. What `soon` tells (see `soon_wanted`) is fetched meanwhile, for row and j in the tile.
    """
    group_magic, group_floor = join(magic, magic, magic, magic), join(floor, floor, floor, floor)
    high, low = splat_group(tile, high), splat_group(tile, low)
    lost = splat(tile, 0.0)
    total = splat(tile, bias(tile)) if maximum is None else lost
    for i in range(0, rows, 4):
        place = at + i * pitch
        if soon is not None:
            x, ahead, x_pitch, out, to, out_pitch, across = soon
            fetch_four(x, ahead + (row + i) * x_pitch + j * across, x_pitch)
            fetch_four(out, to + (row + i) * out_pitch + j * across, out_pitch)
        v = load_four(tile, place, pitch)
        e, large, small, _ = exponential(larger(group_floor, v), high, low, group_magic)
        if terms is not None:
            a, b, c, d = quarters(e)
            store(terms, place, a)
            store(terms, place + pitch, b)
            store(terms, place + 2 * pitch, c)
            store(terms, place + 3 * pitch, d)
        if maximum is not None:
            is_maximum = v == join(maximum, maximum, maximum, maximum)
            large, small = select(is_maximum, 0.0, large), select(is_maximum, 0.0, small)
            total, lost = add_four_exactly(total, lost, large)
            lost = lost + sum_of_four(small)
        else:
            total, rests = add_group(total, large)
            lost = lost + (sum_of_four(rests) + sum_of_four(small))
    return total, lost


@inline
def bias(x):
    """Return from where a sum starts."""
    return choose(x, 2.0**55, 2.0**481)


@inline
def add_terms(tile, j, pitch, rows, terms, maximum, high, low, kept, sums, room, soon):
    """Add the terms of a chunk to the sums of a vector of columns."""
    magic, floor = load(kept, MAGIC * room + j), load(kept, FLOOR * room + j)
    start = bias(tile) if maximum is None else 0.0
    for i in range(0, rows, SEGMENT):
        segment = min(SEGMENT, rows - i)
        total, lost = sum_segment(
            tile, j + i * pitch, pitch, segment, terms, maximum, floor, high, low, magic, soon, i, j
        )
        store(kept, PART * room + j, total)
        store(kept, PART_LOST * room + j, lost)
        for k in range(j, j + lanes(tile), 8):
            part, part_lost = load_wide(kept, PART * room + k) - start, load_wide(kept, PART_LOST * room + k)
            whole, rest = load_wide(sums, TOTAL * room + k), load_wide(sums, LOST * room + k)
            whole, rest = add_exactly(whole, rest + part_lost, part)
            store(sums, TOTAL * room + k, whole)
            store(sums, LOST * room + k, rest)


@inline
def sum_chunk(tile, pitch, rows, slots, terms, high, low, kept, sums, room, soon):
    """Add the terms of a chunk, which may replace the elements, to the sums of its columns."""
    for j in range(0, slots, lanes(tile)):
        raise_pivots(tile, j, high, kept, sums, room)
        add_terms(tile, j, pitch, rows, terms, None, high, low, kept, sums, room, soon)


@inline
def clear_sums(slots, sums, room):
    """Set the sums to 0."""
    for j in range(0, slots, 8):
        store(sums, TOTAL * room + j, splat_wide(0.0))
        store(sums, LOST * room + j, splat_wide(0.0))


@inline
def clear(tile, slots, kept, sums, room):
    """Begin a strip."""
    clear_sums(slots, sums, room)
    for j in range(0, slots, lanes(tile)):
        store(kept, MAXIMUM * room + j, splat(tile, -math.inf))
        store(kept, MAGIC * room + j, splat(tile, magic_number(tile, 0.0)))
    store(kept, MAXIMUM * room + slots, splat(tile, 0.0))


@inline
def pivots(tile, j, kept, room):
    """Return the pivots of 8 columns, NaN for those that have none."""
    return pivot_in(tile, load_wide(kept, MAGIC * room + j))


@inline
def sum_of(tile, j, high, kept, sums, room):
    """Return the sums of 8 columns in two parts, NaN where there is a NaN or no pivot."""
    maximum = load_wide(kept, MAXIMUM * room + j)
    total = select(has_pivot(tile, maximum, high), load_wide(sums, TOTAL * room + j), math.nan)
    return add_smaller(total, load_wide(sums, LOST * room + j))
