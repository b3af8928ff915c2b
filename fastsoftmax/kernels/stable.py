"""Rung 2, stable: subtract the row's maximum first. Nothing overflows any more.

passes   one more read than `naive`, for the maximum
exps     1 an element

This is what SciPy, PyTorch and ONNX Runtime do. The price is the rounding of x - max, which e^x multiplies.

Error: softmax (n + 8 + 2·range) units of roundoff; `textbook.py` has all bounds (Blanchard, Higham & Higham 2021).
"""

import math

from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.rows import ROW_PARAMETERS
from fastsoftmax.kernels.textbook import maximum_of, scale, sum_exp, write_difference
from fastsoftmax.simd import store_one


@inline
def finite_or_zero(maximum):
    """Return what to subtract for logsumexp: e^inf and e^-inf are their own logarithms' business."""
    return maximum if math.isfinite(maximum) else 0.0


@kernel(*ROW_PARAMETERS)
def softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature):
    """Write e^(x - max) / sum of e^(x - max)."""
    for r in range(first, last):
        start, to = x_start + r * x_step, out_start + r * out_step
        total = sum_exp(x, start, n, maximum_of(x, start, n), 1.0 / temperature, out, to)
        scale(out, to, n, 1.0 / total)


@kernel(*ROW_PARAMETERS)
def log_softmax_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature):
    """Write (x - max) - log of the sum of e^(x - max)."""
    for r in range(first, last):
        start = x_start + r * x_step
        maximum = maximum_of(x, start, n)
        log_total = math.log(sum_exp(x, start, n, maximum, 1.0 / temperature, None, 0))
        write_difference(x, start, n, maximum, 1.0 / temperature, log_total, out, out_start + r * out_step)


@kernel(*ROW_PARAMETERS)
def logsumexp_rows(x, x_start, x_step, out, out_start, out_step, first, last, n, out_is, temperature):
    """Write max + log of the sum of e^(x - max)."""
    for r in range(first, last):
        start = x_start + r * x_step
        shift = finite_or_zero(maximum_of(x, start, n))
        total = sum_exp(x, start, n, shift, 1.0 / temperature, None, 0)
        store_one(out, out_start + r * out_step, shift + math.log(total))
