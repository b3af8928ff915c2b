"""What the textbook rungs share: e^x over the whole range, parts of a row, and the passes that write.

These rungs are written as the field writes them, in the type of the input: plain sums, one reciprocal, and a
subtraction that rounds. For a row of n elements, the largest and the smallest of which differ by `range`, and with u
for the unit roundoff (half an ULP of 1), they err by

softmax       (n + 8 + 2·range) u, relatively
log_softmax   (n + 8 + 4·log(n + 1) + 4·|result|) u, absolutely: next to 0 no digit need be right
logsumexp     (n + 8 + 4·log(n + 1) + 4·|result| + 4·max|x|) u, absolutely

at most: bounds of Blanchard, Higham & Higham (IMA J. Numer. Anal. 41(4), 2021), who need n + 2 where e^x errs by u and
results are divided by the sum. `naive` knows no range, and `online` rescales its sum up to n times: 2n in place of n.
"""

import math

from fastsoftmax.jit import inline
from fastsoftmax.kernels.exponential import exponential, inverse_unit, log2e_over, magic_number, nodes
from fastsoftmax.simd import (
    choose,
    lanes,
    larger,
    largest,
    load,
    load_first,
    rounded,
    select,
    splat,
    store,
    store_first,
    sum_lanes,
)


@inline
def part(x, i, count):
    """Return the vector at x[i:]; lanes from `count` on are -inf and not read."""
    return load(x, i) if count >= lanes(x) else load_first(x, i, count)


@inline
def put(out, i, v, count):
    """Write the first `count` lanes of a vector, all if there are fewer."""
    if count >= lanes(out):
        store(out, i, v)
    else:
        store_first(out, i, v, count)


@inline
def exp(x, v):
    """Return e^v: inf where it overflows, 0 where it is smaller than the smallest normal number."""
    high, low = log2e_over(x, 1.0)
    floor = choose(x, -126, -1022) * (nodes(x) / high)
    ceiling = choose(x, 88.72284, 709.782712893384)
    inside = select(v < ceiling, v, select(v >= ceiling, ceiling, v))
    e, _, _, _ = exponential(larger(splat(x, floor), inside), high, low, magic_number(x, 0.0))
    e = select(v < floor, 0.0, select(v >= ceiling, math.inf, e * inverse_unit(x)))
    return select(v == v, e, v)


@inline
def maximum_of(x, start, n):
    """Return the largest element; NaN elements are passed over."""
    best = splat(x, -math.inf)
    for i in range(0, n, lanes(x)):
        best = larger(part(x, start + i, n - i), best)
    return float(largest(best))


@inline
def sum_exp(x, start, n, shift, factor, out, to):
    """Return the sum of e^((x - shift) · factor); keep the terms in out[to:], unless `out` is None."""
    total = splat(x, 0.0)
    for i in range(0, n, lanes(x)):
        e = exp(x, (part(x, start + i, n - i) - shift) * factor)
        if out is not None:
            put(out, to + i, e, n - i)
        total = total + e
    row_total, _ = sum_lanes(total, splat(x, 0.0))
    return rounded(x, row_total)


@inline
def scale(out, to, n, factor):
    """Multiply a row of the result."""
    for i in range(0, n, lanes(out)):
        put(out, to + i, part(out, to + i, n - i) * factor, n - i)


@inline
def write_exp(x, start, n, shift, factor, total, out, to):
    """Write e^((x - shift) · factor) / total."""
    inverse = 1.0 / total
    for i in range(0, n, lanes(x)):
        put(out, to + i, exp(x, (part(x, start + i, n - i) - shift) * factor) * inverse, n - i)


@inline
def write_difference(x, start, n, shift, factor, log_total, out, to):
    """Write (x - shift) · factor - log_total."""
    for i in range(0, n, lanes(x)):
        put(out, to + i, (part(x, start + i, n - i) - shift) * factor - log_total, n - i)
