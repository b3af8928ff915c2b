"""Sums of short rows: each along its own vectors, and across their lanes those of a vector's width of rows at once.

Two rows' vectors of partial sums make one, with half as many partial sums of each, until there is a row a lane.
"""

import collections
import math

from fastsoftmax.jit import inline
from fastsoftmax.kernels.exponential import add_exactly, add_smaller, exponential, magic_number
from fastsoftmax.kernels.narrow_sums import floors_of, over_peak, parts_of_peak, pivots_for, summit
from fastsoftmax.kernels.pivot import add_four_exactly, add_group, sum_of_four
from fastsoftmax.kernels.waiting_row import write_row
from fastsoftmax.simd import (
    GROUP,
    alternate,
    count_set,
    in_a_line,
    lanes,
    larger,
    load,
    load_first,
    load_group,
    prefetch,
    prefetch_to_write,
    repeated,
    select,
    splat,
    store,
)

ROWS = 16  # that are done at once, at most: as many as a vector has lanes
AHEAD = 4  # rows that elements are asked for ahead of the next so many

#: Room for a vector of each of ROWS rows, three times, and for some of which each lane is a row's.
Room = collections.namedtuple("Room", "maxima totals losts kept")
KEPT = 4  # of the last


# --- across the lanes -----------------------------------------------------------------------------------------------


@inline
def maximum_along(x, start, n):
    """Return the largest elements of a row that each lane sees; NaN is passed over."""
    width, best = lanes(x), splat(x, -math.inf)
    whole = n - n % width
    for i in range(0, whole, width):
        best = larger(load(x, start + i), best)
    return best if whole == n else larger(load_first(x, start + whole, n - whole), best)


@inline
def maxima_of_rows(x, start, step, rows, n, room):
    """Return the largest elements of up to a vector's width of rows, a row a lane; the last one's in what is left."""
    width = lanes(x)
    for k in range(width):
        store(room, k * width, maximum_along(x, start + min(k, rows - 1) * step, n))
    count = width
    while count > 1:
        count //= 2
        for k in range(count):
            a, b = alternate(load(room, 2 * k * width), load(room, (2 * k + 1) * width))
            store(room, k * width, larger(a, b))
    return load(room, 0)


@inline
def sums_of_rows(x, totals, losts):
    """Return the sums of the lanes of a vector's width of rows, in two parts, a row a lane."""
    width = lanes(x)
    count = width
    while count > 1:
        count //= 2
        for k in range(count):
            a, b = alternate(load(totals, 2 * k * width), load(totals, (2 * k + 1) * width))
            c, d = alternate(load(losts, 2 * k * width), load(losts, (2 * k + 1) * width))
            total, lost = add_exactly(a, c + d, b)
            store(totals, k * width, total)
            store(losts, k * width, lost)
    return add_smaller(load(totals, 0), load(losts, 0))


@inline
def forget(x, totals, losts):
    """Set the sums of all rows to 0: those of rows that there are not are added up, too."""
    for k in range(lanes(x)):
        store(totals, k * lanes(x), splat(x, 0.0))
        store(losts, k * lanes(x), splat(x, 0.0))


# --- along the rows -------------------------------------------------------------------------------------------------


@inline
def add_term(v, terms, place, floor, magic, high, low, total, lost):
    """Do for one vector what `sum_terms` does."""
    e, large, small, _ = exponential(larger(floor, v), high, low, magic)
    if terms is not None:
        store(terms, place, e)
    total, rest = add_smaller(total, large)
    return total, lost + (rest + small)


@inline
def sum_terms(x, start, n, terms, j, floor, magic, high, low):
    """Return the sums of the terms of a row that each lane sees, in two parts.

    The terms go to terms[j:], whole vectors, unless `terms` is None. They are added to a number larger than all of them
    together: then what a sum loses takes less to find.
    """
    width = lanes(x)
    above = 2.0 ** (summit(x) + 9)  # of the terms that a lane sees, each at most sqrt(2) · 2^summit
    total, lost = splat(x, above), splat(x, 0.0)
    group_floor, group_magic = repeated(floor), repeated(magic)
    whole, vectors = n - n % (GROUP * width), n - n % width
    for i in range(0, whole, GROUP * width):
        e, large, small, _ = exponential(larger(group_floor, load_group(x, start + i)), high, low, group_magic)
        if terms is not None:
            store(terms, j + i, e)
        total, rests = add_group(total, large)
        lost = lost + (sum_of_four(small) + sum_of_four(rests))
    for i in range(whole, vectors, width):
        total, lost = add_term(load(x, start + i), terms, j + i, floor, magic, high, low, total, lost)
    if vectors < n:
        v = load_first(x, start + vectors, n - vectors)
        total, lost = add_term(v, terms, j + vectors, floor, magic, high, low, total, lost)
    return total - above, lost


