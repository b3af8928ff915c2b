"""Rung 4, two_pass: no maximum at all. e^x is taken apart into 2^f · 2^n, and the two are summed apart.

Each lane keeps its sum as a number and an exponent: a term with a larger exponent n rescales the sum by a power of
two, which is exact (Dukhan & Ablavatski 2020, arXiv:2001.04438). Unlike `stable`, nothing is subtracted from x, so
nothing is rounded before the exponential. A second pass computes e^x again and scales it.

passes   softmax and log_softmax read twice and write once, logsumexp reads once
exps     2 an element for softmax, 1 for the logarithms

Error: 2 ULP, logsumexp 1. log_softmax of rows in which one term holds nearly all goes the careful way.
"""

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful_rows import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX, carefully
from fastsoftmax.kernels.exponential import (
    add_exactly,
    add_smaller,
    exponential,
    log2e_over,
    magic_integer,
    magic_number,
    nodes,
)
from fastsoftmax.kernels.logarithm import log_of_sum, log_rounded
from fastsoftmax.kernels.peak import LARGE_SHARE
from fastsoftmax.kernels.pivot import FEW_GROUPS, MAX_GUESS, MAX_PIVOT
from fastsoftmax.kernels.row_results import (
    inverse_of,
    lift,
    lowest_of,
    minus_log_sum,
    one_over,
    share,
    shrunk,
)
from fastsoftmax.kernels.rows import ROW_PARAMETERS, is_delicate
from fastsoftmax.kernels.textbook import part, put
from fastsoftmax.simd import (
    choose,
    flush_small,
    fma,
    lanes,
    larger,
    largest,
    ldexp_small,
    pointer_to,
    restore,
    select,
    shift_exponent,
    splat,
    store_one,
    sum_lanes,
)

PIECE = 2**11  # elements of a row after which the sum moves on to float64


@inline
def in_two_parts(x, v, high, low):
    """Return (unit · 2^f, the same as a large and a small part, n) with e^v = 2^f · 2^n.

    Whatever is smaller than 2^-MAX_PIVOT counts as that.
    """
    v = larger(splat(x, -MAX_PIVOT * (nodes(x) / high)), v)
    n = fma(v, high / nodes(x), splat(x, magic_integer(x))) - magic_integer(x)
    e, large, small, _ = exponential(v, high, low, magic_number(x, n))
    return e, large, small, n


@inline
def power_of_two(x, n):
    """Return 2^n for whole n, 0 where that is not a normal number."""
    lowest = splat(x, choose(x, -126, -1022))
    power = shift_exponent(splat(x, 1.0), larger(lowest, n) + magic_integer(x))
    return select(n < lowest, 0.0, power)


@inline
def sum_piece(x, start, n, high, low):
    """Return (total, lost, pivot): the sum of e^x over a piece is (total + lost) · 2^pivot."""
    total, lost = splat(x, 0.0), splat(x, 0.0)
    pivot = splat(x, -MAX_PIVOT)
    few = FEW_GROUPS * lanes(x)
    for first in range(0, n, few):
        for i in range(first, min(first + few, n), lanes(x)):
            _, large, small, exponent = in_two_parts(x, part(x, start + i, n - i), high, low)
            top = larger(exponent, pivot)
            shrink, power = power_of_two(x, pivot - top), power_of_two(x, exponent - top)
            total, lost = add_exactly(total * shrink, fma(small, power, lost * shrink), large * power)
            pivot = top
        total, lost = add_smaller(total, lost)
    piece_pivot = float(largest(pivot))
    weight = power_of_two(x, pivot - piece_pivot)
    piece_total, piece_lost = sum_lanes(total * weight, lost * weight)
    return piece_total, piece_lost, piece_pivot


@inline
def sum_in_two_parts(x, start, n, high, low):
    """Return what `sum_piece` does for a row: pieces, so that what is lost stays small, merged in float64."""
    total, lost, pivot = sum_piece(x, start, min(n, PIECE), high, low)
    for i in range(PIECE, n, PIECE):
        t, l, k = sum_piece(x, start + i, min(n - i, PIECE), high, low)
        top = max(k, pivot)
        shrink, weight = ldexp_small(1.0, max(pivot - top, -1022.0)), ldexp_small(1.0, max(k - top, -1022.0))
        total, lost = add_exactly(total * shrink, lost * shrink + l * weight, t * weight)
        pivot = top
    row_sum = total + lost
    return row_sum, lost - (row_sum - total), pivot


@inline
def is_sound(total, pivot):
    """Tell whether all was finite and in range, and what was raised is nothing. The largest term is 0.7 to 1.5."""
    return total >= 0.5 and abs(pivot) < MAX_GUESS


@kernel(*ROW_PARAMETERS, later=SOFTMAX)
def softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature, careful):
    """Write 2^f · 2^(n - pivot) / total."""
    x, out, left = pointer_to(x), pointer_to(out), 0
    high, low = log2e_over(x, temperature)
    mode = flush_small()
    for r in range(first, last):
        start, to = x_start + r * x_step, out_start + r * out_step
        total, lost, pivot = sum_in_two_parts(x, start, n, high, low)
        if not is_sound(total, pivot):
            left += carefully(careful, x, start, n, out, to, temperature)
            continue
        inverse, inverse_low = inverse_of(out, total, lost)
        inverse, inverse_low = inverse * shrunk(x), inverse_low * shrunk(x)
        for i in range(0, n, lanes(x)):
            p, _, _, exponent = in_two_parts(x, part(x, start + i, n - i), high, low)
            e = p * power_of_two(x, exponent - pivot + lift(x))
            put(out, to + i, share(e, inverse, inverse_low), n - i)
    restore(mode)
    return left


@kernel(*ROW_PARAMETERS, later=LOG_SOFTMAX)
def log_softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature, careful):
    """Write x - (log total + pivot · ln 2), the subtrahend in two parts."""
    x, out, left = pointer_to(x), pointer_to(out), 0
    high, low = log2e_over(x, temperature)
    scale, scale_low = one_over(x, temperature)
    for r in range(first, last):
        start, to = x_start + r * x_step, out_start + r * out_step
        total, lost, pivot = sum_in_two_parts(x, start, n, high, low)
        if not (is_sound(total, pivot) and total * LARGE_SHARE >= 1.5):
            left += carefully(careful, x, start, n, out, to, temperature)
            continue
        log_high, log_low = log_rounded(x, total, lost, pivot)
        for i in range(0, n, lanes(x)):
            v = part(x, start + i, n - i)
            put(out, to + i, minus_log_sum(v, lowest_of(x), scale, scale_low, -log_high, -log_low), n - i)
    return left


@kernel(*ROW_PARAMETERS, later=LOGSUMEXP)
def logsumexp_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature, careful):
    """Write log total + pivot · ln 2."""
    x, out, left = pointer_to(x), pointer_to(out), 0
    high, low = log2e_over(x, 1.0)
    for r in range(first, last):
        start, to = x_start + r * x_step, out_start + r * out_step
        total, lost, pivot = sum_in_two_parts(x, start, n, high, low)
        result = float(log_of_sum(x, total, lost, pivot))
        if not is_sound(total, pivot) or is_delicate(x, result):
            left += carefully(careful, x, start, n, out, to, temperature)
            continue
        store_one(out, to, result)
    return left
