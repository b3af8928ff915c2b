"""log(1 + value) of vectors, however small the value: a table in place of a division.

With 1 + value = m · 2^n, 1 <= m < 2, and a *node* near 1/m, it is n·ln 2 - log node + log(1 + r), r = m·node - 1. Nodes
are short numbers, so that an fma finds r exactly, mostly. The first one is 1: under it r is the value itself.

(log(1 + r) - r) / r² is a minimax polynomial, computed by `tools/minimax.py`.
"""

from decimal import Context, Decimal

import numpy as np

from fastsoftmax.jit import inline
from fastsoftmax.kernels.exponential import add_smaller, bits_of
from fastsoftmax.simd import NODES, constant, fma, lookup_table, polynomial, split_at_node

_DIGITS = Context(prec=40)
_PLACES = {np.float32: 16, np.float64: 32}  # binary ones of n·ln 2 and of log node, so that their sum is exact

# Coefficients of 1, r, r², ...; relative errors of r + r²·(...) 2.6e-9, with 8 nodes 2.1e-9, and 5.8e-18.
LOG_SINGLE = tuple(
    map(
        float.fromhex,
        (
            "-0x1.000002p-1", "0x1.55580cp-2", "-0x1.ffef08p-3", "0x1.7fafecp-3",
        ),
    )
)  # fmt: skip
LOG_SINGLE_OF_8 = tuple(
    map(
        float.fromhex,
        (
            "-0x1.fffffcp-2", "0x1.555616p-2", "-0x1.001548p-2", "0x1.97ddd0p-3", "-0x1.1f7df6p-3",
        ),
    )
)  # fmt: skip
LOG_DOUBLE = tuple(
    map(
        float.fromhex,
        (
            "-0x1.ffffffffffff5p-2", "0x1.55555555556a1p-2", "-0x1.000000000b8cep-2", "0x1.99999998e4efbp-3",
            "-0x1.555554eae57cdp-3", "0x1.2492476ca28c1p-3", "-0x1.0000af704f923p-3", "0x1.c72dea67a6439p-4",
            "-0x1.992290a81c4e4p-4", "0x1.65bc8bdb8ee47p-4", "-0x1.d21f1b3074d39p-5",
        ),
    )
)  # fmt: skip
curvature = polynomial(LOG_DOUBLE, LOG_SINGLE if NODES[32] == 16 else LOG_SINGLE_OF_8, in_pairs=True)


def inverse_nodes(count):
    """Return numbers of 7 binary places near the inverses of the middles of `count` parts of an octave, first 1."""
    return [1.0] + [round(128 / (1 + (j + 0.5) / count)) / 128 for j in range(1, count)]


def short_log_and_rest(number, dtype):
    """Return the logarithm of a number as one of few places, and the rest."""
    log, places = Decimal(number).ln(_DIGITS), _PLACES[dtype]
    short = round(float(log) * 2.0**places) / 2.0**places
    return short, float(log - Decimal(short))


def logs_of_nodes(count, dtype):
    """Return the tables of minus the logarithms of the nodes, in two parts."""
    parts = zip(*(short_log_and_rest(node, dtype) for node in inverse_nodes(count)), strict=True)
    return [bits_of([-number for number in numbers], dtype) for numbers in parts]


node = lookup_table(bits_of(inverse_nodes(NODES[32]), np.float32), bits_of(inverse_nodes(NODES[64]), np.float64))
log_node, log_node_rest = map(lookup_table, logs_of_nodes(NODES[32], np.float32), logs_of_nodes(NODES[64], np.float64))
ln2, ln2_rest = map(constant, short_log_and_rest(2, np.float32), short_log_and_rest(2, np.float64))


@inline
def log1p(value, lost):
    """Return log(1 + value + lost) of value >= 0, and what its rounding lost."""
    u = value + 1.0
    u_lost, lost = add_smaller(value - (u - 1.0), lost)
    j, n, power = split_at_node(u)
    inverse = node(j) * power
    r, r_lost = add_smaller(fma(u, inverse, -1.0), u_lost * inverse)
    log, rest = add_smaller(fma(n, ln2(value), log_node(j)), r)
    return add_smaller(
        log, rest + fma(r, r * curvature(r), fma(n, ln2_rest(value), log_node_rest(j)) + (r_lost + lost))
    )
