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

LEAST, LARGEST = 2.0**-100, 2.0**100  # of a weight


@kernel("in", "in", "reals", "reals", "reals", "int", "int")
def weighted_logsumexp_rows(x, weights, result, sign, left, rows, n):
    """Write the logarithm and the sign of each row, and what is left of its terms: |their sum| / sum of their sizes.

    That is -1, and nothing else is written, of a row that is not for this kernel.
    """
    high, low = log2e_wide(1.0)
    zero = splat_wide(0.0)
    for r in range(rows):
        start = r * n
        top, nans, unusual = splat_wide(-math.inf), 0, 0
        for i in range(0, n, WIDE):
            counts = keep_first(load_first_wide(weights, start + i, n - i), n - i)
            v = select(counts == 0.0, -math.inf, load_first_wide(x, start + i, n - i))
            nans += WIDE - count_set(v == v) + WIDE - count_set(counts == counts)
            size = absolute(counts)
            outside = select(size < LEAST, size, select(size < LARGEST, zero, 1.0))  # 0 is not, NaN is
            unusual += WIDE - count_set(outside == 0.0) + count_set(v == math.inf)
            top = larger(v, top)
        maximum = float(largest(top))
        shift = maximum if math.isfinite(maximum) else 0.0
        total, lost, sizes = zero, zero, zero
        for i in range(0, n, WIDE):
            counts = keep_first(load_first_wide(weights, start + i, n - i), n - i)
            v = select(counts == 0.0, -math.inf, load_first_wide(x, start + i, n - i))
            e, e_low = lifted_exponential(v, shift, high, low)
            product = counts * e
            total, lost = add_exactly(total, lost + (fma(counts, e, zero - product) + counts * e_low), product)
            sizes = sizes + absolute(product)
        (sum_of_all, rest), (size, _) = sum_lanes(total, lost), sum_lanes(sizes, zero)
        sum_of_all += rest
        left[r] = abs(sum_of_all) / size if size > 0.0 else 1.0
        if unusual > 0:
            left[r] = -1.0
        elif nans > 0:
            result[r], sign[r] = math.nan, math.nan
        elif sum_of_all == 0.0:
            result[r], sign[r] = -math.inf, 0.0
        else:
            result[r], sign[r] = math.log(abs(sum_of_all) * 2.0**-LIFT) + shift, math.copysign(1.0, sum_of_all)
