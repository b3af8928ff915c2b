"""e^x for vectors: the arithmetic that every kernel is made of.

With x·log2(e) = n + f, n an integer and -1/2 <= f <= 1/2, e^x = 2^f · 2^n. Three ideas make it fast and exact:

- Adding the *magic number* 1.5·2^(p-1) (p the bits of a significand) rounds x·log2(e) to an integer and leaves it in
  the low bits of the sum, from where one shift brings it into an exponent field.
- A *pivot* k folded into the magic number gives e^x · 2^-k for the price of e^x. Scaling by a power of two is exact, so
  sums of such values neither overflow nor lose anything, though no maximum was subtracted: x - max would be rounded.
- log2(e) (divided by the temperature) is used in two parts, so that f is as good as its last bit.

2^f is a minimax polynomial with constant term 1; `tools/minimax.py` computes it. The error of e^x is under 1 ULP.
"""

import numpy as np
from numba.extending import overload

from fastsoftmax.jit import inline
from fastsoftmax.simd import choose, fma, larger, ldexp_small, rounded, shift_exponent

LOG2E = float.fromhex("0x1.71547652b82fep+0")
LOG2E_LOW = float.fromhex("0x1.777d0ffda0d24p-56")  # log2(e) - LOG2E
LN2 = float.fromhex("0x1.62e42fefa39efp-1")
LN2_REST = float.fromhex("0x1.abc9e3b39803fp-56")  # ln 2 - LN2
LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")  # ln 2 to 33 bits: times an integer under 2^20 it is exact
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")

MAGIC_SINGLE = 1.5 * 2**23
MAGIC_DOUBLE = 1.5 * 2**52

# Coefficients of f, f^2, ... in 2^f on [-1/2, 1/2]; relative errors 3.0e-9 and 4e-18;
# SHORT is for float32 results computed in float64, relative error 4e-11.
SINGLE = tuple(
    map(
        float.fromhex,
        (
            "0x1.62e430p-1", "0x1.ebfbdcp-3", "0x1.c6af7ap-5", "0x1.3b2dd2p-7", "0x1.5f094ap-10", "0x1.417ab8p-13",
        ),
    )
)  # fmt: skip
DOUBLE = tuple(
    map(
        float.fromhex,
        (
            "0x1.62e42fefa39efp-1", "0x1.ebfbdff82c59cp-3", "0x1.c6b08d704a0d3p-5", "0x1.3b2ab6fba11eep-7",
            "0x1.5d87fe78b408cp-10", "0x1.4309130c03431p-13", "0x1.ffcbfbf6e592dp-17", "0x1.62bfcdd85bc9bp-20",
            "0x1.b526121dad1d0p-24", "0x1.e611ab1cf3027p-28", "0x1.e807876478fabp-32",
        ),
    )
)  # fmt: skip


SHORT = tuple(
    map(
        float.fromhex,
        (
            "0x1.62e42ff0e1a3bp-1", "0x1.ebfbe07789f85p-3", "0x1.c6b08ac04bf40p-5", "0x1.3b29f39b41ca8p-7",
            "0x1.5d8a861c28b76p-10", "0x1.445c8565a1dd3p-13", "0x1.fde5de59cc8d6p-17",
        ),
    )
)  # fmt: skip

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


def slope_of_exp2(f):
    """Return (2^f - 1) / f for lanes in [-1/2, 1/2] by Horner's rule."""


@overload(slope_of_exp2, inline="always")
def _slope_of_exp2(f):
    if getattr(f, "dtype", f).bitwidth == 32:
        c1, c2, c3, c4, c5, c6 = SINGLE

        def horner(f):
            p = fma(f, c6, c5)
            p = fma(p, f, c4)
            p = fma(p, f, c3)
            p = fma(p, f, c2)
            return fma(p, f, c1)
    else:
        d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11 = DOUBLE

        def horner(f):
            p = fma(f, d11, d10)
            p = fma(p, f, d9)
            p = fma(p, f, d8)
            p = fma(p, f, d7)
            p = fma(p, f, d6)
            p = fma(p, f, d5)
            p = fma(p, f, d4)
            p = fma(p, f, d3)
            p = fma(p, f, d2)
            return fma(p, f, d1)

    return horner


@inline
def exp2_fraction(f):
    """Return 2^f for lanes in [-1/2, 1/2]."""
    return fma(slope_of_exp2(f), f, 1.0)


@inline
def exp2_short(f):
    """Return 2^f, float64 with |f| <= 1/2, to the precision of float32."""
    c1, c2, c3, c4, c5, c6, c7 = SHORT
    p = fma(f, c7, c6)
    p = fma(p, f, c5)
    p = fma(p, f, c4)
    p = fma(p, f, c3)
    p = fma(p, f, c2)
    p = fma(p, f, c1)
    return fma(p, f, 1.0)


@inline
def log2e_wide(temperature):
    """Return log2(e) / temperature as two float64."""
    quotient = LOG2E / temperature
    return quotient, (fma(-quotient, temperature, LOG2E) + LOG2E_LOW) / temperature


@inline
def log2e_over(x, temperature):
    """Return log2(e) / temperature as two numbers of the type that x is computed in."""
    quotient, rest = log2e_wide(temperature)
    high = rounded(x, quotient)
    return high, rounded(x, (quotient - high) + rest)


@inline
def magic_number(x):
    """Return the number whose addition rounds to an integer."""
    return choose(x, MAGIC_SINGLE, MAGIC_DOUBLE)


@inline
def exponential(v, floor, high, low, magic):
    """Return (2^(v·log2e) · 2^-pivot, steps), where magic = magic_number - pivot and high + low = log2e.

    Lanes under `floor` count as `floor`; a NaN stays NaN. In `steps` (the magic number + n - pivot) the exponents can
    be compared, by their bits even where they are NaN.
    """
    v = larger(floor, v)
    steps = fma(v, high, magic)
    f = fma(v, low, fma(v, high, magic - steps))
    return shift_exponent(exp2_fraction(f), steps), steps


@inline
def exponential_and_rest(v, floor, high, low, magic):
    """Return what `exponential` does, and what its last rounding, the largest part of its error, lost."""
    v = larger(floor, v)
    steps = fma(v, high, magic)
    f = fma(v, low, fma(v, high, magic - steps))
    slope = slope_of_exp2(f)
    e = fma(slope, f, 1.0)
    rest = fma(slope, f, 1.0 - e)
    power = shift_exponent(f * 0.0 + 1.0, steps)
    return shift_exponent(e, steps), rest * power, steps


@inline
def add_exactly(total, lost, g):
    """Return total + g, and `lost` plus what the rounding of that sum lost (Knuth's two-sum)."""
    s = total + g
    back = s - total
    return s, lost + ((total - (s - back)) + (g - back))


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
