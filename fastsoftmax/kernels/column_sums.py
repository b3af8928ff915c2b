"""Sums of columns: with a guessed pivot, or with the right one.

Each vector of columns goes down a chunk of rows with its sums in registers, and its terms e^x · 2^-pivot may be kept.
The pivot puts the largest element near 2^aim. For the first chunk that is guessed from some of its rows, for another it
is known from those before. Where a chunk then turns out to have a much larger element, it is summed again. What has
been summed before is scaled by a power of two, which is exact. So results have the same bits however columns are read,
and whatever is beside them.

For log_softmax the largest element of each column is held out: an element that is larger takes its place, and what was
there is summed. So the logarithm of the sum can be had as that element plus log(1 + others), be they ever so small.

A sum starts from the *bias*, which is larger than any term, so that three operations give what an addition has rounded
off.
"""

import collections
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
from fastsoftmax.kernels.pivot import (
    AIM_DOUBLE,
    AIM_SINGLE,
    MAX_GUESS,
    MAX_PIVOT,
    add_group,
    aim,
    hold_out,
    lowest_exponent,
    sum_of_four,
)
from fastsoftmax.kernels.strips import (
    bring,
    chunk_after,
    chunk_of,
    chunks_of,
    fetch_four,
    last_column,
    load_rows,
    part_of,
    rows_from,
    slots_of,
    soon_wanted,
    store_rows,
)
from fastsoftmax.simd import (
    WIDE,
    absolute,
    any_set,
    choose,
    fma,
    join,
    lanes,
    larger,
    load,
    load_wide,
    quarters,
    select,
    shift_exponent,
    smaller,
    splat,
    splat_group,
    splat_wide,
    store,
)

SAMPLE = 8  # rows of the first chunk from which the pivots are guessed ...
FEW = 32  # ... unless it has no more than so many: then all
VARIETY = 16  # exponents that these may span, or the guess is not one
RISE = 10  # an element up to 2 to this power times the one that a pivot is for still suits it

# What is kept of each column, in arrays of `room` numbers behind one another: in the type that is computed in ...
LARGEST, MAGIC, FLOOR, LIMIT, HELD, TOP, FIRST, SECOND, PART, PART_LOST = range(10)
SEEN, HELD_OUT = FIRST, SECOND  # as long as sums are not finished
KEPT = 10
# ... and in float64.
TOTAL, LOST = range(2)
SUMS = 2

#: The numbers of all columns of a strip, and their sums.
Kept = collections.namedtuple("Kept", "numbers sums room")


@inline
def recall(kept, what, j):
    """Return a number of a vector of columns."""
    return load(kept.numbers, what * kept.room + j)


@inline
def recall_wide(kept, what, j):
    """Return a number of WIDE columns, as float64."""
    return load_wide(kept.numbers, what * kept.room + j)


@inline
def keep(kept, what, j, value):
    """Keep a number of some columns."""
    store(kept.numbers, what * kept.room + j, value)


@inline
def sums_of(kept, j):
    """Return the sums of WIDE columns, and what they lost."""
    return load_wide(kept.sums, TOTAL * kept.room + j), load_wide(kept.sums, LOST * kept.room + j)


@inline
def keep_sums(kept, j, total, lost):
    """Keep the sums of WIDE columns, and what they lost."""
    store(kept.sums, TOTAL * kept.room + j, total)
    store(kept.sums, LOST * kept.room + j, lost)


@inline
def clear(kept, slots):
    """Begin a strip."""
    x = kept.numbers
    for j in range(0, slots, lanes(x)):
        keep(kept, LARGEST, j, splat(x, -math.inf))
        keep(kept, HELD, j, splat(x, -math.inf))
        keep(kept, MAGIC, j, splat(x, magic_number(x, 0.0)))
    for j in range(0, slots, WIDE):
        keep_sums(kept, j, splat_wide(0.0), splat_wide(0.0))


@inline
def has_pivot(x, largest, high):
    """Tell for which elements there is a pivot."""
    return absolute(largest * (high / nodes(x))) < MAX_PIVOT


@inline
def is_within(x, largest, high):
    """Tell of which columns with such largest elements the sums are right.

    A chunk of elements so low that they have no pivot has been summed with another: it must have vanished beside this.
    """
    return absolute(largest * (high / nodes(x))) < MAX_GUESS


