"""`auto` on short rows: a vector's width of rows at once, each along its own vectors.

In a row of some vectors a maximum and a sum across the lanes take as long as a few of them. So these are found for as
many rows as a vector has lanes: two rows' vectors of partial maxima make one with half as many partial maxima of each,
and so on, until there is a row a lane. The rest, pivots, a division, a logarithm, is done as for narrow rows, which are
transposed for it (`narrow.py`): here nothing but sums and maxima is.

Rows that no pivot suits (NaN, infinities, huge numbers) are done the careful way, one by one.

Error: softmax and log_softmax 2 ULP; logsumexp 1 ULP (one ulp of 1.0 near 0).
"""

import math

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful import careful_log_softmax, careful_logsumexp, careful_softmax, logsumexp_near_zero
from fastsoftmax.kernels.exponential import add_exactly, add_smaller, exponential, log2e_over, magic_number
from fastsoftmax.kernels.logarithm import log_of_sum
from fastsoftmax.kernels.narrow import inverses, log_of_sums, log_share, scales
from fastsoftmax.kernels.narrow_sums import PART_DOUBLE, PART_SINGLE, floors_of, over_peak, pivots_for, summit
from fastsoftmax.kernels.pivot import add_four_exactly, add_group, sum_of_four
from fastsoftmax.kernels.row_results import share
from fastsoftmax.kernels.rows import ROW_PARAMETERS, is_delicate
from fastsoftmax.simd import (
    GROUP,
    alternate,
    choose,
    count_set,
    flush_small,
    in_a_line,
    lanes,
    larger,
    load,
    load_first,
    load_group,
    narrowed,
    pointer_to,
    prefetch,
    prefetch_to_write,
    repeated,
    restore,
    scratch,
    select,
    splat,
    store,
    store_first,
    store_one,
    widened,
)

LIMITS = {"float32": (64, 400), "float64": (64, 200)}  # of elements, from and to below which it pays
MANY = 8  # rows
ROWS = 16  # that are done at once, at most: as many as a vector has lanes
AHEAD = 4  # rows that elements are asked for ahead of the next so many


def is_short(rows: int, n: int, compute_type: str) -> bool:
    """Tell whether so many rows of n elements may go this way."""
    least, limit = LIMITS[compute_type]
    return rows >= MANY and least <= n < limit


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
    """Set sums to 0: those of rows that there are not are added up, too."""
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


@kernel(*ROW_PARAMETERS)
def softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature):
    """Write softmax of the rows first to last; for the parameters see `rows.softmax_rows`."""
    x, out = pointer_to(x), pointer_to(out)
    high, low = log2e_over(x, temperature)
    width = lanes(x)
    pitch = (n + width - 1) // width * width
    terms, room = scratch(x, pitch), scratch(x, ROWS)
    totals, losts, kept = scratch(x, ROWS), scratch(x, ROWS), scratch(x, 2)
    forget(x, totals, losts)
    mode = flush_small()
    maximum = splat(x, 0.0)
    for r in range(first - width, last, width):
        rows, start, to = min(width, last - r), x_start + r * x_step, out_start + r * out_step
        total, lost = splat(x, 0.0), splat(x, 0.0)
        if r >= first:
            pivot = pivots_for(x, maximum, high)
            store(kept, 0, floors_of(x, pivot, high))
            store(kept, width, magic_number(x, pivot))
            for k in range(rows):
                floor, magic = splat(x, kept[k]), splat(x, kept[width + k])
                ask_for(x, start + (k + width + AHEAD) * x_step, out, to + k * out_step, n)
                total, lost = sum_terms(x, start + k * x_step, n, terms, k * pitch, floor, magic, high, low)
                store(totals, k * width, total)
                store(losts, k * width, lost)
            total, lost = sums_of_rows(x, totals, losts)
        if r + width < last:  # beside what waits for the sums
            behind = r + width
            maximum = maxima_of_rows(x, x_start + behind * x_step, x_step, min(width, last - behind), n, room)
        if r < first:
            continue
        inverse, inverse_low = inverses(total, lost)
        store(kept, 0, inverse)
        store(kept, width, inverse_low)
        for k in range(rows):
            place = to + k * out_step
            if math.isnan(kept[k]):
                careful_softmax(x, start + k * x_step, n, out, place, temperature)
                continue
            high_part, low_part = splat(x, kept[k]), splat(x, kept[width + k])
            whole = n - n % width
            for i in range(0, whole, width):
                store(out, place + i, share(load(terms, k * pitch + i), high_part, low_part))
            if whole < n:
                store_first(out, place + whole, share(load(terms, k * pitch + whole), high_part, low_part), n - whole)
    restore(mode)


