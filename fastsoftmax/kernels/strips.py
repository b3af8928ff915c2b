"""Strips of columns: where they lie, and how vectors of them are read and written.

A strip is read a *chunk* of rows at a time, since a cache reads along rows, and holds few of them where their distance
is a power of two. Where a plane has at least a vector of columns, they are read as they lie, the last vector as a whole
one, which may overlap the one before. Others are first copied into a tile, row behind row.
"""

import collections
import math

from numba import types
from numba.extending import overload

from fastsoftmax.jit import inline
from fastsoftmax.simd import (
    in_a_line,
    join,
    lanes,
    load,
    load_first,
    quarters,
    splat,
    store,
    store_first,
    store_past_caches,
    to_aligned,
)

LEAST_LINES = 16  # of a row from which on it pays that all but a few of its vectors are aligned
CHUNK = 64  # rows after which a sum moves on to float64: the small parts are added without what that loses

#: Element i of column c of plane p stands at data[start + p * outer + i * pitch + c].
Matrix = collections.namedtuple("Matrix", "data start outer pitch")
#: Columns that are done at once: `count` from `column` on, of each of some planes. A *slot* is a column's place in what
#: is kept of a strip, vector behind vector; of the columns of the first one the second has the last `twice` again.
Strip = collections.namedtuple("Strip", "plane planes column count twice")


@inline
def chunks_of(n):
    """Return how many chunks n rows are."""
    return (n + CHUNK - 1) // CHUNK


@inline
def chunk_of(c, n):
    """Return the first row of a chunk, and how many it has."""
    return c * CHUNK, min(CHUNK, n - c * CHUNK)


