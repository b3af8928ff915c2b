"""Results of rows: terms over their sums, x less logarithms."""

import math

from fastsoftmax.jit import inline
from fastsoftmax.kernels.exponential import add_exactly, inverse_in_parts
from fastsoftmax.simd import (
    FLUSHES,
    choose,
    constant,
    fma,
    lanes,
    larger,
    load,
    load_group,
    rounded,
    select,
    smaller,
    splat,
    splat_group,
    store,
    to_aligned,
)

# Where subnormal numbers become 0, shares are computed times so much: so what the second part of an inverse gives is a
# normal number, or the share is none.
spared = constant(2.0**25, 2.0**100) if FLUSHES else constant(1.0, 1.0)
# Where terms are a power of two times a number, which may itself be much larger than 1, the power is raised by so much,
# or it might be no normal number, and the inverse of the sum is shrunk.
lift = constant(36, 100)
shrunk = constant(2.0**-36, 2.0**-100)
lowest_of = constant(-3.0e38, -1.0e308)  # nearly the lowest: in place of -inf, whose product with 0 would be NaN
WORTH_ALIGNING = 8  # groups of a row from which on it pays that each vector is written to one line


# --- softmax --------------------------------------------------------------------------------------------------------


@inline
def inverse_of(out, total, lost):
    """Return 1 / (total + lost), spared, as two numbers of the type of `out`: `share` adds no rounding but its own."""
    if choose(out, 1, 0):
        inverse = spared(out) / (total + lost)
        high = rounded(out, inverse)
        return high, rounded(out, inverse - high)
    inverse, inverse_low = inverse_in_parts(total, lost)
    return inverse * spared(out), inverse_low * spared(out)


@inline
def times(e, factor):
    """Return e * factor, where subnormal numbers may be: AMD's processors take longer for them, but not as an fma."""
    return e * factor if FLUSHES else fma(e, factor, 0.0)


@inline
def share(e, inverse, inverse_low):
    """Return e / sum, which is never more than 1; the inverse is that of the sum, spared."""
    return smaller(1.0, fma(e, inverse, times(e, inverse_low)) * (1.0 / spared(e)))


@inline
def scale_terms(terms, j, n, end, inverse, inverse_low, out, to):
    """Write terms / sum, those of the last group, which may overlap the one before, from `end`.

    A row may begin in the middle of a cache line. In a long one the groups begin with the next, the first vector apart:
    each store to two lines would take twice the time.
    """
    width = 4 * lanes(out)
    high, low = splat_group(out, inverse), splat_group(out, inverse_low)
    head = load(terms, j)  # before it may be written to
    first = to_aligned(out, to) if n >= WORTH_ALIGNING * width else 0
    for i in range(first, n - width, width):
        store(out, to + i, share(load_group(terms, j + i), high, low))
    if first > 0:
        store(out, to, share(head, splat(out, inverse), splat(out, inverse_low)))
    store(out, to + n - width, share(end, high, low))


# --- the logarithms -------------------------------------------------------------------------------------------------


@inline
def minus_log_sum(v, lowest, scale, scale_low, minus_high, minus_low):
    """Return v · (scale + scale_low) - log_sum."""
    return fma(v, scale, minus_high) + fma(larger(lowest, v), scale_low, minus_low)


@inline
def in_two_parts(x, value, rest):
    """Return float64 value + rest as two numbers of the type that x is computed in."""
    high = rounded(x, value)
    return high, rounded(x, (value - high) + rest)


@inline
def one_over(x, temperature):
    """Return 1 / temperature as two numbers of the type that x is computed in."""
    inverse = 1.0 / temperature
    return in_two_parts(x, inverse, fma(-inverse, temperature, 1.0) * inverse)


@inline
def log_share(v, maximum, top, lowest, scale, scale_low, minus_high, minus_low):
    """Return v · (scale + scale_low) - log_sum, and `top` where v is the maximum, unless that is None."""
    result = minus_log_sum(v, lowest, scale, scale_low, minus_high, minus_low)
    return result if maximum is None else select(v == maximum, top, result)


@inline
def subtract_log_sum(x, start, n, out, to, log_high, log_low, temperature, maximum, top):
    """Write x / temperature - log_sum, all factors in two parts, and `top` for the maximum (groups, or both None)."""
    width = 4 * lanes(x)
    scale, scale_low = one_over(x, temperature)
    scale, scale_low = splat_group(x, scale), splat_group(x, scale_low)
    high, low = splat_group(x, -log_high), splat_group(x, -log_low)
    lowest = splat_group(x, lowest_of(x))
    end = load_group(x, start + n - width)  # before `out`, which may be x, is written to
    whole = n - n % width
    for i in range(0, whole, width):
        v = load_group(x, start + i)
        store(out, to + i, log_share(v, maximum, top, lowest, scale, scale_low, high, low))
    if whole < n:
        store(out, to + n - width, log_share(end, maximum, top, lowest, scale, scale_low, high, low))


@inline
def log_factors(x, log_high, log_low, temperature):
    """Return what `log_share` takes for a row without a peak, as vectors."""
    scale, scale_low = one_over(x, temperature)
    nothing = splat(x, math.nan), splat(x, 0.0), splat(x, lowest_of(x))
    return (*nothing, splat(x, scale), splat(x, scale_low), splat(x, -log_high), splat(x, -log_low))


@inline
def sum_of_peak(x, peak, log, log_low, temperature):
    """Return peak / temperature + log in two parts."""
    inverse = 1.0 / temperature
    quotient = peak * inverse
    rest = fma(peak, inverse, -quotient) + peak * (fma(-inverse, temperature, 1.0) * inverse)
    total, rest = add_exactly(quotient, rest + log_low, log)
    return in_two_parts(x, total, rest)


@inline
def log_factors_of_peak(x, peak, log, log_low, temperature):
    """Return what `log_share` takes for a row with a peak, whose result is -log, as vectors."""
    high, low = sum_of_peak(x, peak, log, log_low, temperature)
    _, _, lowest, scale, scale_low, minus_high, minus_low = log_factors(x, high, low, temperature)
    return splat(x, peak), splat(x, -(log + log_low)), lowest, scale, scale_low, minus_high, minus_low


@inline
def subtract_peak(x, start, n, out, to, peak, log, log_low, temperature):
    """Write (x - peak) / temperature - log. What is written for the peak keeps the logarithm's precision."""
    high, low = sum_of_peak(x, peak, log, log_low, temperature)
    maximum, top = splat_group(x, peak), splat_group(x, -(log + log_low))
    subtract_log_sum(x, start, n, out, to, high, low, temperature, maximum, top)
