"""One row, one exponential an element: the pass that `auto` is built on.

The textbook reads a row for its maximum before it can begin. But any power of two near e^max serves as well: float32
has 254 exponents, and the row needs about 150 of them. So the pass guesses a *pivot* (an exponent near that of the
largest at the row's two ends), computes e^x · 2^-pivot, adds, and watches the largest exponent on the way. Only a row
whose maximum turns out to lie outside the window around the pivot is done again, with the right one.

`sum_exponentials` adds with an error of about one rounding, however long the row: four vectors as a tree, then the
tree to a running sum whose rounding errors are kept (Dekker's fast two-sum).
"""

import math

import numpy as np

from fastsoftmax.jit import inline
from fastsoftmax.kernels.exponential import add_exactly, exponential, exponential_and_rest, magic_number
from fastsoftmax.simd import (
    choose,
    count_set,
    keep_last,
    lanes,
    larger,
    larger_bits,
    largest,
    largest_bits,
    ldexp_small,
    load,
    select,
    splat,
    store,
    sum_lanes,
)

MAX_PIVOT = 2**20  # up to here the magic number minus the pivot is exact, and the two parts of log2(e) suffice


@inline
def lowest_exponent(x):
    """Return the smallest exponent n at which 2^f · 2^n, 2^f >= 0.7, is a normal number."""
    return choose(x, -125, -1021)


@inline
def aim(x):
    """Return the exponent that the largest term of a row should have: the middle of the window."""
    return choose(x, 54, 480)


@inline
def in_window(x, top):
    """Tell whether the largest term, 2^top, leaves room above for sums and below for every result.

    Terms at the floor must vanish when they are divided by the sum, so that e^-inf becomes 0: 2^-125 / 2^28 is under
    half the smallest subnormal number. False for NaN.
    """
    return choose(x, 28, 57) <= top <= choose(x, 80, 900)


@inline
def floor_of(x, pivot, high):
    """Return the x whose term has the lowest exponent."""
    return (pivot + lowest_exponent(x)) * (1.0 / high)


@inline
def term(v, terms, j, top, ties, rests, maximum, floor, high, low, magic):
    """Return the exponentials of a vector, the largest exponent so far, the ties so far and the rests so far.

    The exponentials are kept in terms[j:], unless that is None. Unless the maximum is None, the lanes equal to it are
    counted and come back as 0, and of the others what rounding lost is added to the rests.
    """
    if maximum is None:
        e, steps = exponential(v, floor, high, low, magic)
    else:
        e, rest, steps = exponential_and_rest(v, floor, high, low, magic)
    if terms is not None:
        store(terms, j, e)
    if maximum is not None:
        is_maximum = v == maximum
        ties += count_set(is_maximum)
        e = select(is_maximum, 0.0, e)
        rests = rests + select(is_maximum, 0.0, rest)
    return e, larger_bits(top, steps), ties, rests


@inline
def sum_exponentials(x, start, n, terms, j, pivot, high, low, maximum):
    """Sum e^x · 2^-pivot over n >= lanes elements from `start`.

    Returns the sum in two parts, its largest exponent, the last vector, and how many elements equal the maximum;
    these are not in the sum. (With None for the maximum nothing is left out.) The terms are kept in terms[j:],
    unless that is None, but for those behind the last whole vector: they are the end of the last vector. Storing a
    vector that overlaps the one before would make the next pass wait for both.
    """
    width = lanes(x)
    magic = splat(x, magic_number(x) - pivot)
    floor = splat(x, floor_of(x, pivot, high))
    high, low = splat(x, high), splat(x, low)
    zero = splat(x, 0.0)
    total, lost, top, rests, ties = zero, zero, zero, zero, 0
    tail = load(x, start + n - width)
    i = 0
    while i < n - (4 * width - 1):
        s, t = start + i, j + i
        a, top, ties, rests = term(load(x, s), terms, t, top, ties, rests, maximum, floor, high, low, magic)
        s, t = s + width, t + width
        b, top, ties, rests = term(load(x, s), terms, t, top, ties, rests, maximum, floor, high, low, magic)
        s, t = s + width, t + width
        c, top, ties, rests = term(load(x, s), terms, t, top, ties, rests, maximum, floor, high, low, magic)
        s, t = s + width, t + width
        d, top, ties, rests = term(load(x, s), terms, t, top, ties, rests, maximum, floor, high, low, magic)
        total, lost = add_exactly(total, lost, (a + b) + (c + d))
        i += 4 * width
    group = zero
    while i < n - (width - 1):
        a, top, ties, rests = term(load(x, start + i), terms, j + i, top, ties, rests, maximum, floor, high, low, magic)
        group = group + a
        i += width
    if i < n:
        last = tail
        tail, top, _, _ = term(tail, None, 0, top, 0, zero, None, floor, high, low, magic)
        rest = keep_last(tail, n - i)
        if maximum is not None:
            is_maximum = last == maximum
            rest = select(is_maximum, 0.0, rest)
            ties += count_set(keep_last(select(is_maximum, 1.0, zero), n - i) == 1.0)
        group = group + rest
    total, lost = add_exactly(total, lost, group)
    row_total, row_lost = sum_lanes(total, lost + rests)
    return row_total, row_lost, largest_bits(top) - magic_number(x), tail, ties


@inline
def row_maximum(x, start, n):
    """Return the largest of n >= lanes elements; any number or NaN if there is a NaN among them."""
    width = lanes(x)
    a = load(x, start + n - width)
    b, c, d = a, a, a
    i = 0
    while i < n - (4 * width - 1):
        a = larger(load(x, start + i), a)
        b = larger(load(x, start + i + width), b)
        c = larger(load(x, start + i + 2 * width), c)
        d = larger(load(x, start + i + 3 * width), d)
        i += 4 * width
    while i < n - (width - 1):
        a = larger(load(x, start + i), a)
        i += width
    return float(largest(larger(larger(a, b), larger(c, d))))


@inline
def pivot_for(x, maximum, high):
    """Return the pivot that puts e^maximum in the middle of the window; NaN if no pivot can."""
    k = np.rint(maximum * high)
    return k - aim(x) if abs(k) <= MAX_PIVOT else math.nan


@inline
def is_peaked(total, top):
    """Tell whether one element, about 2^top, may hold more than a sixth of the sum.

    Then the rounding of that one term is the error of the sum, and of its logarithm.
    """
    return total < ldexp_small(4.0, top)
