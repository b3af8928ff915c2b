"""The careful way with a row, for the few that the fast one cannot serve. It computes in float64.

Three kinds of row come here: rows with NaN or inf, which the contract decides; rows whose numbers are too large for a
pivot; and, for the logarithms, rows whose result nearly cancels: one element holds most of the sum (then the sum
*without* it must be known to full precision: log1p), or logsumexp is near 0.

The difference x - max is taken without error, as a float64 and the rounding that it lost (Knuth's two-sum).
"""

import math

import numpy as np

from fastsoftmax.jit import inline
from fastsoftmax.kernels.exponential import (
    MAGIC_DOUBLE,
    add_exactly,
    add_smaller,
    exponential_in_short,
    exponential_of_narrower,
    inverse_in_parts,
    log2e_wide,
)
from fastsoftmax.kernels.extended import exp2_in_parts
from fastsoftmax.kernels.logarithm import log1p_in_parts, log_in_parts, log_step
from fastsoftmax.kernels.pivot import add_four_exactly, sum_of_four
from fastsoftmax.simd import (
    WIDE,
    choose,
    count_set,
    fma,
    join,
    lanes,
    larger,
    largest,
    largest_of_four,
    load_first,
    load_first_wide,
    load_group,
    load_group_wide,
    load_wide,
    quarters,
    select,
    shift_exponent,
    smaller,
    splat,
    splat_wide,
    store_first,
    sum_lanes,
    widened,
)

LIFT = 64.0  # terms are e^(x - max) · 2^64, so that all that can be a float64 are normal numbers
DROPPED = 2.0**-LIFT
LOWEST = -1021.0 - LIFT


@inline
def difference(v, maximum):
    """Return v - maximum as a rounded difference and what the rounding lost."""
    d = v - maximum
    back = d - v
    return d, (v - (d - back)) - (maximum + back)


@inline
def wide(x, start, n):
    """Return WIDE elements from `start` as float64, those behind the last of n as -inf."""
    return load_wide(x, start) if n >= WIDE else load_first_wide(x, start, n)


@inline
def scaled_exponential(v, rest, high, lift):
    """Return 2^(v · high + rest + lift) of float64 lanes, which must be normal, in two parts; the lift is whole."""
    scaled = v * high
    steps = scaled + (MAGIC_DOUBLE + lift)
    f = scaled - (steps - (MAGIC_DOUBLE + lift))
    e, e_low = exp2_in_parts(f, fma(v, high, 0.0 - scaled) + rest)
    power = shift_exponent(1.0, steps)
    return e * power, e_low * power


@inline
def lifted_exponential(v, maximum, high, low):
    """Return e^(v - maximum) · 2^LIFT in two parts: exact where they are equal, 0 where it is under every float64."""
    d, lost = difference(v, maximum)
    floor = LOWEST / high
    vanishes = d < floor
    d = larger(floor, d)
    lost = select(vanishes, 0.0, lost)
    e, e_low = scaled_exponential(d, fma(lost, high, d * low), high, LIFT)
    return select(vanishes, 0.0, e), select(vanishes, 0.0, e_low)


@inline
def lifted_exponential_of_narrower(v, maximum, high, low):
    """Return what `lifted_exponential` does in one part: enough where v has been a float32. It is never 0."""
    d = larger(LOWEST / high, v - maximum)
    return exponential_of_narrower(d, high, low, -LIFT)


@inline
def sum_without_top(x, start, n, maximum, temperature):
    """Return the sum of e^((x - maximum) / temperature) over all elements but one of the largest, in two parts."""
    high, low = log2e_wide(temperature)
    zero = splat_wide(0.0)
    total, lost, ties = zero, zero, 0
    groups = n - n % (4 * WIDE) if choose(x, 1, 0) else 0
    for i in range(0, groups, 4 * WIDE):
        v = load_group_wide(x, start + i)
        is_top = v == maximum
        ties += count_set(is_top)
        a, b, c, d = quarters(select(is_top, 0.0, lifted_exponential_of_narrower(v, maximum, high, low)))
        total = total + ((a + b) + (c + d))
    for i in range(groups, n, WIDE):
        v = wide(x, start + i, n - i)
        is_top = v == maximum
        ties += count_set(is_top)
        if choose(x, 1, 0):
            total = total + select(is_top, 0.0, lifted_exponential_of_narrower(v, maximum, high, low))
        else:
            e, e_low = lifted_exponential(v, maximum, high, low)
            total, lost = add_exactly(total, lost, select(is_top, 0.0, e))
            lost = lost + select(is_top, 0.0, e_low)
    rest, rest_lost = sum_lanes(total, lost)
    rest, rest_lost = rest * DROPPED, rest_lost * DROPPED
    return add_exactly(ties - 1.0, rest_lost, rest)


@inline
def maximum_or_nan(x, start, n):
    """Return the largest element, NaN if there is a NaN."""
    best, sound = splat_wide(-math.inf), 0
    bests = join(best, best, best, best)
    groups = n - n % (4 * WIDE)
    for i in range(0, groups, 4 * WIDE):
        v = load_group_wide(x, start + i)
        sound += count_set(v == v)
        bests = larger(v, bests)
    best = largest_of_four(bests)
    for i in range(groups, n, WIDE):
        v = wide(x, start + i, n - i)
        sound += count_set(v == v)
        best = larger(v, best)
    return largest(best) if sound == groups + (n - groups + WIDE - 1) // WIDE * WIDE else math.nan


