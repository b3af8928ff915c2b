"""One row, one exponential an element: the pass that `auto` is built on.

The textbook reads a row for its maximum before it can begin. But any power of two near e^max serves as well: float32
has 254 exponents, and the row needs about 150 of them. So the pass guesses a *pivot* (an exponent from that of the
largest at the row's two ends), computes e^x · 2^-pivot, adds, and notes whether an exponent was too large. Only a row
whose guess was far off is done again, with its maximum known. Exponents that are too small are raised.

`sum_exponentials` adds with an error of far less than one rounding, whatever the row: a running sum begins at a
*ceiling* that no lane's sum reaches, so that what each addition rounds away is found by two subtractions (Dekker's
fast two-sum wants the larger number first). Large parts are short numbers, and what is lost of them is summed without
rounding, mostly; small parts are not, and have a sum of their own: equal ones would all be rounded the same way.
"""

import collections
import math

import numpy as np

from fastsoftmax.jit import inline
from fastsoftmax.kernels.exponential import add_exactly, add_smaller, magic_number, nodes, reduced, slope_in_long_loop
from fastsoftmax.kernels.waiting_row import write_group
from fastsoftmax.simd import (
    WRITES_WHOLE_LINES,
    all_in_range,
    any_set,
    constant,
    count_set,
    fma,
    in_a_line,
    join,
    keep_last,
    lanes,
    larger,
    largest,
    largest_of_four,
    load_first,
    load_group,
    note_steps,
    prefetch,
    prefetch_to_write,
    quarters,
    select,
    smaller,
    splat,
    splat_group,
    store,
    sum_lanes,
)

MAX_PIVOT = 2**17  # up to here the magic number minus the pivot is exact, and the two parts of log2(e) suffice
MAX_GUESS = MAX_PIVOT - 2**12  # whatever suits a guess has a pivot of its own: no exponents differ by so much
SEGMENT = 4096  # elements of a row after which the sum moves on to float64
AHEAD = 256  # vectors ahead that elements are asked for, of the next rows, too: processors begin anew on each page
SOON = 2  # groups ahead that memory to write to is asked for; many would be in pages that the system has yet to give
FEW_GROUPS = 8  # after which the small parts are added, exactly: equal ones would all be rounded the same way
AIM_SINGLE, AIM_DOUBLE = 59, 480  # a term of the lowest exponent over one of this is 0
HEADROOM = 16  # 2 to this power times the term at the pivot is the ceiling: all terms of a lane, and a poor guess
MANY_EXPONENTS, MANY_GROUPS = 36, 24  # of a row whose largest may well be HEADROOM above those at its ends

#: The sum of a row: two float64, and three vectors of which `add_up` has yet to add the lanes. That takes longer than
#: some groups, each step waiting for the one before, so it may be done later, for some rows at once.
RowSum = collections.namedtuple("RowSum", "total lost large rounded_off small")

# The exponent to which smaller ones are raised. A term so small is nothing beside the sum. It is large enough for its
# small part to be a normal number, or zero: where many elements are far below the largest, arithmetic with subnormal
# numbers would take twice the time.
lowest_exponent = constant(-94, -960)

aim = constant(AIM_SINGLE, AIM_DOUBLE)  # the exponent of the term at the pivot: far from the lowest and the highest
ceiling = constant(2.0 ** (AIM_SINGLE + HEADROOM), 2.0 ** (AIM_DOUBLE + HEADROOM))  # a lane's sum must not exceed it
least_sum = constant(0.25 * 2.0**AIM_SINGLE, 0.25 * 2.0**AIM_DOUBLE)  # a sum has the term at the pivot, if that suits


@inline
def floor_of(x, pivot, high):
    """Return the x whose term has the lowest exponent.

    A term at the floor vanishes when it is divided by the sum, so that e^-inf becomes 0.
    """
    return (pivot + lowest_exponent(x)) * (nodes(x) / high)


@inline
def sum_of_four(group):
    """Return the sum of the four vectors of a group."""
    a, b, c, d = quarters(group)
    return (a + b) + (c + d)


@inline
def sum_of_products(a, b):
    """Return the sum of the products of the four vectors of two groups."""
    a0, a1, a2, a3 = quarters(a)
    b0, b1, b2, b3 = quarters(b)
    return fma(a0, b0, a1 * b1) + fma(a2, b2, a3 * b3)


@inline
def smallest_of_four(group):
    """Return of each lane the smallest in the four vectors of a group."""
    a, b, c, d = quarters(group)
    return smaller(smaller(a, b), smaller(c, d))


