"""What is kept of columns while they are summed, and the choice of their pivots.

A pivot puts the largest element of a column near 2^aim. For the first chunk of rows that is guessed from some of them,
for another it is known from those before; it is looked for where columns vary much, or found as they are summed.
"""

import collections
import math

from fastsoftmax.jit import inline
from fastsoftmax.kernels.exponential import MAGIC_DOUBLE, magic_integer, magic_number, nodes, pivot_in
from fastsoftmax.kernels.pivot import AIM_DOUBLE, AIM_SINGLE, MAX_GUESS, MAX_PIVOT, aim, hold_out, lowest_exponent
from fastsoftmax.kernels.strips import column_of, load_rows, slots_of
from fastsoftmax.simd import (
    WIDE,
    absolute,
    any_set,
    constant,
    count_set,
    fma,
    lanes,
    larger,
    largest_of_four,
    load,
    load_wide,
    select,
    shift_exponent,
    smaller,
    splat,
    splat_wide,
    store,
)

SAMPLE = 8  # rows of the first chunk from which the pivots are guessed
VARIETY = 16  # exponents that these may span, or the guess is not one
RISE = 10  # an element up to 2 to this power times the one that a pivot is for still suits it

# From where a sum starts: no term that suits a pivot is larger.
bias = constant(2.0 ** (AIM_SINGLE + RISE + 1), 2.0 ** (AIM_DOUBLE + RISE + 1))

# What is kept of each column, in arrays of `room` numbers behind one another: in the type that is computed in ...
LARGEST, MAGIC, FLOOR, LIMIT, HELD, TOP, FIRST, SECOND, PART, PART_LOST, PART_REST = range(11)
SEEN, HELD_OUT = FIRST, SECOND  # as long as sums are not finished
KEPT = 11
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
    """Begin a strip.

    What is behind its columns will be moved and computed with, too: arithmetic with what happens to lie there, if that
    were subnormal numbers, would take many times as long.
    """
    x = kept.numbers
    for what in range(KEPT):
        keep(kept, what, slots, splat(x, 0.0))
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
def raise_pivots(kept, j, high, has_sums):
    """Choose the pivots of a vector of columns for their largest elements, and bring the sums, if any, to them.

    Elements that have none, -inf or nearly, get 0: their terms vanish beside others, or nothing else comes, and the
    column is done the careful way. What is kept as PART is lost.
    """
    x = kept.numbers
    largest, step = recall(kept, LARGEST, j), nodes(x) / high
    k = fma(largest, splat(x, high / nodes(x)), splat(x, magic_integer(x))) - magic_integer(x)
    has = has_pivot(x, largest, high)
    pivot = select(has, k - aim(x), 0.0)
    magic = magic_number(x, pivot)
    keep(kept, FLOOR, j, (pivot + lowest_exponent(x)) * step)
    keep(kept, LIMIT, j, select(has, (k + RISE) * step, largest))
    if has_sums and count_set(magic == recall(kept, MAGIC, j)) < lanes(x):
        keep(kept, PART, j, magic)
        for k in range(j, j + lanes(x), WIDE):
            shift = pivot_in(x, recall_wide(kept, MAGIC, k)) - pivot_in(x, recall_wide(kept, PART, k))
            shift = larger(smaller(shift, splat_wide(0.0)), splat_wide(-1022.0))
            power = shift_exponent(splat_wide(1.0), shift + MAGIC_DOUBLE)
            total, lost = sums_of(kept, k)
            keep_sums(kept, k, total * power, lost * power)
    keep(kept, MAGIC, j, magic)


@inline
def larger_two(v, best, second):
    """Return the largest and second largest of what has been seen and v, NaN passed over."""
    return larger(v, best), larger(smaller(best, v), second)


@inline
def guess_largest(source, rows, strip, last, holds, kept, high):
    """Guess the largest elements of columns from some of the rows, -inf where these vary much.

    Unless `holds` is None, it is the second largest, since the largest is held out. Returns whether any vary much.
    """
    x, varies = kept.numbers, False
    step = (rows + SAMPLE - 1) // SAMPLE
    for slot in range(0, slots_of(x, strip), lanes(x)):
        best, second, least = splat(x, -math.inf), splat(x, -math.inf), splat(x, math.inf)
        at = source.start + column_of(slot, strip, last)
        for i in range(0, rows, step):
            v = load(source.data, at + i * source.pitch)
            best, second = larger_two(v, best, second)
            least = smaller(v, least)
        guess = best if holds is None else second
        varies_much = best - least >= splat(x, VARIETY * nodes(x) / high)
        varies |= any_set(varies_much)
        keep(kept, LARGEST, slot, select(varies_much, -math.inf, guess))
    return varies


@inline
def look_for_largest(source, rows, strip, last, holds, kept):
    """Keep the largest of the columns, each as `sum_down` finds it, along the rows."""
    x, slots = kept.numbers, slots_of(kept.numbers, strip)
    for slot in range(0, slots, lanes(x)):
        keep(kept, SEEN, slot, splat(x, -math.inf))
        if holds is not None:
            keep(kept, HELD_OUT, slot, recall(kept, HELD, slot))
    for i in range(0, rows, 4):
        for slot in range(0, slots, lanes(x)):
            at = source.start + i * source.pitch + column_of(slot, strip, last)
            v = load_rows(source.data, at, source.pitch, rows - i)
            if holds is not None:
                held, v = hold_out(recall(kept, HELD_OUT, slot), v)
                keep(kept, HELD_OUT, slot, held)
            keep(kept, SEEN, slot, larger(largest_of_four(v), recall(kept, SEEN, slot)))


@inline
def note_largest(kept, slot, seen):
    """Take what was seen for the largest where a pivot does not suit it; return whether that is so anywhere."""
    unsuited = recall(kept, LIMIT, slot) < seen
    keep(kept, LARGEST, slot, select(unsuited, seen, recall(kept, LARGEST, slot)))
    return any_set(unsuited)


@inline
def pivots(kept, j):
    """Return the pivots of WIDE columns."""
    return pivot_in(kept.numbers, recall_wide(kept, MAGIC, j))
