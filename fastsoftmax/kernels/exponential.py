"""e^x for vectors: the arithmetic that every kernel is made of.

With x·log2(e) = n + j/N + f/N, n and j integers, 0 <= j < N and -1/2 <= f <= 1/2, e^x = 2^n · 2^(j/N) · 2^(f/N). N, the
number of *nodes* 2^(j/N), is 8, but 16 for float32 with AVX-512: as many as fit a register, which then is a table of
them. Five ideas make it fast and exact:

- Adding the *magic number* 1.5·2^(p-1) (p the bits of a significand) rounds N·x·log2(e) to an integer and leaves it in
  the low bits of the sum. Its lowest bits are j, and one shift brings n into an exponent field.
- A *pivot* k folded into the magic number gives e^x · 2^-k for the price of e^x. Scaling by a power of two is exact, so
  sums of such values neither overflow nor lose anything, though no maximum was subtracted: x - max would be rounded.
- log2(e) (divided by the temperature) is used in two parts. So f is as good as its last bit.
- The result comes as 2^n · node plus a part 23 times smaller (46 times where N is 16), in which nothing has been
  rounded that matters. Sums of such pairs know e^x far better than its rounded value.
- Nodes must be floats, and 2^(j/N) is none. Those of float32 are rounded to a few bits, so that sums of them are mostly
  exact, and what one lacks is added to f. Sums of float64 have places to spare. And a share of a sum is the same in any
  *unit*: there is one very near 1 of which all products with 2^(j/N) are nearly floats. It is what e^0 comes as, and
  the sums that logarithms are taken of are divided by it.

2^(f/N) - 1 is f times a minimax polynomial; `tools/minimax.py` computes it, the unit and the nodes.
"""

import numpy as np

from fastsoftmax.jit import inline
from fastsoftmax.simd import NODE_SHIFT, NODES, add_node, choose, constant, fma, lookup_table, polynomial, rounded

LOG2E = float.fromhex("0x1.71547652b82fep+0")
LOG2E_LOW = float.fromhex("0x1.777d0ffda0d24p-56")  # log2(e) - LOG2E
LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")  # ln 2 to 33 bits: times an integer under 2^20 it is exact
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")

N_SINGLE, N_DOUBLE = map(float, NODES.values())
MAGIC_DOUBLE = 1.5 * 2**52
nodes = constant(N_SINGLE, N_DOUBLE)  # N
magic_integer = constant(1.5 * 2**23, MAGIC_DOUBLE)  # its addition rounds to an integer

# The nodes 2^(j/N), rounded to 8 bits, and by how much j falls short of the rounded number's exponent times N, negated.
SINGLE_NODES = tuple(
    map(
        float.fromhex,
        (
            "0x1.0p+0", "0x1.0cp+0", "0x1.18p+0", "0x1.24p+0", "0x1.3p+0", "0x1.3ep+0", "0x1.4cp+0", "0x1.5ap+0",
            "0x1.6ap+0", "0x1.7ap+0", "0x1.8ap+0", "0x1.9cp+0", "0x1.aep+0", "0x1.c2p+0", "0x1.d6p+0", "0x1.eap+0",
        ),
    )
)  # fmt: skip
SINGLE_DEVIATIONS = tuple(
    map(
        float.fromhex,
        (
            "0x0.0p+0", "-0x1.d6714p-5", "-0x1.18b11ap-4", "-0x1.30af4p-5",
            "0x1.0fa51cp-5", "-0x1.918ec6p-8", "-0x1.4ac62cp-11", "0x1.7868bp-5",
            "0x1.4332bep-9", "0x1.0e1678p-8", "0x1.826c86p-5", "0x1.06017cp-6",
            "0x1.d9bbdp-6", "-0x1.4fdb4ap-6", "-0x1.8da89p-6", "0x1.c3f7dep-7",
        ),
    )
)  # fmt: skip