@inline
def add_group(total, group):
    """Return total with the four vectors of a group added, all smaller than it, and what each addition lost."""
    a, b, c, d = quarters(group)
    total, a = add_smaller(total, a)
    total, b = add_smaller(total, b)
    total, c = add_smaller(total, c)
    total, d = add_smaller(total, d)
    return total, join(a, b, c, d)


@inline
def add_four_exactly(total, lost, group):
    """Return total + the four vectors of a group, and `lost` plus what the rounding of that sum lost."""
    a, b, c, d = quarters(group)
    total, lost = add_exactly(total, lost, a)
    total, lost = add_exactly(total, lost, b)
    total, lost = add_exactly(total, lost, c)
    return add_exactly(total, lost, d)


@inline
def hold(held, v):
    """Return the larger of `held` and v, and the other one, which v is where it is NaN."""
    return larger(v, held), smaller(held, v)


@inline
def hold_out(held, group):
    """Return the largest of each lane of `held` and the four vectors of a group, and all the others as a group."""
    a, b, c, d = quarters(group)
    held, a = hold(held, a)
    held, b = hold(held, b)
    held, c = hold(held, c)
    held, d = hold(held, d)
    return held, join(a, b, c, d)


@inline
def bounded(v, floor, limit):
    """Return v with lanes under the floor at the floor, and those over the limit, unless that is None, at the limit."""
    v = larger(floor, v)
    return v if limit is None else smaller(limit, v)


@inline
def add_lanes(sums):
    """Return the sum, in two parts, of which the second may be more than a rounding of the first."""
    total, rest = add_exactly(sums.large, sums.small, sums.rounded_off)
    part, part_lost = sum_lanes(total, rest)
    return add_exactly(sums.total, sums.lost + part_lost, part)


@inline
def add_up(sums):
    """Return the sum as a float64, and what it lost."""
    total, lost = add_lanes(sums)
    row_sum = total + lost  # what is lost holds all small parts: only now it becomes small itself
    return row_sum, lost - (row_sum - total)


@inline
def sum_exponentials(x, start, n, terms, j, keeps, pivot, high, low, limit, seeks_peak, meanwhile=None):
    """Sum e^x · 2^-pivot over n elements, at least a group, from `start`.

    Returns the sum, the largest group of terms that a lane saw (roughly; 0 with None for `seeks_peak`), whether the
    pivot suited, whether a lane's sum reaches what that of a row must, and the terms of the last group, which overlaps
    the one before. All others are kept in terms[j:], unless `keeps` is None: storing what overlaps would make the next
    pass wait for both. Where they are not kept, and `terms` is not None, it is where a later pass writes to. Either way
    it is asked for in time. Of the row `meanwhile`, unless that is None, a group is written for each but the last.

    A pivot does not suit where an exponent is too large, or there is a NaN. One that is too small is raised to the
    lowest; an element over the limit, unless that is None, counts as the limit.
    """
    width = 4 * lanes(x)
    floor = splat_group(x, floor_of(x, pivot, high))
    magic, high, low = splat_group(x, magic_number(x, pivot)), splat_group(x, high), splat_group(x, low)
    zero, bottom = splat(x, 0.0), splat(x, ceiling(x))
    total, peak, seen, most = bottom, zero, zero, bottom
    nothing = splat_group(x, 0.0)
    lost, rest = nothing, nothing
    row_total, row_lost = 0.0, 0.0
    last = n - width
    i = 0
    while i < last:
        if i > 0:
            most = larger(total, most)
            row_total, row_lost = add_lanes(
                RowSum(row_total, row_lost, total - bottom, sum_of_four(lost), sum_of_four(rest))
            )
            total, lost, rest = bottom, nothing, nothing
            if not all_in_range(seen) or any_set(most >= 2.0 * ceiling(x)):
                break
        stop = min(last, i + SEGMENT)
        while True:
            pause = min(stop, i + FEW_GROUPS * width)
            while i < pause:
                for k in range(i, i + width, in_a_line(x)):
                    prefetch(x, start + k + AHEAD * lanes(x))
                v = bounded(load_group(x, start + i), floor, limit)
                large, f, steps = reduced(v, high, low, magic)
                a, b = large * f, slope_in_long_loop(f)
                if keeps is not None:
                    store(terms, j + i, fma(a, b, large))
                if terms is not None and (keeps is None or not WRITES_WHOLE_LINES):
                    for k in range(i, i + width, in_a_line(terms)):
                        prefetch_to_write(terms, j + k + (0 if keeps is None else SOON * width))
                if meanwhile is not None:
                    write_group(meanwhile, i)
                seen = note_steps(seen, steps)
                before = total
                total, lost_here = add_group(total, large)
                lost = lost + lost_here
                rest = fma(a, b, rest)
                if seeks_peak is not None:
                    peak = larger(total - before, peak)
                i += width
            if i >= stop:
                break
            total, rest = add_group(total, rest)
    v = bounded(load_group(x, start + last), floor, limit)
    large, f, steps = reduced(v, high, low, magic)
    a, b = large * f, slope_in_long_loop(f)
    seen = note_steps(seen, steps)
    end = fma(a, b, large)
    before = total
    total, lost_here = add_group(total, keep_last(large, n - i))
    lost = lost + lost_here
    rest = fma(keep_last(a, n - i), b, rest)
    if seeks_peak is not None:
        peak = larger(total - before, peak)
    most = larger(total, most)
    is_sound = count_set(total == total) == lanes(x)  # the exponent above the largest is in range, but makes a NaN
    suits = all_in_range(seen) and is_sound and not any_set(most >= 2.0 * ceiling(x))
    reaches = any_set(most >= ceiling(x) + least_sum(x))
    sums = RowSum(row_total, row_lost, total - bottom, sum_of_four(lost), sum_of_four(rest))
    return sums, peak, suits, reaches, end