@inline
def raise_pivots(kept, j, high):
    """Choose the pivots of a vector of columns for their largest elements, and bring the sums to them.

    Elements that have none, -inf or nearly, get 0: their terms vanish beside others, or nothing else comes, and the
    column is done the careful way.
    """
    x = kept.numbers
    largest, step = recall(kept, LARGEST, j), nodes(x) / high
    k = fma(largest, splat(x, high / nodes(x)), splat(x, magic_integer(x))) - magic_integer(x)
    has = has_pivot(x, largest, high)
    pivot = select(has, k - aim(x), 0.0)
    keep(kept, PART, j, magic_number(x, pivot))
    keep(kept, FLOOR, j, (pivot + lowest_exponent(x)) * step)
    keep(kept, LIMIT, j, select(has, (k + RISE) * step, largest))
    for k in range(j, j + lanes(x), WIDE):
        shift = pivot_in(x, recall_wide(kept, MAGIC, k)) - pivot_in(x, recall_wide(kept, PART, k))
        shift = larger(smaller(shift, splat_wide(0.0)), splat_wide(-1022.0))
        power = shift_exponent(splat_wide(1.0), shift + MAGIC_DOUBLE)
        total, lost = sums_of(kept, k)
        keep_sums(kept, k, total * power, lost * power)
    keep(kept, MAGIC, j, recall(kept, PART, j))


@inline
def larger_two(v, best, second):
    """Return the largest and second largest of what has been seen and v, NaN passed over."""
    return larger(v, best), larger(smaller(best, v), second)


@inline
def guess_largest(source, j, rows, holds, kept, slot, high):
    """Guess the largest elements of a vector of columns from some rows; where these vary much, take all rows.

    Unless `holds` is None, it is the second largest, since the largest is held out. Returns whether any vary much.
    """
    x = source.data
    best, second, least = splat(x, -math.inf), splat(x, -math.inf), splat(x, math.inf)
    step = 1 if rows <= FEW else (rows + SAMPLE - 1) // SAMPLE
    for i in range(0, rows, step):
        v = load(x, source.start + i * source.pitch + j)
        best, second = larger_two(v, best, second)
        least = smaller(v, least)
    guess = best if holds is None else second
    varies_much = best - least >= splat(x, VARIETY * nodes(x) / high)
    if step > 1 and any_set(varies_much):
        best, second = splat(x, -math.inf), splat(x, -math.inf)
        for i in range(rows):
            best, second = larger_two(load(x, source.start + i * source.pitch + j), best, second)
        guess = select(varies_much, best if holds is None else second, guess)
    keep(kept, LARGEST, slot, guess)
    return any_set(varies_much)


@inline
def largest_of_rows(group, largest):
    """Return the largest of each lane of the four vectors of a group and `largest`; NaN is passed over."""
    a, b, c, d = quarters(group)
    return larger(larger(larger(a, b), larger(c, d)), largest)


@inline
def look_for_largest(source, rows, slots, last, holds, kept):
    """Keep the largest of the columns, each as `sum_down` finds it, along the rows."""
    x = kept.numbers
    for slot in range(0, slots, lanes(x)):
        keep(kept, SEEN, slot, splat(x, -math.inf))
        if holds is not None:
            keep(kept, HELD_OUT, slot, recall(kept, HELD, slot))
    for i in range(0, rows, 4):
        for slot in range(0, slots, lanes(x)):
            v = load_rows(source, i, min(slot, last), rows)
            if holds is not None:
                held, v = hold_out(recall(kept, HELD_OUT, slot), v)
                keep(kept, HELD_OUT, slot, held)
            keep(kept, SEEN, slot, largest_of_rows(v, recall(kept, SEEN, slot)))


@inline
def bias(x):
    """Return from where a sum starts: no term that suits a pivot is larger."""
    return choose(x, 2.0 ** (AIM_SINGLE + RISE + 1), 2.0 ** (AIM_DOUBLE + RISE + 1))


@inline
def sum_down(source, j, rows, terms, holds, held, floor, magic, high, low, soon):
    """Return the sums of the terms of a vector of columns plus the bias, what they lost, the largest, what is held out.

    The terms are written to `terms` unless that is None. Unless `holds` is None, `held` is held out until there is a
    larger element. The matrices in `soon` are fetched meanwhile.
    """
    x = source.data
    group_magic, group_floor = join(magic, magic, magic, magic), join(floor, floor, floor, floor)
    high, low = splat_group(x, high), splat_group(x, low)
    total, lost, largest = splat(x, bias(x)), splat(x, 0.0), splat(x, -math.inf)
    for i in range(0, rows, 4):
        fetch_four(soon[0], i, j, rows)
        fetch_four(soon[1], i, j, rows)
        v = load_rows(source, i, j, rows)
        if holds is not None:
            held, v = hold_out(held, v)
        e, large, small, _ = exponential(larger(group_floor, v), high, low, group_magic)
        if terms is not None:
            store_rows(terms, i, j, rows, e)
        largest = largest_of_rows(v, largest)
        total, rests = add_group(total, large)
        lost = lost + (sum_of_four(rests) + sum_of_four(small))
    return total, lost, largest, held


