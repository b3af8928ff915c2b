"""e^x in two float64 whose sum is good to about 2^-63, for the few numbers that deserve it."""

import numpy as np

from fastsoftmax.jit import inline
from fastsoftmax.kernels.exponential import add_exactly, log2e_wide
from fastsoftmax.simd import fma, ldexp_small

LN2 = float.fromhex("0x1.62e42fefa39efp-1")
LN2_REST = float.fromhex("0x1.abc9e3b39803fp-56")  # ln 2 - LN2

# ln(2)^k / k!, the terms of Taylor's series of 2^f: k = 2 and 3 in two parts, then k = 4 to 15.
QUADRATIC, QUADRATIC_LOW = float.fromhex("0x1.ebfbdff82c58fp-3"), float.fromhex("-0x1.5e43a53e44da3p-57")
CUBIC, CUBIC_LOW = float.fromhex("0x1.c6b08d704a0c0p-5"), float.fromhex("-0x1.d331627513351p-59")
TAYLOR = tuple(
    map(
        float.fromhex,
        (
            "0x1.3b2ab6fba4e77p-7", "0x1.5d87fe78a6731p-10", "0x1.430912f86c787p-13", "0x1.ffcbfc588b0c7p-17",
            "0x1.62c0223a5c824p-20", "0x1.b5253d395e7c4p-24", "0x1.e4cf5158b8ecap-28", "0x1.e8cac7351bb25p-32",
            "0x1.c3bd650fc2986p-36", "0x1.816193166d0f9p-40", "0x1.314964d5878a9p-44", "0x1.c36e843b04022p-49",
        ),
    )
)  # fmt: skip


@inline
def exp2_in_parts(f, f_low):
    """Return 2^(f + f_low), float64 with |f| <= 1/2, as two numbers whose sum is good to about 2^-63.

    Taylor's series: the terms of f, f^2 and f^3 in two parts, those behind them in one.
    """
    curve = f * 0.0 + TAYLOR[-1]
    for k in range(len(TAYLOR) - 2, -1, -1):
        curve = fma(curve, f, TAYLOR[k])
    minus_zero = f * 0.0
    square = f * f
    square_low = fma(f, f, minus_zero - square)
    cube = square * f
    cube_low = fma(square, f, minus_zero - cube) + square_low * f
    a, b, c = f * LN2, square * QUADRATIC, cube * CUBIC
    low = (fma(f, LN2, minus_zero - a) + f * LN2_REST) + (
        fma(square, QUADRATIC, minus_zero - b) + (square_low * QUADRATIC + square * QUADRATIC_LOW)
    )
    low = low + (fma(cube, CUBIC, minus_zero - c) + (cube_low * CUBIC + cube * CUBIC_LOW))
    total, low = add_exactly(minus_zero + 1.0, low, a)
    total, low = add_exactly(total, low, b)
    total, low = add_exactly(total, low, c)
    low = low + square * square * curve
    low = low + f_low * LN2 * (total + low)
    result = total + low
    return result, low - (result - total)


@inline
def exponential_in_parts(value, pivot, temperature):
    """Return e^(value / temperature) · 2^-pivot, which must be in the range of normal numbers, as two float64."""
    high, low = log2e_wide(temperature)
    scaled = value * high
    n = np.rint(scaled)
    total, rest = exp2_in_parts(scaled - n, fma(value, high, -scaled) + value * low)
    return ldexp_small(total, n - pivot), ldexp_small(rest, n - pivot)
