"""logsumexp with weights, computed in float64: log |sum of b·e^x|, its sign, and how much of the terms cancels.

The largest x with a weight other than 0 is subtracted without error; terms are added with their rounding errors kept.
Rows with +inf, or with weights near the ends of the range, are not for this kernel.
"""

import math

from fastsoftmax.jit import kernel
from fastsoftmax.kernels.careful import LIFT, WIDE, lifted_exponential
from fastsoftmax.kernels.exponential import add_exactly, log2e_wide
from fastsoftmax.simd import (
    absolute,
    count_set,
    fma,
    keep_first,
    larger,
    largest,
    load_first_wide,
    select,
    splat_wide,
    sum_lanes,
)


@kernel("in", "in", "reals", "reals", "reals", "int", "int")
def weighted_logsumexp_rows(x, weights, result, sign, left, rows, n):
    """Write the logarithm and the sign of each row, and what is left of its terms: |their sum| / sum of their sizes."""
    high, low = log2e_wide(1.0)
    zero = splat_wide(0.0)
    for r in range(rows):
        start = r * n
        top, nans = splat_wide(-math.inf), 0
        for i in range(0, n, WIDE):
            counts = keep_first(load_first_wide(weights, start + i, n - i), n - i)
            v = select(counts == 0.0, -math.inf, load_first_wide(x, start + i, n - i))
            nans += WIDE - count_set(v == v) + WIDE - count_set(counts == counts)
            top = larger(v, top)
        maximum = float(largest(top))
        shift = maximum if math.isfinite(maximum) else 0.0
        total, lost, sizes = 0.0, 0.0, zero
        for i in range(0, n, WIDE):
            counts = keep_first(load_first_wide(weights, start + i, n - i), n - i)
            v = select(counts == 0.0, -math.inf, load_first_wide(x, start + i, n - i))
            e, e_low = lifted_exponential(v, shift, high, low)
            product = counts * e
            part, part_low = sum_lanes(product, fma(counts, e, zero - product) + counts * e_low)
            total, lost = add_exactly(total, lost + part_low, part)
            sizes = sizes + absolute(product)
        total += lost
        size, _ = sum_lanes(sizes, zero)
        left[r] = abs(total) / size if size > 0.0 else 1.0
        if nans > 0:
            result[r], sign[r] = math.nan, math.nan
        elif total == 0.0:
            result[r], sign[r] = -math.inf, 0.0
        else:
            result[r], sign[r] = math.log(abs(total) * 2.0**-LIFT) + shift, math.copysign(1.0, total)
