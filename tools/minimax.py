"""Print the constants of `fastsoftmax/kernels/exponential.py` and `log1p.py`.

The polynomials approximate 2^(f/N) on [-1/2, 1/2], and a little beyond, or log(1 + r) / r where the nodes of the
logarithm leave r, with the least maximum of the relative error, constant term 1. Lawson's algorithm finds that minimax
polynomial: a weighted least-squares fit, repeated with each weight multiplied by the error at its point, until all
errors that remain are alike (C. L. Lawson, Contributions to the Theory of Linear Least Maximum Approximation, thesis,
UCLA, 1961; J. R. Rice & K. H. Usow, The Lawson algorithm and extensions, Math. Comp. 22, 1968).

Coefficients must be floats, and each one rounded costs accuracy. So they are rounded one after the other from the
lowest, which matters most, and the others are fitted again to what is left: they make up for it.

Errors are computed with 60 digits by mpmath; a fit in float64 then corrects the coefficients, so nothing depends on how
it is rounded. The unit of float64 is the best of all that are very near 1. Run it with ``python tools/minimax.py``.
"""

from dataclasses import dataclass

import mpmath
import numpy as np

mpmath.mp.dps = 60

POINTS = 400
ROUNDS = 25
BITS = 8  # of a short node
UNITS = 2**28  # that are tried, from 1 on: so near to it that the logarithm of one is little


def exact_array(numbers):
    """Return an array of mpmath numbers."""
    return np.array([mpmath.mpf(n) for n in numbers])


def relative_errors(coefficients, f, power):
    """Return p(f) / power - 1 of the polynomial with these coefficients, the constant first, as float64."""
    value = exact_array(np.zeros(len(f)))
    for c in reversed(coefficients):
        value = value * f + c
    return (value / power - 1).astype(np.float64)


def exact_nodes(parts):
    """Return 2^(j/parts) for j from 0."""
    return [mpmath.mpf(2) ** (mpmath.mpf(j) / parts) for j in range(parts)]


def short_nodes(parts):
    """Return 2^(j/parts), rounded to few bits, and what must be added to j to make up for it, as float32."""
    exact = exact_nodes(parts)
    rounded = [float(mpmath.nint(value * 2 ** (BITS - 1)) / 2 ** (BITS - 1)) for value in exact]
    deviations = [mpmath.log(e / r, 2) * parts for e, r in zip(exact, rounded, strict=True)]
    return rounded, [float(np.float32(mpmath.nstr(d, 30))) for d in deviations]


def nodes_in_units(unit, parts):
    """Return unit · 2^(j/parts) as float64."""
    return [float(unit * node) for node in exact_nodes(parts)]


def best_unit(parts, chunk=2**16):
    """Return the float64 whose products with 2^(j/parts) are nearest to being float64: relative errors spread least.

    What a product is beside its last place is a fraction of 64 bits: such numbers wrap round when they are added.
    """
    exact = exact_nodes(parts)
    starts, steps = ([np.uint64(int(node * scale % 1 * 2**64)) for node in exact] for scale in (2**52, 1))
    lengths = [float(2.0**-64 / node) for node in exact]
    best, unit = np.inf, 1.0
    for first in range(0, UNITS, chunk):
        k = np.arange(first, first + chunk, dtype=np.uint64)
        errors = [(a + k * b).view(np.int64) * c for a, b, c in zip(starts, steps, lengths, strict=True)]
        spread = np.max(errors, axis=0) - np.min(errors, axis=0)
        if spread.min() < best:
            best, unit = spread.min(), 1.0 + float(k[spread.argmin()]) * 2.0**-52
    return unit


@dataclass(frozen=True)
class PowerOf2:
    """2^(f/parts), f what is left of a multiple of 1/parts of a number of this type."""

    parts: int
    dtype: type

    def interval(self):
        """Return the ends of f: rounding to an integer leaves a half and a little, a short node's deviation is more."""
        deviations = short_nodes(self.parts)[1] if self.dtype == np.float32 else [0.0]
        limit = mpmath.mpf("0.500002") + max(map(abs, deviations))
        return -limit, limit

    def __call__(self, f):
        """Return the value at an mpmath number."""
        return mpmath.mpf(2) ** (f / self.parts)


@dataclass(frozen=True)
class Log1pOverR:
    """log(1 + r) / r, r what the nodes of so many parts of an octave leave of a number of this type."""

    parts: int
    dtype: type

    def interval(self):
        """Return the ends of r."""
        inverses = list(enumerate(inverse_nodes(self.parts)))
        lowest = min((1 + mpmath.mpf(j) / self.parts) * inverse for j, inverse in inverses)
        highest = max((1 + mpmath.mpf(j + 1) / self.parts) * inverse for j, inverse in inverses)
        return lowest - 1, highest - 1

    def __call__(self, r):
        """Return the value at an mpmath number."""
        return mpmath.log1p(r) / r if r else mpmath.mpf(1)


