"""A row that waits: it has been summed, and is written past the caches while the next row is summed.

What is written past the caches goes no faster than memory takes it. A row written at once would have all else wait; so
a group of it is written for each group that is summed, and arithmetic has the time that memory takes. A vector at the
border of two rows is written when both have their part of it: a line that is written in parts would be read first.
"""

import collections
import math

from fastsoftmax.jit import inline
from fastsoftmax.simd import lanes, load, load_first, splat, store, store_first, store_past_caches, to_aligned

SPARE = 5  # vectors: one group of whole ones, wherever the first begins

#: What a row becomes: value(v, *factors) of each vector v of source[at:], at out[to:], which is `head` elements before
#: its first whole vector; in whole vectors there are so many, at least a group.
WaitingRow = collections.namedtuple("WaitingRow", "value factors source at out to head whole")

#: Some rows of n elements that wait, row k from source[at + k * pitch:] on and in out[to + k * n:], its factors
#: factors[k], as far behind as a vector is wide another one, and `constants`; shared[0] counts elements in `border`.
WaitingRows = collections.namedtuple(
    "WaitingRows", "count n value factors constants source at pitch out to border shared"
)


@inline
def waiting_row(value, factors, source, at, out, to, n):
    """Return a row of n elements that waits to be written to out[to:]."""
    head = to_aligned(out, to)
    whole = (n - head) // lanes(out) * lanes(out)
    return WaitingRow(value, factors, source, at, out, to, head, whole)


@inline
def waiting_row_if(waits, value, factors, source, at, out, to, n, nowhere):
    """Return the row that waits, or if there is none one that is written to `nowhere`, SPARE vectors."""
    place, begin, count = (out, to, n) if waits else (nowhere, 0, SPARE * lanes(out))
    return waiting_row(value, factors, source, at, place, begin, count)


@inline
def write_group(row, i):
    """Write the group that is i elements behind the first whole vector; the last one where there are not so many."""
    width = lanes(row.out)
    i = row.head + min(i, row.whole - 4 * width)
    for k in range(i, i + 4 * width, width):
        store_past_caches(row.out, row.to + k, row.value(load(row.source, row.at + k), *row.factors))


@inline
def write_rest(row, n, written, border, shared):
    """Write what is left of a row once so many elements of its whole vectors are written.

    The first `shared` elements of `border`, room for two vectors, are those that rows before have in the vector where
    it begins; what it has itself in the one where it ends goes there. Returns how many elements these are.
    """
    out, value, factors, width = row.out, row.value, row.factors, lanes(row.out)
    if row.head > 0:
        head = value(load(row.source, row.at), *factors)
        if shared > 0:
            store(border, shared, head)
            store_past_caches(out, row.to + row.head - width, load(border, 0))
        else:
            store_first(out, row.to, head, row.head)
    end = row.head + row.whole
    for k in range(row.head + min(written, row.whole), end, width):
        store_past_caches(out, row.to + k, value(load(row.source, row.at + k), *factors))
    if end < n:
        store(border, 0, value(load_first(row.source, row.at + end, n - end), *factors))
    return n - end


@inline
def write_shared(border, shared, out, end):
    """Write the first `shared` elements of `border` to where they end at out[end]; then none is shared: return 0."""
    if shared > 0:
        store_first(out, end - shared, load(border, 0), shared)
    return 0


@inline
def finish_row(waits, row, n, written, border, shared, out, to):
    """Do what is left of a row that waits, as `write_rest`; if none does, write what rows before share with out[to]."""
    return write_rest(row, n, written, border, shared) if waits else write_shared(border, shared, out, to)


@inline
def write_at_once(row, n, border):
    """Write a row of n elements that does not wait; `border` is room for two vectors."""
    write_shared(border, write_rest(row, n, 0, border, 0), row.out, row.to + n)


@inline
def write_row(rows, k):
    """Write row k of those that wait, if there is one; one whose factors are NaN is written already."""
    if k >= rows.count:
        return
    to, shared = rows.to + k * rows.n, int(rows.shared[0])
    first, second = rows.factors[k], rows.factors[lanes(rows.factors) + k]
    if math.isnan(second):
        shared = write_shared(rows.border, shared, rows.out, to)
    else:
        factors = splat(rows.factors, first), splat(rows.factors, second), *rows.constants
        row = waiting_row(rows.value, factors, rows.source, rows.at + k * rows.pitch, rows.out, to, rows.n)
        shared = write_rest(row, rows.n, 0, rows.border, shared)
    rows.shared[0] = shared
