"""Rung 3, online: maximum and sum in one pass. Each lane keeps (m, s), the sum s = sum of e^(x - m) so far.

A new x changes the pair to (max(m, x), s·e^(m - max) + e^(x - max)); one of the two exponentials is always 1, so one
exponential of -|x - m| does (Milakov & Gimelshein 2018, arXiv:1805.02867). At the end the lanes' pairs are merged.

passes   softmax and log_softmax read twice and write once, logsumexp reads once
exps     2 an element for softmax, 1 for the logarithms

Error: softmax (2n + 8 + 2·range) units of roundoff: as `stable`, and one more for every rescaling, of which an
ascending row has n; `textbook.py` has all bounds.
"""

import math

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.rows import ROW_PARAMETERS
from fastsoftmax.kernels.textbook import exp, part, write_difference, write_exp
from fastsoftmax.simd import absolute, choose, fma, lanes, larger, largest, rounded, select, splat, store_one, sum_lanes


@inline
def maximum_and_sum(x, start, n, factor):
    """Return (maximum, sum of e^((x - maximum) · factor)) of a row."""
    m = splat(x, choose(x, -3.4028234663852886e38, -1.7976931348623157e308))
    s = splat(x, 0.0)
    for i in range(0, n, lanes(x)):
        v = part(x, start + i, n - i)
        d = select(v == m, 0.0, v - m)
        e = exp(x, absolute(d) * -factor)
        s = select(m < v, fma(s, e, 1.0), s + e)
        m = larger(v, m)
    maximum = float(largest(m))
    weight = exp(x, select(m == maximum, 0.0, (m - maximum) * factor))
    total, _ = sum_lanes(s * weight, splat(x, 0.0))
    return maximum, rounded(x, total)


@kernel(*ROW_PARAMETERS)
def softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature):
    """Write e^(x - max) / sum."""
    for r in range(first, last):
        start = x_start + r * x_step
        maximum, total = maximum_and_sum(x, start, n, 1.0 / temperature)
        if math.isinf(maximum):
            total = math.nan
        write_exp(x, start, n, maximum, 1.0 / temperature, total, out, out_start + r * out_step)


@kernel(*ROW_PARAMETERS)
def log_softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature):
    """Write (x - max) - log of the sum."""
    for r in range(first, last):
        start = x_start + r * x_step
        maximum, total = maximum_and_sum(x, start, n, 1.0 / temperature)
        log_total = math.nan if math.isinf(maximum) or total == 0.0 else math.log(total)
        write_difference(x, start, n, maximum, 1.0 / temperature, log_total, out, out_start + r * out_step)


@kernel(*ROW_PARAMETERS)
def logsumexp_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature):
    """Write max + log of the sum."""
    for r in range(first, last):
        maximum, total = maximum_and_sum(x, x_start + r * x_step, n, 1.0 / temperature)
        store_one(out, out_start + r * out_step, maximum + math.log(total))
