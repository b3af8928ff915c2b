"""e^x and nothing else: how fast the arithmetic of every kernel is when its data are in the nearest cache."""

from fastsoftmax.jit import kernel
from fastsoftmax.kernels.exponential import exponential, log2e_over, magic_number
from fastsoftmax.simd import lanes, load, splat, store_one, sum_lanes


@kernel("in", "out", "int")
def sum_repeatedly(x, out, passes):
    """Write the sum of e^x over x, of a multiple of two vectors, `passes` times; the last one stays in out[0]."""
    high, low = log2e_over(x, 1.0)
    for k in range(passes):
        magic = magic_number(x, -float(k & 1))  # or the compiler would see that each pass is like the last
        one, two = splat(x, 0.0), splat(x, 0.0)
        for i in range(0, len(x), 2 * lanes(x)):
            e, _, _, _ = exponential(load(x, i), high, low, magic)
            one = one + e
            e, _, _, _ = exponential(load(x, i + lanes(x)), high, low, magic)
            two = two + e
        total, _ = sum_lanes(one + two, splat(x, 0.0))
        store_one(out, 0, total)