@inline
def fill(out, start, n, value):
    """Write `value` into n elements."""
    for i in range(0, n, WIDE):
        store_first(out, start + i, splat_wide(value), n - i)


@inline
def careful_softmax(x, start, n, out, to, temperature):
    """Write softmax of n elements."""
    maximum = maximum_or_nan(x, start, n)
    if not np.isfinite(maximum):
        fill(out, to, n, math.nan)
        return
    high, low = log2e_wide(temperature)
    rest, lost = sum_without_top(x, start, n, maximum, temperature)
    total, lost = add_exactly(1.0, lost, rest)
    inverse, inverse_low = inverse_in_parts(total, lost)
    for i in range(0, n, WIDE):
        v = wide(x, start + i, n - i)
        e, e_low = lifted_exponential(v, maximum, high, low)
        lifted = fma(e, splat_wide(inverse), fma(e, splat_wide(inverse_low), e_low * inverse))
        store_first(out, to + i, lifted * DROPPED, n - i)


@inline
def careful_log_softmax(x, start, n, out, to, temperature):
    """Write log_softmax of n elements: (x - maximum) / temperature - log1p(rest), two terms of one sign."""
    maximum = maximum_or_nan(x, start, n)
    if not np.isfinite(maximum):
        fill(out, to, n, math.nan)
        return
    rest, rest_low = sum_without_top(x, start, n, maximum, temperature)
    log, log_low = log1p_in_parts(rest, rest_low)
    scale = 2.0 / temperature  # of half a difference, which cannot overflow
    scale_low = fma(-scale, temperature, 2.0) / temperature
    for i in range(0, n, WIDE):
        d, lost = difference(0.5 * wide(x, start + i, n - i), 0.5 * maximum)
        correction = fma(lost, scale, d * scale_low) - log_low
        correction = select(correction == correction, correction, 0.0)  # of an infinite difference
        store_first(out, to + i, fma(d, scale, -log) + correction, n - i)


@inline
def careful_logsumexp(x, start, n):
    """Return logsumexp of n elements."""
    maximum = maximum_or_nan(x, start, n)
    if not np.isfinite(maximum):
        return maximum
    rest, rest_low = sum_without_top(x, start, n, maximum, 1.0)
    log, log_low = log1p_in_parts(rest, rest_low)
    result, lost = add_exactly(maximum, log_low, log)
    return result + lost


@inline
def at_most_2(v):
    """Return v, at most 2, since a sum near 1 has no larger terms than e^2, and at least what vanishes beside it."""
    return smaller(2.0, larger(-300.0, v))


@inline
def plain_exponential(v):
    """Return e^v, but no more than e^2, of float64 lanes in two parts."""
    high, low = log2e_wide(1.0)
    v = at_most_2(v)
    return scaled_exponential(v, v * low, high, 0.0)


@inline
def plain_exponential_of_single(v):
    """Return e^v, but no more than e^2, as float64: one part is enough where v is a float32, or has been."""
    return exponential_in_short(widened(at_most_2(v)))


@inline
def sum_near_1(x, start, n):
    """Return the sum of e^x, or of e^2 where x is larger, over n elements, as two float64."""
    if choose(x, 1, 0):
        total, width = widened(splat(x, 0.0)), 4 * lanes(x)
        whole = n - n % width
        for i in range(0, whole, width):
            total = total + sum_of_four(plain_exponential_of_single(load_group(x, start + i)))
        for i in range(whole, n, lanes(x)):
            total = total + plain_exponential_of_single(load_first(x, start + i, n - i))
        return sum_lanes(total, 0.0)
    total, lost = splat_wide(0.0), splat_wide(0.0)
    whole = n - n % (4 * WIDE)
    for i in range(0, whole, 4 * WIDE):
        e, e_low = plain_exponential(load_group_wide(x, start + i))
        total, lost = add_four_exactly(total, lost + sum_of_four(e_low), e)
    for i in range(whole, n, WIDE):
        e, e_low = plain_exponential(wide(x, start + i, n - i))
        total, lost = add_exactly(total, lost + e_low, e)
    return sum_lanes(total, lost)


@inline
def log_near_zero(x, total, lost):
    """Return log(total + lost), a sum near 1, so exactly that what cancels does not matter."""
    a, b = log_in_parts(total, lost, 0.0)
    log = a + b
    if choose(x, 1, 0):
        return log
    e, e_low = plain_exponential(0.0 - log)
    return log + log_step(total, lost, e, e_low)


@inline
def logsumexp_near_zero(x, start, n):
    """Return logsumexp of n elements where that is so near 0 that the last place of the sum is not enough.

    No element is much larger than 0 then, so that no maximum is needed; where one is, 2 or more is returned, or NaN.
    """
    row_total, row_lost = add_smaller(*sum_near_1(x, start, n))
    return float(largest(log_near_zero(x, splat_wide(row_total), splat_wide(row_lost))))