# A unit, and its products with 2^(j/N), rounded: relative errors of less than 2^-56.8.
DOUBLE_UNIT = float.fromhex("0x1.00000035d33b4p+0")
DOUBLE_NODES = tuple(
    map(
        float.fromhex,
        (
            "0x1.00000035d33b4p+0", "0x1.172b840287737p+0", "0x1.306fe0e31dcd8p+0", "0x1.4bfdad9930164p+0",
            "0x1.6a09e6b412837p+0", "0x1.8ace5475ac889p+0", "0x1.ae89f9f0330aep+0", "0x1.d5818e3271814p+0",
        ),
    )
)  # fmt: skip

# Coefficients of f, f^2, ... in 2^(f/N) on [-1/2, 1/2]; relative errors 2.7e-9, with 8 nodes 2.8e-10, 3e-18, and in
# short 3.6e-13.
SINGLE = tuple(
    map(
        float.fromhex,
        (
            "0x1.62e43p-5", "0x1.ec0126p-11", "0x1.c6ae62p-17",
        ),
    )
)  # fmt: skip
SINGLE_OF_8 = tuple(
    map(
        float.fromhex,
        (
            "0x1.62e43p-4", "0x1.ebfbe2p-9", "0x1.c6ba42p-14", "0x1.3b0d8cp-19",
        ),
    )
)  # fmt: skip
DOUBLE = tuple(
    map(
        float.fromhex,
        (
            "0x1.62e42fefa39efp-4", "0x1.ebfbdff82c77ap-9", "0x1.c6b08d704a9a2p-14", "0x1.3b2ab6ef9ef4ap-19",
            "0x1.5d87fe6c7859ep-25", "0x1.430e585ab38c9p-31", "0x1.ffcfa86cbdaf6p-38",
        ),
    )
)  # fmt: skip
DOUBLE_IN_SHORT = tuple(
    map(
        float.fromhex,
        (
            "0x1.62e42fefa1e60p-4", "0x1.ebfbdfd5638e1p-9", "0x1.c6b08ddd8a593p-14", "0x1.3b31bdf9febdfp-19",
            "0x1.5d80b43ee9190p-25",
        ),
    )
)  # fmt: skip


def _node_bits(nodes, dtype):
    """Return the bits of nodes, less those of 1 and what adding j at its place will add to them."""
    width, shift = 8 * dtype().itemsize, NODE_SHIFT[8 * dtype().itemsize]
    one, *bits = bits_of((1.0, *nodes), dtype)
    return [(b - one - (j << shift)) % 2**width for j, b in enumerate(bits)]


def bits_of(numbers, dtype):
    """Return the bits of numbers of a type, for a table."""
    return [int(b) for b in np.array(numbers, dtype).view(f"u{dtype().itemsize}")]


def exact_nodes(n):
    """Return 2^(j/N)."""
    return [2.0 ** (j / n) for j in range(n)]


_STEP = len(SINGLE_NODES) // NODES[32]  # every second node of the 16, or all
UNITS = {32: 1.0, 64: DOUBLE_UNIT}  # of the types by their bits
inverse_unit = constant(*(1.0 / number for number in UNITS.values()))
node = lookup_table(_node_bits(SINGLE_NODES[::_STEP], np.float32), _node_bits(DOUBLE_NODES, np.float64))
_deviations = bits_of([d / _STEP for d in SINGLE_DEVIATIONS[::_STEP]], np.float32)
deviation = lookup_table(_deviations, [0] * NODES[64])  # of float64 no one asks
exact_node = lookup_table(  # correctly rounded
    _node_bits(exact_nodes(NODES[32]), np.float32), _node_bits(exact_nodes(NODES[64]), np.float64)
)

_SLOPE = DOUBLE, SINGLE if NODES[32] == 16 else SINGLE_OF_8
slope_of_exp2 = polynomial(*_SLOPE)  # (2^(f/N) - 1) / f
slope_in_long_loop = polynomial(*_SLOPE, keeps_whole=True)  # the same, where that is faster: not in loops down columns
slope_in_short = polynomial(DOUBLE_IN_SHORT)


@inline
def in_units(value, low):
    """Return unit · (value + low), numbers or vectors of float64, in two parts."""
    product = value * DOUBLE_UNIT
    return product, fma(value, DOUBLE_UNIT, 0.0 - product) + low * DOUBLE_UNIT


