"""e^x in two float64 whose sum is good to 2^-65, for the few numbers that deserve it."""

from math import factorial

import numpy as np

from fastsoftmax.jit import inline
from fastsoftmax.kernels.exponential import (
    MAGIC_DOUBLE,
    add_smaller,
    bits_of,
    exact_node,
    log2e_wide,
)
from fastsoftmax.simd import NODES, add_node, fma, largest, ldexp_small, lookup_table, polynomial, splat_wide

LN2_EIGHTH = float.fromhex("0x1.62e42fefa39efp-4")
LN2_EIGHTH_LOW = float.fromhex("0x1.abc9e3b39803fp-59")  # ln(2) / 8 - LN2_EIGHTH

# What the nodes 2^(j/8), rounded to float64, have lost, in units of them.
NODES_LOST = tuple(
    map(
        float.fromhex,
        (
            "0x0.0p+0", "-0x1.01b15eaa59348p-55", "0x1.34d754db0abb6p-55", "0x1.690cebb7aafb0p-56",
            "-0x1.3b3efbf5e2228p-54", "0x1.db72fc1f0eab4p-55", "0x1.c1a7792cb3387p-55", "0x1.4a385a63d07a7p-56",
        ),
    )
)  # fmt: skip
node_lost = lookup_table([0] * NODES[32], bits_of(NODES_LOST, np.float64))


taylor_from_third = polynomial(tuple(1 / factorial(k) for k in range(3, 10)))


@inline
def third_order(r):
    """Return e^r - 1 - r - r²/2 of |r| < 0.05 by Taylor's series."""
    return r * r * r * taylor_from_third(r)


@inline
def exp2_in_parts(f, f_low):
    """Return 2^(f + f_low), vectors of float64 with |f| <= 1/2, as two numbers whose sum is good to 2^-65.

    2^f = 2^(j/8) · e^r with |r| < ln(2) / 16: what comes after the square of r needs one number only.
    """
    magic = MAGIC_DOUBLE + 8.0 * 1023.0
    steps = fma(f, 8.0, magic)
    g, g_low = fma(f, 8.0, magic - steps), f_low * 8.0
    r = g * LN2_EIGHTH
    r_low = fma(g, LN2_EIGHTH, 0.0 - r) + fma(g_low, LN2_EIGHTH, g * LN2_EIGHTH_LOW)
    half = r * 0.5
    square = half * r
    s, s_low = add_smaller(r, square)
    lost = node_lost(steps)
    s_low = s_low + (third_order(r) + fma(half, r, 0.0 - square)) + fma(r_low + lost, s, r_low + lost)
    node = add_node(exact_node(steps), steps)
    product = node * s
    total, rest = add_smaller(node, product)
    return add_smaller(total, rest + (fma(node, s, 0.0 - product) + node * s_low))


@inline
def exponential_in_parts(value, pivot, temperature):
    """Return e^(value / temperature) · 2^-pivot, which must be in the range of normal numbers, as two float64."""
    high, low = log2e_wide(temperature)
    scaled = value * high
    n = np.rint(scaled)
    total, rest = exp2_in_parts(splat_wide(scaled - n), splat_wide(fma(value, high, -scaled) + value * low))
    return ldexp_small(float(largest(total)), n - pivot), ldexp_small(float(largest(rest)), n - pivot)