POLYNOMIALS = {  # degree, what it approximates
    "SINGLE": (3, PowerOf2(16, np.float32)),
    "SINGLE_OF_8": (4, PowerOf2(8, np.float32)),
    "DOUBLE": (7, PowerOf2(8, np.float64)),
    "DOUBLE_IN_SHORT": (5, PowerOf2(8, np.float64)),
    "LOG_SINGLE": (4, Log1pOverR(16, np.float32)),
    "LOG_SINGLE_OF_8": (5, Log1pOverR(8, np.float32)),
    "LOG_DOUBLE": (11, Log1pOverR(8, np.float64)),
}


def inverse_nodes(parts):
    """Return numbers of 7 binary places near the inverses of the middles of the parts of an octave, first 1."""
    return [1.0] + [round(128 / (1 + (j + 0.5) / parts)) / 128 for j in range(1, parts)]


def minimax(degree, curve, known):
    """Return all coefficients of the minimax polynomial of a curve whose lowest ones are `known`."""
    low, high = curve.interval()
    middle, half = (low + high) / 2, (high - low) / 2
    f = exact_array([middle + half * mpmath.cos(mpmath.pi * (i + mpmath.mpf(0.5)) / POINTS) for i in range(POINTS)])
    power = exact_array([curve(v) for v in f])
    exponents = np.arange(len(known), degree + 1)
    scale = float(high) ** exponents  # columns of like size
    columns = (f[:, None] ** exponents / power[:, None]).astype(np.float64) / scale
    coefficients = [*known, *exact_array(np.zeros(len(exponents)))]
    errors = relative_errors(coefficients, f, power)
    weights = np.ones(POINTS)
    for _ in range(ROUNDS):
        root = np.sqrt(weights)
        for _ in range(2):  # the second time for what the first leaves
            change, *_ = np.linalg.lstsq(columns * root[:, None], -errors * root)
            for k, c in zip(exponents, change / scale, strict=True):
                coefficients[k] += mpmath.mpf(float(c))
            errors = relative_errors(coefficients, f, power)
        weights *= np.abs(errors)
        weights /= weights.mean()
    return coefficients


def rounded_minimax(degree, curve):
    """Return the coefficients of f, f^2, ... as numbers of a type, each the best one given those before it."""
    coefficients = [mpmath.mpf(1)]
    for k in range(1, degree + 1):
        coefficients.append(mpmath.mpf(float(curve.dtype(minimax(degree, curve, coefficients)[k]))))
    return [float(c) for c in coefficients[1:]]


def largest_error(coefficients, curve, count=4001):
    """Return the largest relative error of 1 + c1·f + c2·f^2 + ... on a dense grid."""
    low, high = curve.interval()
    f = exact_array([low + (high - low) * i / (count - 1) for i in range(count)])
    power = exact_array([curve(v) for v in f])
    return float(np.abs(relative_errors(exact_array([1, *coefficients]), f, power)).max())


def in_two_parts(value):
    """Return an mpmath number as a float and what that leaves, as a float."""
    high = float(value)
    return high, float(value - high)


def constants():
    """Return the other constants by name, a float or a tuple of floats each."""
    ln2 = mpmath.log(2)
    ln2_high = mpmath.floor(ln2 * 2**32) / 2**32
    found = {"LN2_HIGH": float(ln2_high), "LN2_LOW": float(ln2 - ln2_high)}
    found["LOG2E"], found["LOG2E_LOW"] = in_two_parts(1 / ln2)
    found["LN2_EIGHTH"], found["LN2_EIGHTH_LOW"] = in_two_parts(ln2 / 8)
    nodes_exact = [mpmath.mpf(2) ** (mpmath.mpf(j) / 8) for j in range(8)]
    found["NODES_LOST"] = tuple(float((node - float(node)) / float(node)) for node in nodes_exact)
    return found


def show(name, value, note=""):
    """Print a constant as ``float.fromhex`` reads it."""
    numbers = value if isinstance(value, list | tuple) else [value]
    print(name + note, *(f"    {number.hex()}" for number in numbers), sep="\n")


def main():
    """Print all constants."""
    for name, value in constants().items():
        show(name, value)
    rounded, deviations = short_nodes(16)
    show("SINGLE_NODES", rounded)
    show("SINGLE_DEVIATIONS", deviations)
    unit = best_unit(8)
    show("DOUBLE_UNIT", unit)
    show("DOUBLE_NODES", nodes_in_units(unit, 8))
    for name, (degree, curve) in POLYNOMIALS.items():
        coefficients = rounded_minimax(degree, curve)
        unrounded = largest_error(minimax(degree, curve, [mpmath.mpf(1)])[1:], curve)
        errors = f"largest error {largest_error(coefficients, curve):.3g}, unrounded {unrounded:.3g}"
        show(name, coefficients, f"  degree {degree}, {errors}")


if __name__ == "__main__":
    main()