@inline
def out_of_units(x, total, lost):
    """Return how many units a sum of terms is, numbers or vectors of float64 in two parts: just 1 for the unit."""
    if choose(x, 1, 0):
        return total, lost
    quotient = total * (1.0 / DOUBLE_UNIT)
    return quotient, (fma(quotient, -DOUBLE_UNIT, total) + lost) * (1.0 / DOUBLE_UNIT)


@inline
def log2e_wide(temperature):
    """Return log2(e) / temperature as two float64."""
    quotient = LOG2E / temperature
    return quotient, (fma(-quotient, temperature, LOG2E) + LOG2E_LOW) / temperature


@inline
def log2e_over(x, temperature):
    """Return N·log2(e) / temperature as two numbers of the type that x is computed in."""
    quotient, rest = log2e_wide(temperature)
    high = rounded(x, quotient)
    return high * nodes(x), rounded(x, (quotient - high) + rest) * nodes(x)


@inline
def magic_number(x, pivot):
    """Return the number whose addition rounds N·log2(e^x · 2^-pivot) to an integer and adds the exponent's bias."""
    return magic_integer(x) + nodes(x) * (choose(x, 127.0, 1023.0) - pivot)


@inline
def pivot_in(x, magic):
    """Return the pivot of a magic number."""
    return choose(x, 127.0, 1023.0) - (magic - magic_integer(x)) * (1.0 / nodes(x))


@inline
def reduced(v, high, low, magic):
    """Return (large, f, steps): large · 2^(f/N) is unit · e^v · 2^-pivot, a normal number; high + low = N·log2(e).

    In `steps` (the magic number + N·n + j) the exponents can be compared, by their bits even where they are NaN.
    """
    steps = fma(v, high, magic)
    f = fma(v, high, magic - steps)
    f = f + fma(v, low, deviation(steps)) if choose(v, 1, 0) else fma(v, low, f)
    return add_node(node(steps), steps), f, steps


@inline
def factored_exponential(v, high, low, magic):
    """Return (large, a, b, steps): large + a·b is what `reduced` tells."""
    large, f, steps = reduced(v, high, low, magic)
    return large, large * f, slope_of_exp2(f), steps


@inline
def exponential(v, high, low, magic):
    """Return (unit · e^v · 2^-pivot, the same as a large and a small part, steps), as `factored_exponential` does."""
    large, a, b, steps = factored_exponential(v, high, low, magic)
    return fma(a, b, large), large, a * b, steps


@inline
def exponential_of_narrower(v, high, low, pivot):
    """Return e^v · 2^-pivot, a normal number, of float64 lanes that have been float32; high + low = log2(e)."""
    magic = MAGIC_DOUBLE + N_DOUBLE * (1023.0 - pivot)
    high, low = N_DOUBLE * high, N_DOUBLE * low
    steps = fma(v, high, magic)
    f = fma(v, low, fma(v, high, magic - steps))
    large = add_node(exact_node(steps), steps)
    return fma(large * f, slope_of_exp2(f), large)


@inline
def exponential_in_short(v):
    """Return e^v of float64 lanes that have been float32, and are not large: to 2^-41."""
    magic = MAGIC_DOUBLE + N_DOUBLE * 1023.0
    steps = fma(v, N_DOUBLE * LOG2E, magic)
    f = fma(v, N_DOUBLE * LOG2E, magic - steps)
    large = add_node(exact_node(steps), steps)
    return fma(large * f, slope_in_short(f), large)


@inline
def add_exactly(total, lost, g):
    """Return total + g, and `lost` plus what the rounding of that sum lost (Knuth's two-sum)."""
    s = total + g
    back = s - total
    return s, lost + ((total - (s - back)) + (g - back))


@inline
def add_smaller(total, g):
    """Return total + g, |total| >= |g|, and what the rounding lost (Dekker's fast two-sum)."""
    s = total + g
    return s, g - (s - total)


@inline
def inverse_in_parts(total, lost):
    """Return 1 / (total + lost) of float64, numbers or vectors, in two parts."""
    inverse = 1.0 / total
    return inverse, fma(inverse, 0.0 - lost, fma(inverse, 0.0 - total, 1.0)) * inverse