@inline
def add_sums(kept, j, total, lost):
    """Add the sums of a chunk, which began at the bias, to those of a vector of columns."""
    keep(kept, PART, j, total)
    keep(kept, PART_LOST, j, lost)
    for k in range(j, j + lanes(kept.numbers), WIDE):
        part, part_lost = recall_wide(kept, PART, k) - bias(kept.numbers), recall_wide(kept, PART_LOST, k)
        whole, rest = sums_of(kept, k)
        whole, rest = add_exactly(whole, rest + part_lost, part)
        keep_sums(kept, k, whole, rest)


@inline
def note_largest(kept, slot, seen):
    """Take what was seen for the largest where a pivot does not suit it; return whether that is so anywhere."""
    unsuited = recall(kept, LIMIT, slot) < seen
    keep(kept, LARGEST, slot, select(unsuited, seen, recall(kept, LARGEST, slot)))
    return any_set(unsuited)


@inline
def sum_chunk(source, rows, slots, last, is_first, looks, terms, holds, kept, high, low, soon):
    """Add the terms of a chunk, which are kept unless `terms` is None, to the sums of its columns.

    No vector begins behind the column `last`: the last one may overlap the one before. Unless `holds` is None, the
    largest element is held out. Returns whether columns vary much, or pivots had to be raised. Where that was so in the
    chunk before, `looks` has the largest elements looked for first, or much would be summed twice.
    """
    x = kept.numbers
    varies = False
    if looks:
        look_for_largest(source, rows, slots, last, holds, kept)
    for slot in range(0, slots, lanes(x)):
        j = min(slot, last)
        if is_first:
            varies |= guess_largest(source, j, rows, holds, kept, slot, high)
        elif looks:
            raise_pivots(kept, slot, high)
            varies |= note_largest(kept, slot, recall(kept, SEEN, slot))
        total, lost = splat(x, 0.0), splat(x, 0.0)
        for _ in range(2):  # twice at most: the second time what was seen is what the pivots are for
            raise_pivots(kept, slot, high)
            magic, floor, held = recall(kept, MAGIC, slot), recall(kept, FLOOR, slot), recall(kept, HELD, slot)
            total, lost, seen, held = sum_down(source, j, rows, terms, holds, held, floor, magic, high, low, soon)
            if not note_largest(kept, slot, seen):
                keep(kept, LARGEST, slot, larger(seen, recall(kept, LARGEST, slot)))
                keep(kept, HELD, slot, held)
                break
            varies = True
        add_sums(kept, slot, total, lost)
    return varies


@inline
def sum_strip(all_x, block, last, all_planes, n, inner, width, strip, tile, holds, kept, high, low):
    """Sum the columns of a strip, of which no terms are kept; return where its slots end, and its last vector begins.

    Unless `holds` is None, the largest elements are held out.
    """
    x = part_of(all_x, strip)
    slots, column = slots_of(kept.numbers, strip), last_column(x, strip)
    clear(kept, slots)
    varies = False
    for c in range(chunks_of(n)):
        i, rows = chunk_of(c, n)
        source = bring(rows_from(x, i), rows, strip, tile)
        soon = soon_wanted(chunk_after(all_x, block, c, last, all_planes, n, inner, width), strip, slots)
        varies = sum_chunk(source, rows, slots, column, c == 0, varies, None, holds, kept, high, low, (soon, None))
    return slots, column


@inline
def pivots(kept, j):
    """Return the pivots of WIDE columns."""
    return pivot_in(kept.numbers, recall_wide(kept, MAGIC, j))


@inline
def sum_of(kept, j, high):
    """Return the sums of WIDE columns in two parts, NaN where there is a NaN or no pivot."""
    total, lost = sums_of(kept, j)
    return add_smaller(select(is_within(kept.numbers, recall_wide(kept, LARGEST, j), high), total, math.nan), lost)


@inline
def settle(array, place, count, last, width):
    """Move to its place what is kept of the columns that only the last vector has: it may overlap the one before."""
    whole = count - count % width
    if last < whole < count:
        for k in range(whole, whole + width, WIDE):
            store(array, place + k, load_wide(array, place + k + (whole - last)))


@inline
def settle_all(kept, strip, last):
    """Settle what the second pass needs."""
    for what in (FIRST, SECOND, MAGIC, FLOOR, HELD, TOP):
        settle(kept.numbers, what * kept.room, strip.count, last, lanes(kept.numbers))
