"""Exact softmax, log_softmax and logsumexp, and the error of a result in ULP: the measuring instrument.

The truth is that of the *given* floats, computed in a wider type W with unit roundoff u:

=====================================  ============  ======  ========================
input                                  W             u       error, in ULP of input
=====================================  ============  ======  ========================
float16, bfloat16, float32             float64       2**-53  < 1e-6
float64 (integers and bool count so)   long double   2**-64  < 0.01
=====================================  ============  ======  ========================

Why that holds (relative errors, to first order; exp, log and log1p of W err by 6u at most, the worst that
glibc states for its long double functions, and NumPy's float64 exp stays within 8u):

- ``x - max`` is kept without rounding, as a pair: ``exp(high + low) = exp(high) * (1 + low)``, to 6u + 2u.
- The sum of the terms, all positive, is compensated, so it adds u and not n·u: 9u.
- softmax is term / total, 8u + 9u + u = 18u, and 18 · 2**-64 is 0.009 of 2**-53, the smallest relative ULP.
- log_softmax is ``(x - max) - log1p(sum without the top element)``. Both parts have one sign, so nothing
  cancels, near 0 neither: 9u + 6u + u = 16u.
- logsumexp is ``max + log1p(the same sum)``, where large parts may cancel. Its logarithm is taken as
  ``k·ln2 + log(m)`` with ln2 in two parts, so the *absolute* error is 9u + 2u + u·|result|: next to nothing for
  float32, and 0.01 ULP of float64 for a result of 1/4. One that is nearer 0 is computed by mpmath with 50 digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Axis = int | tuple[int, ...] | None

# Under this size a result is measured in ULP of 1.0: where a logsumexp comes out next to 0 its large parts cancel,
# and the error that makes sense is the absolute one.
NEAR_ZERO = {"softmax": 0.0, "log_softmax": 0.0, "logsumexp": 1e-3}

_DIGITS = 50
_CANCELLED = 0.25  # a logsumexp of float64 that is nearer 0 is computed with so many digits
_CHUNK = 1 << 16  # columns summed at once: the temporaries of a long row stay small
# ln 2 in two parts (fdlibm's): the high one has 32 bits, so k times it is exact in every wide type.
_LN2_HIGH = float.fromhex("0x1.62e42feep-1")
_LN2_LOW = np.longdouble("1.9082149292705878161442656807550e-10")


class Format(NamedTuple):
    """A binary floating-point format: its digits, its range, and the wider type that measures it."""

    precision: int
    min_exponent: int
    max_exponent: int
    wide: type[np.floating[Any]]


FORMATS = {
    "float16": Format(11, -14, 15, np.float64),
    "bfloat16": Format(8, -126, 127, np.float64),
    "float32": Format(24, -126, 127, np.float64),
    "float64": Format(53, -1022, 1023, np.longdouble),
}


class Totals(NamedTuple):
    """What a row gives to all three functions; both of shape (rows, 1) and of the wide type."""

    top: Array
    """The largest element."""
    rest: Array
    """Sum of exp(x - top) over the row, without the (first) top element, whose term is 1."""


def format_of(dtype: Any) -> Format:
    """Return the format of a type that can be measured; raise TypeError for any other."""
    dtype = np.dtype(dtype)
    name = "float64" if dtype.kind in "biu" else dtype.name
    if name not in FORMATS:
        raise TypeError(f"no exact results for {name}; there are for {', '.join(FORMATS)}, integers and bool")
    if name == "float64" and np.finfo(np.longdouble).nmant < 63:
        raise TypeError("no exact results for float64: this platform's long double is no longer than it")
    return FORMATS[name]


def softmax(x: ArrayLike, axis: Axis = -1) -> Array:
    """Return the exact softmax of the given floats.

    Parameters
    ----------
    x : array_like
        float16, bfloat16, float32, float64, integers or bool. A mask is a -inf in what it hides.
    axis : int, tuple of int or None
        As in `fastsoftmax.softmax`, with the last axis as default.

    Returns
    -------
    ndarray
        In the wide type. A row with NaN or +inf, or with nothing but -inf, is NaN.
    """
    return _elementwise(softmax_of, np.asarray(x), axis)


def log_softmax(x: ArrayLike, axis: Axis = -1) -> Array:
    """Return the exact log_softmax of the given floats, in the wide type; see `softmax`."""
    return _elementwise(log_softmax_of, np.asarray(x), axis)


def logsumexp(x: ArrayLike, axis: Axis = -1) -> Array:
    """Return the exact logsumexp of the given floats over ``axis``, in the wide type."""
    x = np.asarray(x)
    order, kept = _order(x, axis)
    rows = _rows(x, order, kept)
    return logsumexp_of(rows, totals(rows)).reshape([x.shape[a] for a in order[:kept]])


def totals(rows: Array) -> Totals:
    """Return the top and the rest of every row of a 2-D array."""
    wide = format_of(rows.dtype).wide
    if rows.shape[1] == 0:
        return Totals(np.full((len(rows), 1), -np.inf, wide), np.zeros((len(rows), 1), wide))
    top = rows.max(axis=1, keepdims=True).astype(wide)
    where_top = rows.argmax(axis=1)
    high, low = np.zeros((2, len(rows), 1), wide)
    with np.errstate(invalid="ignore", under="ignore"):
        for start in range(0, rows.shape[1], _CHUNK):
            chunk = rows[:, start : start + _CHUNK]
            terms = _exp_difference(chunk, top)
            here = np.flatnonzero((where_top >= start) & (where_top < start + _CHUNK))
            terms[here, where_top[here] - start] = 0
            chunk_high, chunk_low = _sum(terms)
            high, lost = _two_sum(high, chunk_high)
            low = low + lost + chunk_low
    return Totals(top, high + low)


def softmax_of(x: Array, row: Totals) -> Array:
    """Return the exact softmax of elements ``x`` (rows, any) of rows with these totals."""
    with np.errstate(invalid="ignore", under="ignore"):
        return np.where(np.isfinite(row.top), _exp_difference(x, row.top) / (1 + row.rest), np.nan)


def log_softmax_of(x: Array, row: Totals) -> Array:
    """Return the exact log_softmax of elements ``x`` (rows, any) of rows with these totals."""
    with np.errstate(invalid="ignore"):
        high, low = _two_sum(x.astype(row.top.dtype), -row.top)
        result = high - (np.log1p(row.rest) - np.where(np.isfinite(low), low, 0))
    return np.where(np.isfinite(row.top), result, np.nan)


def logsumexp_of(rows: Array, row: Totals) -> Array:
    """Return the exact logsumexp, of shape (rows, 1), of rows with these totals."""
    wide = row.top.dtype.type
    with np.errstate(invalid="ignore"):
        total = 1 + row.rest
        k = np.frexp(total / wide(0.75))[1] - 1  # total = m · 2^k with m from 0.75 to 1.5, so k = 0 below 1.5
        logarithm = np.where(k == 0, np.log1p(row.rest), np.log(np.ldexp(total, -k)))
        high, lost = _two_sum(row.top, k * wide(_LN2_HIGH))
        result = high + (lost + (logarithm + k * wide(_LN2_LOW)))
    result = np.where(np.isfinite(row.top), result, row.top)
    if wide is np.longdouble:
        for r in np.flatnonzero(np.abs(result) < _CANCELLED):
            result[r] = _logsumexp_by_digits(rows[r])
    return result


def spacing(true: ArrayLike, dtype: Any, *, near_zero: float = 0.0) -> Array:
    """Return one ULP of ``dtype`` at each exact value, or at 1.0 where the value is smaller than ``near_zero``.

    That is the gap above the value's magnitude; under the smallest normal number, the gap there.
    """
    form = format_of(dtype)
    size = np.abs(np.asarray(true, form.wide))
    size = np.where(size < near_zero, 1, np.maximum(size, 2.0**form.min_exponent))
    _, exponent = np.frexp(np.where(np.isfinite(size), size, 1))
    unit: Array = np.ldexp(form.wide(1), exponent - form.precision)
    return unit


def ulp_error(
    got: ArrayLike, true: ArrayLike, *, near_zero: float = 0.0, unit: Array | None = None
) -> NDArray[np.float64]:
    """Return the error of every element in fractional ULP, ``|got - true| / spacing(true)``.

    Parameters
    ----------
    got : array_like
        Results to judge; their type sets the unit.
    true : array_like
        Exact values from this module, of the same shape.
    near_zero : float
        Where the true value is smaller, the unit is one ULP of 1.0. `NEAR_ZERO` has the one for each function.
    unit : ndarray, optional
        ``spacing(true, got.dtype, near_zero=near_zero)``, for who judges many results by the same truth.

    Returns
    -------
    ndarray of float64
        Zero where both are NaN or the same infinity; where the true value rounds to the infinity that was
        got; and for a zero where the true value is under the smallest normal number of the type (or within
        the 2 ULP above it that a kernel may err before it flushes).
        inf for any other disagreement about NaN or infinity.
    """
    got = np.asarray(got)
    form = format_of(got.dtype)
    true = np.asarray(true, form.wide)
    if unit is None:
        unit = spacing(true, got.dtype, near_zero=near_zero)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.asarray(np.abs(got - true) / unit, np.float64)
    odd = (got == 0) | ~np.isfinite(error)
    if odd.any():
        error[odd] = _special_error(got[odd].astype(form.wide), true[odd], error[odd], form)
    return error


def _special_error(got: Array, true: Array, error: Array, form: Format) -> Array:
    """Return the errors with what `ulp_error` says about NaN, infinities, and zero for tiny values."""
    smallest_kept = 2.0**form.min_exponent * (1 + np.ldexp(form.wide(4), -form.precision))
    overflow = np.ldexp(2 - np.ldexp(form.wide(1), -form.precision), form.max_exponent)
    with np.errstate(invalid="ignore"):
        right = (
            (got == true)
            | (np.isnan(got) & np.isnan(true))
            | ((got == 0) & (np.abs(true) < smallest_kept))
            | (np.isinf(got) & (np.sign(got) * true >= overflow))
        )
    return np.where(right, 0, np.where(np.isnan(error), np.inf, error))


def _logsumexp_by_digits(row: Array) -> np.floating[Any]:
    """Return logsumexp of a row of float64 whose terms neither over- nor underflow together, by mpmath."""
    import mpmath

    with mpmath.workdps(_DIGITS):
        value = mpmath.log(mpmath.fsum(mpmath.exp(v) for v in row[row > -np.inf].tolist()))
        high = float(value)
        result: np.floating[Any] = np.longdouble(high) + np.longdouble(float(value - high))
        return result


def _order(x: Array, axis: Axis) -> tuple[list[int], int]:
    """Return the axes of x with the reduced ones last, and how many are kept."""
    wanted = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    reduced = sorted({a % x.ndim for a in wanted})
    kept = [a for a in range(x.ndim) if a not in reduced]
    return kept + reduced, len(kept)


def _rows(x: Array, order: list[int], kept: int) -> Array:
    """Return x as (rows, elements of a row), in a type that can be measured."""
    if x.dtype.kind in "biu":
        x = x.astype(np.float64)
    shape = [x.shape[a] for a in order]
    rows: Array = x.transpose(order).reshape(math.prod(shape[:kept]), math.prod(shape[kept:]))
    return rows


def _elementwise(function: Callable[[Array, Totals], Array], x: Array, axis: Axis) -> Array:
    """Apply softmax_of or log_softmax_of over the axes, in the shape of x."""
    order, kept = _order(x, axis)
    rows = _rows(x, order, kept)
    result = function(rows, totals(rows))
    restored: Array = result.reshape([x.shape[a] for a in order]).transpose(np.argsort(order))
    return restored


def _exp_difference(x: Array, top: Array) -> Array:
    """Return exp(x - top) in the type of ``top``, without the rounding of the difference."""
    high, low = _two_sum(x.astype(top.dtype), -top)
    terms: Array = np.exp(high)
    terms += terms * np.where(np.isfinite(low), low, 0)  # low is NaN where x is infinite
    return terms


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return a + b as a rounded sum and its rounding error (Knuth)."""
    total = a + b
    b_part = total - a
    return total, (a - (total - b_part)) + (b - b_part)


def _sum(terms: Array) -> tuple[Array, Array]:
    """Return the sum over axis 1, kept, as a high and a low part, halving the columns with `_two_sum`."""
    low = np.zeros((len(terms), 1), terms.dtype)
    while (n := terms.shape[1]) > 1:
        half = n // 2
        odd = terms[:, 2 * half :]
        terms, lost = _two_sum(terms[:, :half], terms[:, half : 2 * half])
        low += lost.sum(axis=1, keepdims=True)
        if odd.size:
            terms = np.concatenate([terms, odd], axis=1)
    return terms, low
