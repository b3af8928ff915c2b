"""Rung 1, naive: exp, sum, divide, as the formula stands.

passes   softmax reads twice and writes twice, log_softmax reads twice and writes once, logsumexp reads once
exps     1 an element
unsafe   e^x overflows for x over 88.7 (float32) or 709.8 (float64), and a row far under 0 sums to 0

Error: where nothing over- or underflows, softmax n + 8 units of roundoff; `textbook.py` has all bounds.
"""

import math

from fastsoftmax.jit import kernel
from fastsoftmax.kernels.rows import ROW_PARAMETERS
from fastsoftmax.kernels.textbook import scale, sum_exp, write_difference
from fastsoftmax.simd import store_one


@kernel(*ROW_PARAMETERS)
def softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature):
    """Write e^x / sum of e^x."""
    for r in range(first, last):
        to = out_start + r * out_step
        total = sum_exp(x, x_start + r * x_step, n, 0.0, 1.0 / temperature, out, to)
        scale(out, to, n, 1.0 / total)


@kernel(*ROW_PARAMETERS)
def log_softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature):
    """Write x - log of the sum of e^x."""
    for r in range(first, last):
        start = x_start + r * x_step
        log_total = math.log(sum_exp(x, start, n, 0.0, 1.0 / temperature, None, 0))
        write_difference(x, start, n, 0.0, 1.0 / temperature, log_total, out, out_start + r * out_step)


@kernel(*ROW_PARAMETERS)
def logsumexp_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature):
    """Write log of the sum of e^x."""
    for r in range(first, last):
        total = sum_exp(x, x_start + r * x_step, n, 0.0, 1.0 / temperature, None, 0)
        store_one(out, out_start + r * out_step, math.log(total))