@inline
def add_other(v, top, floor, magic, high, low, total, lost):
    """Do for one vector what `sum_others` does."""
    _, large, small, _ = exponential(larger(floor, v), high, low, magic)
    is_top = v == top
    total, lost = add_exactly(total, lost + select(is_top, 0.0, small), select(is_top, 0.0, large))
    return total, lost, count_set(is_top)


@inline
def sum_others(x, start, n, top, floor, magic, high, low):
    """Return the sums of the terms of a row's elements but `top`, its largest, as `sum_terms`, and how many are that.

    However small they are, they are added without a loss.
    """
    width = lanes(x)
    total, lost, ties = splat(x, 0.0), splat(x, 0.0), 0
    group_top, group_floor, group_magic = repeated(top), repeated(floor), repeated(magic)
    whole, vectors = n - n % (GROUP * width), n - n % width
    for i in range(0, whole, GROUP * width):
        v = load_group(x, start + i)
        _, large, small, _ = exponential(larger(group_floor, v), high, low, group_magic)
        is_top = v == group_top
        ties += count_set(is_top)
        large, small = select(is_top, 0.0, large), select(is_top, 0.0, small)
        total, lost = add_four_exactly(total, lost + sum_of_four(small), large)
    for i in range(whole, vectors, width):
        total, lost, more = add_other(load(x, start + i), top, floor, magic, high, low, total, lost)
        ties += more
    if vectors < n:
        v = load_first(x, start + vectors, n - vectors)
        total, lost, more = add_other(v, top, floor, magic, high, low, total, lost)
        ties += more
    return total, lost, ties


@inline
def ask_for(x, behind, out, to, n):
    """Ask for the memory of a row that will be read soon, and of one that will be written to, unless that is None."""
    for i in range(0, n, in_a_line(x)):
        prefetch(x, behind + i)
    if out is not None:
        for i in range(0, n, in_a_line(out)):
            prefetch_to_write(out, to + i)


# --- the sums of a vector's width of rows ---------------------------------------------------------------------------


@inline
def sums_of_terms(x, start, step, rows, n, terms, j, out, to, out_step, maximum, high, low, room, meanwhile=None):
    """Return the sums of up to a vector's width of rows in two parts, and their pivots, a row a lane.

    The terms go to terms[j:], as many vectors a row, unless `terms` is None. The next rows are asked for, and those of
    `out`, unless that is None. Of the rows `meanwhile`, unless that is None, one is written for each.
    """
    width = lanes(x)
    pitch = (n + width - 1) // width * width
    pivot = pivots_for(x, maximum, high)
    store(room.kept, 0, floors_of(x, pivot, high))
    store(room.kept, width, magic_number(x, pivot))
    for k in range(rows):
        floor, magic = splat(x, room.kept[k]), splat(x, room.kept[width + k])
        ask_for(x, start + (k + width + AHEAD) * step, out, to + k * out_step, n)
        total, lost = sum_terms(x, start + k * step, n, terms, j + k * pitch, floor, magic, high, low)
        store(room.totals, k * width, total)
        store(room.losts, k * width, lost)
        if meanwhile is not None:
            write_row(meanwhile, k)
    total, lost = sums_of_rows(x, room.totals, room.losts)
    return total, lost, pivot


@inline
def sums_of_others(x, start, step, rows, n, out, to, out_step, maximum, high, low, room, meanwhile=None):
    """Return the sums of all elements but one of the largest of up to a vector's width of rows.

    They are as those of `narrow_sums.sum_around_peaks`. The rest is as in `sums_of_terms`.
    """
    width = lanes(x)
    pivot = pivots_for(x, maximum, high)
    magic, kept = magic_number(x, pivot), room.kept
    store(kept, 0, maximum)
    store(kept, width, floors_of(x, pivot, high))
    store(kept, 2 * width, magic)
    store(kept, 3 * width, splat(x, 0.0))
    for k in range(rows):
        top, floor, row_magic = splat(x, kept[k]), splat(x, kept[width + k]), splat(x, kept[2 * width + k])
        ask_for(x, start + (k + width + AHEAD) * step, out, to + k * out_step, n)
        others, lost, ties = sum_others(x, start + k * step, n, top, floor, row_magic, high, low)
        store(room.totals, k * width, others)
        store(room.losts, k * width, lost)
        kept[3 * width + k] = ties - 1.0
        if meanwhile is not None:
            write_row(meanwhile, k)
    others, lost = over_peak(x, *sums_of_rows(x, room.totals, room.losts), maximum, high, low, magic)
    return add_exactly(others, lost, load(kept, 3 * width) * parts_of_peak(x))
