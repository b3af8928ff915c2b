"""What log_softmax of columns subtracts: the element held out, and log(1 + others), these in units of its term."""

import math

from fastsoftmax.jit import inline
from fastsoftmax.kernels.column_pivots import (
    FIRST,
    HELD,
    LARGEST,
    SECOND,
    TOP,
    has_pivot,
    is_within,
    keep,
    pivots,
    recall_wide,
    sums_of,
)
from fastsoftmax.kernels.exponential import (
    MAGIC_DOUBLE,
    add_exactly,
    add_smaller,
    exponential_of_narrower,
    in_units,
    log2e_wide,
)
from fastsoftmax.kernels.extended import exp2_in_parts
from fastsoftmax.kernels.logarithm import log1p_of_single, log_in_parts
from fastsoftmax.kernels.row_sums import keep_in_two_parts
from fastsoftmax.simd import WIDE, choose, count_set, fma, larger, select, shift_exponent, smaller, splat_wide


@inline
def sums_of_others(kept, j):
    """Return the sums of WIDE columns without what is held out, in two parts: 0 where there is nothing else, or NaN."""
    total, lost = sums_of(kept, j)
    is_nothing = recall_wide(kept, LARGEST, j) == -math.inf  # then only floors have been summed, or NaN
    return add_smaller(select(is_nothing, total - total, total), select(is_nothing, lost - lost, lost))


@inline
def others_over_held(kept, j, high, low):
    """Return the sums of others in units of what is held out, in two parts."""
    rest, rest_low = sums_of_others(kept, j)
    held = recall_wide(kept, HELD, j)
    scaled = held * high
    n = (scaled + MAGIC_DOUBLE) - MAGIC_DOUBLE
    e, e_low = exp2_in_parts(scaled - n, fma(held, high, 0.0 - scaled) + held * low)
    e, e_low = in_units(e, e_low)
    inverse = 1.0 / e
    others = rest * inverse
    others_low = (fma(0.0 - others, e, rest) + fma(0.0 - others, e_low, rest_low)) * inverse
    shift = smaller(pivots(kept, j) - n, splat_wide(0.0))  # in two steps: the power may be smaller than any number
    first = larger(shift, splat_wide(-1000.0))
    second = larger(shift - first, splat_wide(-1000.0))
    one = splat_wide(1.0)
    power, more = shift_exponent(one, first + MAGIC_DOUBLE), shift_exponent(one, second + MAGIC_DOUBLE)
    return others * power * more, others_low * power * more


@inline
def others_over_held_single(kept, j, high, low):
    """Return what `others_over_held` does of columns of float32: one part is enough, and what is tiny is 0."""
    rest, rest_low = sums_of_others(kept, j)
    scaled, pivot = recall_wide(kept, HELD, j) * high, pivots(kept, j)
    near = larger(smaller(scaled, pivot + 1000.0), pivot - 1000.0) * (1.0 / high)
    e = exponential_of_narrower(near, high, low, pivot)
    return select(scaled >= pivot + 1000.0, rest - rest, (rest + rest_low) / e)  # 0, or NaN


@inline
def keep_logs(kept, slots, high, temperature):
    """Keep minus the logarithms of the sums of a strip in two parts, and what log_softmax is of the largest elements.

    Tell whether some are NaN.
    """
    x, has_odd = kept.numbers, False
    high_wide, low_wide = log2e_wide(temperature)
    scale = 1.0 / temperature
    scale_low = fma(-scale, temperature, 1.0) * scale
    for j in range(0, slots, WIDE):
        held, largest = recall_wide(kept, HELD, j), recall_wide(kept, LARGEST, j)
        if choose(x, 1, 0):
            others, others_low = others_over_held_single(kept, j, high_wide, low_wide), splat_wide(0.0)
        else:
            others, others_low = others_over_held(kept, j, high_wide, low_wide)
        others = select(has_pivot(x, held, high), others, math.nan)
        others = select(largest == -math.inf, others, select(is_within(x, largest, high), others, math.nan))
        is_known = others == others
        quotient = held * scale
        quotient_low = fma(held, splat_wide(scale), 0.0 - quotient) + held * scale_low
        if choose(x, 1, 0):
            a = log1p_of_single(others)
            b = a - a
        else:
            u = others + 1.0
            a, b = log_in_parts(u, (others - (u - 1.0)) + others_low, 0.0)
        keep(kept, TOP, j, 0.0 - (a + b))
        log, rest = add_exactly(quotient, quotient_low + b, a)
        log = select(is_known, log, math.nan)
        keep_in_two_parts(x, FIRST * kept.room + j, SECOND * kept.room + j, 0.0 - log, 0.0 - rest)
        has_odd = has_odd or count_set(is_known) < WIDE
    return has_odd