@inline
def two_largest(x, start, n):
    """Return the largest of n elements, at least a group, and the largest of the others; NaN is passed over."""
    width = 4 * lanes(x)
    nothing = splat(x, -math.inf)
    best = join(nothing, nothing, nothing, nothing)
    second = best
    whole = n - n % width
    for i in range(0, whole, width):
        v = load_group(x, start + i)
        second = larger(smaller(v, best), second)
        best = larger(v, best)
    a, b, c, d = quarters(best)
    second = largest_of_four(second)
    for v in (b, c, d):
        second, a = larger(smaller(v, a), second), larger(v, a)
    for i in range(whole, n, lanes(x)):
        v = load_first(x, start + i, min(lanes(x), n - i))
        second, a = larger(smaller(v, a), second), larger(v, a)
    maximum = largest(a)
    is_maximum = a == maximum
    below = largest(larger(second, select(is_maximum, nothing, a)))
    return float(maximum), float(maximum) if count_set(is_maximum) > 1 else float(below)


@inline
def row_maximum(x, start, n):
    """Return the largest of n elements, at least a group; NaN elements are passed over."""
    width = 4 * lanes(x)
    best = splat_group(x, -math.inf)
    for i in range(0, n - (width - 1), width):
        best = larger(load_group(x, start + i), best)
    best = larger(load_group(x, start + n - width), best)
    return float(largest(largest_of_four(best)))


@inline
def pivot_for(x, maximum, high):
    """Return the pivot for a known maximum; NaN if no pivot can serve."""
    k = np.rint(maximum * (high / nodes(x)))
    return k - aim(x) if abs(k) <= MAX_PIVOT - aim(x) else math.nan


@inline
def guess_pivot(x, start, n, step, high, max_spread):
    """Return a pivot, guessed from the ends of a row and, if it is long, a group inside in `step` elements.

    And whether the terms at the ends span more than `max_spread` exponents, unless that is None. If not, but where they
    span many, a quarter of a row of many groups is looked at: its largest may well be far above those at the ends. A
    bad guess costs time only.
    """
    width = 4 * lanes(x)
    left, right = load_group(x, start), load_group(x, start + n - width)
    sample = larger(right, left)
    is_spread = False
    if n < SEGMENT:  # not worth the wait for memory
        step = n
    if max_spread is not None:
        spread = (largest_of_four(sample) - smallest_of_four(smaller(right, left))) * (high / nodes(x))
        spread = select(spread < MAX_GUESS, spread, 0.0)
        is_spread = any_set(spread >= max_spread)
        if n >= MANY_GROUPS * width and not is_spread and any_set(spread >= MANY_EXPONENTS):
            step = 4 * width
    for i in range(step, n - width, step):
        sample = larger(load_group(x, start + i), sample)
    pivot = np.rint(float(largest(largest_of_four(sample))) * (high / nodes(x))) - aim(x)
    return (pivot if abs(pivot) < MAX_GUESS else 0.0), is_spread