@kernel(*ROW_PARAMETERS)
def log_softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature):
    """Write log_softmax of the rows first to last."""
    x, out = pointer_to(x), pointer_to(out)
    high, low = log2e_over(x, temperature)
    scale, scale_low = scales(x, temperature)
    width = lanes(x)
    room, totals, losts, kept = scratch(x, ROWS), scratch(x, ROWS), scratch(x, ROWS), scratch(x, 4)
    forget(x, totals, losts)
    store(kept, 3 * width, splat(x, 0.0))
    maximum = splat(x, 0.0)
    next_maximum, others, lost, magic = maximum, maximum, maximum, maximum
    for r in range(first - width, last, width):
        rows, start, to = min(width, last - r), x_start + r * x_step, out_start + r * out_step
        maximum = next_maximum
        if r >= first:
            pivot = pivots_for(x, maximum, high)
            magic = magic_number(x, pivot)
            store(kept, 0, maximum)
            store(kept, width, floors_of(x, pivot, high))
            store(kept, 2 * width, magic)
            for k in range(rows):
                ask_for(x, start + (k + width + AHEAD) * x_step, out, to + k * out_step, n)
                top, floor, row_magic = splat(x, kept[k]), splat(x, kept[width + k]), splat(x, kept[2 * width + k])
                others, lost, ties = sum_others(x, start + k * x_step, n, top, floor, row_magic, high, low)
                store(totals, k * width, others)
                store(losts, k * width, lost)
                kept[3 * width + k] = ties - 1.0
            others, lost = sums_of_rows(x, totals, losts)
        if r + width < last:  # beside what waits for the sums
            behind = r + width
            next_maximum = maxima_of_rows(x, x_start + behind * x_step, x_step, min(width, last - behind), n, room)
        if r < first:
            continue
        others, lost = over_peak(x, others, lost, maximum, high, low, magic)
        others, lost = add_exactly(others, lost, load(kept, 3 * width) * choose(x, 2.0**PART_SINGLE, 2.0**PART_DOUBLE))
        store(kept, width, log_of_sums(x, others, lost))
        for k in range(rows):
            place = to + k * out_step
            if math.isnan(kept[width + k]):
                careful_log_softmax(x, start + k * x_step, n, out, place, temperature)
                continue
            top, log = splat(x, kept[k]), splat(x, kept[width + k])
            at, whole = start + k * x_step, n - n % width
            for i in range(0, whole, width):
                store(out, place + i, log_share(load(x, at + i), top, log, scale, scale_low))
            if whole < n:
                v = load_first(x, at + whole, n - whole)
                store_first(out, place + whole, log_share(v, top, log, scale, scale_low), n - whole)


@kernel(*ROW_PARAMETERS)
def logsumexp_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature):
    """Write logsumexp of the rows first to last; the temperature is 1."""
    x, out = pointer_to(x), pointer_to(out)
    high, low = log2e_over(x, 1.0)
    width = lanes(x)
    room, totals, losts, kept = scratch(x, ROWS), scratch(x, ROWS), scratch(x, ROWS), scratch(x, 2)
    forget(x, totals, losts)
    maximum = splat(x, 0.0)
    pivot, total, lost = maximum, maximum, maximum
    for r in range(first - width, last, width):
        rows, start, to = min(width, last - r), x_start + r * x_step, out_start + r * out_step
        if r >= first:
            pivot = pivots_for(x, maximum, high)
            store(kept, 0, floors_of(x, pivot, high))
            store(kept, width, magic_number(x, pivot))
            for k in range(rows):
                floor, magic = splat(x, kept[k]), splat(x, kept[width + k])
                ask_for(x, start + (k + width + AHEAD) * x_step, None, 0, n)
                total, lost = sum_terms(x, start + k * x_step, n, None, 0, floor, magic, high, low)
                store(totals, k * width, total)
                store(losts, k * width, lost)
            total, lost = sums_of_rows(x, totals, losts)
        if r + width < last:  # beside what waits for the sums
            behind = r + width
            maximum = maxima_of_rows(x, x_start + behind * x_step, x_step, min(width, last - behind), n, room)
        if r < first:
            continue
        store(kept, 0, narrowed(x, log_of_sum(x, widened(total), widened(lost), widened(pivot))))
        for k in range(rows):
            result = float(kept[k])
            if is_delicate(x, result):
                result = logsumexp_near_zero(x, start + k * x_step, n)
            elif math.isnan(result):
                result = careful_logsumexp(x, start + k * x_step, n)
            store_one(out, to + k * out_step, result)
