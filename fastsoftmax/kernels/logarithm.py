"""log for the sums, without a call: a call in a row's loop would throw every vector register out.

The polynomial is that of fdlibm's ``e_log.c`` (Sun Microsystems, 1993; error under 1 ULP). The logarithm is kept in
two parts, as the sum of which it is exact far below the last place of the larger one. It serves scalars and vectors.
"""

from fastsoftmax.jit import inline
from fastsoftmax.kernels.exponential import LN2_HIGH, LN2_LOW, out_of_units
from fastsoftmax.kernels.extended import exponential_in_parts
from fastsoftmax.simd import choose, fma, polynomial, rounded, select, split_exponent

log_series = polynomial(
    (
        6.666666666666735130e-01,
        3.999999999940941908e-01,
        2.857142874366239149e-01,
        2.222219843214978396e-01,
        1.818357216161805012e-01,
        1.531383769920937332e-01,
        1.479819860511658591e-01,
    )
)


@inline
def log_in_parts(value, lost, exponent):
    """Return log((value + lost) * 2**exponent) of positive normal float64 as a multiple of ln 2 and the rest."""
    m, n = split_exponent(value)
    a, b, _ = log_of_mantissa(m - 1.0, lost / value, n + exponent)
    return a, b


@inline
def log_of(value, exponent):
    """Return log(value * 2**exponent) of positive normal float64, to 2 ULP or so."""
    m, n = split_exponent(value)
    a, b, _ = log_of_mantissa(m - 1.0, 0.0 * value, n + exponent)
    return a + b


@inline
def log_and_rest(value, lost, exponent):
    """Return log((value + lost) * 2**exponent) of positive normal float64, rounded, and what the rounding lost."""
    m, n = split_exponent(value)
    a, b, c = log_of_mantissa(m - 1.0, lost / value, n + exponent)
    log = a + b
    return log, ((a - log) + b) + c


@inline
def log_of_terms(x, total, lost, pivot):
    """Return log of (total + lost) · 2^pivot units, positive normal float64, rounded, and what the rounding lost."""
    return log_and_rest(*out_of_units(x, total, lost), pivot)


@inline
def log_of_sum(x, total, lost, pivot):
    """Return what `log_of_terms` does as one number, good to more than the precision that x is computed in."""
    if choose(x, 1, 0):
        return log_of(total + lost, pivot)
    log, rest = log_of_terms(x, total, lost, pivot)
    return log + rest


@inline
def log_of_mantissa(f, lost, n):
    """Return log((1 + f) * 2**n) + lost, sqrt(1/2) <= 1 + f < sqrt(2): a multiple of ln 2 and the rest in two parts."""
    s = f / (f + 2.0)
    z = s * s
    r = log_series(z)
    half = f * f * 0.5
    small = half - (fma(s, fma(r, z, half), n * LN2_LOW) + lost)
    rest = f - small
    return n * LN2_HIGH, rest, (f - rest) - small


@inline
def log_rounded(x, total, lost, pivot):
    """Return what `log_of_terms` does as two numbers of the type that x is computed in."""
    log, rest = log_of_terms(x, total, lost, pivot)
    high = rounded(x, log)
    return high, rounded(x, (log - high) + rest)


@inline
def log1p_of_single(value):
    """Return log(1 + value) of value >= 0, however small, to far more than the precision of float32."""
    m, n = split_exponent(1.0 + value)
    a, b, _ = log_of_mantissa(select(n == 0.0, value, m - 1.0), 0.0 * value, n)
    return a + b


@inline
def log_step(u, u_low, e, e_low):
    """Return what log(u + u_low) is more than y, where e + e_low is e^-y: a step of Newton's method."""
    product = u * e
    return (product - 1.0) + (fma(u, e, 0.0 - product) + (u * e_low + u_low * e))


@inline
def log1p_in_parts(value, lost):
    """Return log(1 + value + lost), value >= 0, as two numbers whose sum is good to about 2^-57 of the larger.

    One step of Newton's method from y = log: y + ((1 + value) · e^-y - 1).
    """
    if value < 1e-5:  # y - y²/2 + y³/3
        square = value * value
        return value, lost - (0.5 - value * (1.0 / 3.0)) * square
    u = 1.0 + value
    u_low = (value - (u - 1.0)) + lost
    a, b = log_in_parts(u, u_low, 0.0)
    y = a + b
    e, e_low = exponential_in_parts(-y, 0.0, 1.0)
    return y, log_step(u, u_low, e, e_low)