@inline
def strip_of(x, block, width, inner, all_planes, head):
    """Return the strip of a number, which may be empty; narrow planes share one.

    The first of a plane has the `head` besides: if that is not 0, its second vector begins behind so many columns.
    """
    together = max(1, width // inner)
    strips = (inner + width - 1) // width
    plane, column = block // strips * together, block % strips * width
    planes, end = min(together, all_planes - plane), min(column + width + head, inner)
    if column == 0:
        return Strip(plane, planes, 0, end, lanes(x) - head if head > 0 else 0)
    return Strip(plane, planes, column + head, max(0, end - column - head), 0)


@inline
def part_of(matrix, strip):
    """Return the matrix that begins where a strip does."""
    start = matrix.start + strip.plane * matrix.outer + strip.column
    return Matrix(matrix.data, start, matrix.outer, matrix.pitch)


@inline
def rows_from(matrix, i):
    """Return the matrix that begins with row i."""
    return Matrix(matrix.data, matrix.start + i * matrix.pitch, matrix.outer, matrix.pitch)


@inline
def slots_of(x, strip):
    """Return the slots of a strip: its columns, and those that come twice, rounded up to whole vectors."""
    return (strip.planes * strip.count + strip.twice + lanes(x) - 1) // lanes(x) * lanes(x)


@inline
def column_of(slot, strip, last):
    """Return the column of a strip where the vector of a slot begins; behind the `last` one none does."""
    return min(slot - strip.twice, last) if slot > 0 else 0


@inline
def head_of_strip(x, strip):
    """Return how many columns of a strip are before its second vector, 0 if that lies right behind the first."""
    return lanes(x) - strip.twice if strip.twice > 0 else 0


@inline
def whole_end(x, strip):
    """Return the column behind the last whole vector of those behind the head."""
    return strip.count - (strip.count - head_of_strip(x, strip)) % lanes(x)


@inline
def edge_of(x, strip, k):
    """Return the first column of one of the two edges of a strip, which are no whole vectors, and how many it has."""
    whole = whole_end(x, strip)
    return (0, head_of_strip(x, strip)) if k == 0 else (whole, strip.count - whole)


def can_be_read(x, strip):
    """Tell whether vectors of a strip can be read as they lie."""


@overload(can_be_read, inline="always")
def _can_be_read(x, strip):
    if isinstance(x.types[0].dtype, types.Float):
        return lambda x, strip: strip.planes == 1 and strip.count >= lanes(x.data)
    return lambda x, strip: False


@inline
def last_column(x, strip):
    """Return the column that no vector begins behind: the last vector is a whole one where it is read as it lies."""
    return strip.count - lanes(x.data) if can_be_read(x, strip) else slots_of(x.data, strip)


@inline
def head_of(x, inner, planes):
    """Return how many columns are before the first from which vectors are aligned; 0 where it is no matter.

    A vector on two cache lines takes twice as long, and large arrays seldom begin where a line does.
    """
    width = lanes(x.data)
    is_regular = x.pitch % width == 0 and (planes == 1 or x.outer % width == 0)
    is_worth_it = inner >= LEAST_LINES * in_a_line(x.data) and is_regular and can_be_read(x, Strip(0, 1, 0, inner, 0))
    return to_aligned(x.data, x.start) if is_worth_it else 0


def either(matrix, tile, is_wanted):
    """Return the matrix if it is wanted and holds numbers of the type that is computed in, as the tile does."""


@overload(either, inline="always")
def _either(matrix, tile, is_wanted):
    if matrix == tile:
        return lambda matrix, tile, is_wanted: matrix if is_wanted else tile
    return lambda matrix, tile, is_wanted: tile


@inline
def load_columns(x, index, count):
    """Return the vector at x[index], with -inf behind `count` elements unless that is None."""
    return load(x, index) if count is None else load_first(x, index, count)


@inline
def store_vector(out, index, value, past_caches):
    """Write a vector, past the caches if that is wanted; never with None."""
    if past_caches is not None and past_caches:
        store_past_caches(out, index, value)
    else:
        store(out, index, value)


@inline
def store_columns(out, index, value, count, past_caches):
    """Write the first `count` lanes of a vector, or all, as `store_vector` does, if that is None."""
    if count is None:
        store_vector(out, index, value, past_caches)
    else:
        store_first(out, index, value, count)


@inline
def four_rows(matrix, p, i, rows):
    """Return where row i of a plane and the three behind it begin; the last of `rows` stands for those behind it."""
    at, pitch = matrix.start + p * matrix.outer + i * matrix.pitch, matrix.pitch
    last = rows - i - 1  # a pitch may be negative: numbers of rows are compared, not places
    return at, at + min(1, last) * pitch, at + min(2, last) * pitch, at + min(3, last) * pitch


@inline
def copy_vector(x, froms, j, count, tile, places):
    """Copy a vector of each of four rows into the tile."""
    from_a, from_b, from_c, from_d = froms
    a, b, c, d = places
    store(tile, a + j, load_columns(x, from_a + j, count))
    store(tile, b + j, load_columns(x, from_b + j, count))
    store(tile, c + j, load_columns(x, from_c + j, count))
    store(tile, d + j, load_columns(x, from_d + j, count))


@inline
def copy_chunk(x, rows, strip, tile):
    """Copy rows of a strip into the tile; columns of 0 fill the last vector."""
    width = lanes(tile.data)
    whole = strip.count - strip.count % width
    for p in range(strip.planes):
        for i in range(0, rows, 4):
            froms, places = four_rows(x, p, i, rows), four_rows(tile, p, i, rows)
            for j in range(0, whole, width):
                copy_vector(x.data, froms, j, None, tile.data, places)
            if whole < strip.count:
                copy_vector(x.data, froms, whole, strip.count - whole, tile.data, places)
    for i in range(rows):
        store(tile.data, tile.start + i * tile.pitch + strip.planes * strip.count, splat(tile.data, 0.0))


@inline
def bring(x, rows, strip, tile):
    """Return where vectors of a chunk can be read: x itself, or the tile, into which they are copied."""
    as_it_lies = can_be_read(x, strip)
    if not as_it_lies:
        copy_chunk(x, rows, strip, tile)
    return either(x, tile, as_it_lies)


@inline
def load_rows(data, at, pitch, rest):
    """Return the vector at data[at] and the three a pitch apart behind it as a group; behind `rest` they are -inf."""
    if rest >= 4:
        return join(load(data, at), load(data, at + pitch), load(data, at + 2 * pitch), load(data, at + 3 * pitch))
    nothing = splat(data, -math.inf)
    b = load(data, at + pitch) if rest > 1 else nothing
    c = load(data, at + 2 * pitch) if rest > 2 else nothing
    return join(load(data, at), b, c, nothing)


@inline
def store_rows(data, at, pitch, rest, group):
    """Write the vectors of a group to data[at] and the three places a pitch apart behind it, `rest` at most."""
    a, b, c, d = quarters(group)
    store(data, at, a)
    if rest > 1:
        store(data, at + pitch, b)
    if rest > 2:
        store(data, at + 2 * pitch, c)
    if rest > 3:
        store(data, at + 3 * pitch, d)
