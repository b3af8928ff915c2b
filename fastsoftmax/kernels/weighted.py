"""logsumexp with weights, computed in float64: log |sum of b·e^x|, its sign, and how much of the terms cancels.

The largest x with a weight other than 0 is subtracted without error; terms of float64 are added with their rounding
errors kept, and so are those of float32 where many cancel. Rows with +inf, or with weights near the ends of the range,
are not for this kernel.
"""

import math

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful import LIFT, WIDE, lifted_exponential, lifted_exponential_of_narrower
from fastsoftmax.kernels.exponential import add_exactly, add_smaller, log2e_wide
from fastsoftmax.kernels.logarithm import log_and_rest
from fastsoftmax.kernels.pivot import smallest_of_four, sum_of_four
from fastsoftmax.simd import (
    absolute,
    choose,
    fma,
    join,
    keep_first,
    larger,
    largest,
    largest_of_four,
    load_first_wide,
    load_group_wide,
    quarters,
    select,
    smaller,
    splat_wide,
    sum_lanes,
)

LEAST, LARGEST = 2.0**-100, 2.0**100  # of a weight
CANCEL = 2.0**-10  # where so much or less is left of the terms of float32 they are added anew, exactly


@inline
def four_times(v):
    """Return a group of four times the same vector."""
    return join(v, v, v, v)


@inline
def part_of_row(x, weights, i, left):
    """Return WIDE elements and weights from i on, of `left` that there are; weights are 0 behind these."""
    return load_first_wide(x, i, left), keep_first(load_first_wide(weights, i, left), left)


@inline
def extremes(x, weights, start, n):
    """Return the largest element with a weight other than 0, the smallest size of these, and the largest."""
    top, least, most = splat_wide(-math.inf), splat_wide(1.0), splat_wide(0.0)
    tops, leasts, mosts = four_times(top), four_times(least), four_times(most)
    whole = n - n % (4 * WIDE)
    for i in range(start, start + whole, 4 * WIDE):
        counts = load_group_wide(weights, i)
        is_gone, size = counts == 0.0, absolute(counts)
        tops = larger(select(is_gone, -math.inf, load_group_wide(x, i)), tops)
        leasts, mosts = smaller(select(is_gone, 1.0, size), leasts), larger(size, mosts)
    top, least, most = largest_of_four(tops), smallest_of_four(leasts), largest_of_four(mosts)
    for i in range(whole, n, WIDE):
        v, counts = part_of_row(x, weights, start + i, n - i)
        is_gone, size = counts == 0.0, absolute(counts)
        top = larger(select(is_gone, -math.inf, v), top)
        least, most = smaller(select(is_gone, 1.0, size), least), larger(size, most)
    return float(largest(top)), -float(largest(0.0 - least)), float(largest(most))


@inline
def term(v, counts, shift, high, low, exactly):
    """Return counts · e^(v - shift), over 2^-LIFT, and what that lost; 0 where the weight is 0."""
    v = select(counts == 0.0, -math.inf, v)
    if exactly is None:
        product = counts * lifted_exponential_of_narrower(v, shift, high, low)
        return product, product * 0.0
    e, e_low = lifted_exponential(v, shift, high, low)
    product = counts * e
    return product, fma(counts, e, 0.0 - product) + counts * e_low


@inline
def add_term(total, lost, sizes, product, rest, exactly):
    """Return the sum, what it lost, and that of sizes, each with a term added."""
    sizes = sizes + absolute(product)
    if exactly is None:
        return total + product, lost, sizes
    total, lost = add_exactly(total, lost + rest, product)
    return total, lost, sizes


@inline
def sum_terms(x, weights, start, n, shift, exactly):
    """Return the sum of all terms in two parts, and that of their sizes; exactly, unless that is None."""
    high, low = log2e_wide(1.0)
    zero = splat_wide(0.0)
    totals, losts, sizes = four_times(zero), four_times(zero), four_times(zero)
    whole = n - n % (4 * WIDE)
    for i in range(start, start + whole, 4 * WIDE):
        product, rest = term(load_group_wide(x, i), load_group_wide(weights, i), shift, high, low, exactly)
        totals, losts, sizes = add_term(totals, losts, sizes, product, rest, exactly)
    a, b, c, d = quarters(totals)
    total, lost, size = a, sum_of_four(losts), sum_of_four(sizes)
    for part in (b, c, d):
        total, lost = add_exactly(total, lost, part)
    for i in range(whole, n, WIDE):
        v, counts = part_of_row(x, weights, start + i, n - i)
        product, rest = term(v, counts, shift, high, low, exactly)
        total, lost, size = add_term(total, lost, size, product, rest, exactly)
    (row_total, row_lost), (row_size, _) = sum_lanes(total, lost), sum_lanes(size, zero)
    return *add_smaller(row_total, row_lost), row_size


@inline
def log_times(x, value, lost, shift):
    """Return log((value + lost) · e^shift) of terms over 2^-LIFT."""
    if choose(x, 1, 0):
        return math.log(value * 2.0**-LIFT) + shift
    log, log_lost = log_and_rest(value, lost, -LIFT)
    result, rest = add_exactly(shift, log_lost, log)
    return result + rest


@kernel("in", "in", "reals", "reals", "reals", "int", "int")
def weighted_logsumexp_rows(x, weights, result, sign, left, rows, n):
    """Write the logarithm and the sign of each row, and what is left of its terms: |their sum| / sum of their sizes.

    That is -1, and nothing else is written, of a row that is not for this kernel.
    """
    for r in range(rows):
        start = r * n
        maximum, least, most = extremes(x, weights, start, n)
        shift = maximum if math.isfinite(maximum) else 0.0
        if choose(x, 1, 0):
            total, lost, size = sum_terms(x, weights, start, n, shift, None)
            if abs(total) <= CANCEL * size:
                total, lost, size = sum_terms(x, weights, start, n, shift, True)
        else:
            total, lost, size = sum_terms(x, weights, start, n, shift, True)
        if maximum == -math.inf and total == total:  # terms of float32 never come to nothing
            total, size = 0.0, 0.0
        left[r] = abs(total) / size if size > 0.0 else 1.0
        if maximum == math.inf or least < LEAST or most >= LARGEST:
            left[r] = -1.0
        elif math.isnan(total):
            result[r], sign[r] = math.nan, math.nan
        elif total == 0.0:
            result[r], sign[r] = -math.inf, 0.0
        else:
            sign[r] = math.copysign(1.0, total)
            result[r] = log_times(x, abs(total), lost * sign[r], shift)
