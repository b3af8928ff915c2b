"""Exact softmax, log_softmax and logsumexp of the given floats, and errors in units in the last place.

Two independent ways to the truth:

- ``by_digits``: mpmath at 60 digits, one row at a time (about 20 us a number);
- ``by_longdouble``: 80-bit floats with the rounding of ``x - max`` carried along, good to 0.05 ULP of a
  double for any row length in the tests, except for a logsumexp that cancels to nearly 0.

Both sum the exponentials *without* the largest element, so that a log_softmax of -1e-22 is not rounded to 0.
Results are longdouble arrays, which hold a double and 11 bits more.
"""

import ml_dtypes
import mpmath
import numpy as np

WIDE = np.longdouble
HAS_WIDE = np.finfo(WIDE).nmant >= 63
DIGITS = 60
NEVER = -1e6  # e^-1e6 is far below every float


def wide(v):
    """Round an mpf to longdouble, by way of two doubles."""
    high = float(v)
    return WIDE(high) if not np.isfinite(high) else WIDE(high) + WIDE(float(v - mpmath.mpf(high)))


def by_digits(op, rows, weights=None):
    """Exact results of each row by mpmath.

    A logsumexp may carry weights, and gives log|sum|, its sign and sum|terms| / |sum|.
    """
    results = []
    with mpmath.workdps(DIGITS):
        for r, row in enumerate(rows):
            x = [mpmath.mpf(float(v)) for v in row]
            k = max(range(len(x)), key=x.__getitem__)
            d = [v - x[k] for v in x]
            e = [mpmath.exp(v) if v > NEVER else mpmath.mpf(0) for v in d]
            if weights is not None:
                terms = [mpmath.mpf(float(w)) * v for w, v in zip(weights[r], e, strict=True)]
                total = mpmath.fsum(terms)
                if total == 0:
                    results.append((WIDE(-np.inf), WIDE(0), WIDE(1)))
                    continue
                value = x[k] + mpmath.log(abs(total))
                condition = mpmath.fsum(terms, absolute=True) / abs(total)
                results.append((wide(value), WIDE(int(mpmath.sign(total))), wide(condition)))
                continue
            rest = mpmath.fsum(v for i, v in enumerate(e) if i != k)
            if op == "softmax":
                results.append([wide(v / (1 + rest)) for v in e])
            elif op == "log_softmax":
                lost = mpmath.log1p(rest)
                results.append([wide(v - lost) for v in d])
            else:
                results.append(wide(x[k] + mpmath.log1p(rest)))
    return np.array(results, WIDE)


def by_longdouble(op, rows):
    """Each row in 80-bit arithmetic: holds finite numbers and -inf, one finite number at least."""
    x = rows.astype(WIDE)
    top = x.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        d = x - top
        virtual = d - x  # Knuth's two-sum: d + lost is x - top without any rounding
        lost = (x - (d - virtual)) + (-top - virtual)
        lost = np.where(np.isfinite(d), lost, 0)
        e = np.exp(d)
        e += e * lost
        if op == "softmax":
            k = x.argmax(axis=1)[:, None]
            rest = e.copy()
            np.put_along_axis(rest, k, 0, axis=1)
            return e / (1 + rest.sum(axis=1, keepdims=True))
        k = x.argmax(axis=1)[:, None]
        np.put_along_axis(e, k, 0, axis=1)
        log_rest = np.log1p(e.sum(axis=1, keepdims=True))
        if op == "log_softmax":
            return (d - log_rest) + lost
        return (top + log_rest)[:, 0]


def normal_axis(x, axis):
    if axis is None:
        return tuple(range(x.ndim))
    return tuple(a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,)))


def exact(op, x, axis=None, *, where=None, digits=False):
    """Exact result for an array: any axis, masks, -inf; NaN and +inf only where masked."""
    x = np.asarray(x)
    x = x.astype(np.float64 if x.dtype.kind in "biu" else np.float32 if x.dtype.itemsize == 2 else x.dtype)
    axes = normal_axis(x, axis)
    keep = np.ones(x.shape, bool) if where is None else np.broadcast_to(where, x.shape)
    x = np.where(keep, x, -np.inf)
    last = tuple(range(x.ndim - len(axes), x.ndim))
    moved = np.moveaxis(x, axes, last)
    outer = moved.shape[: x.ndim - len(axes)]
    n = int(np.prod(moved.shape[x.ndim - len(axes) :]))
    rows = moved.reshape(int(np.prod(outer)), n)
    masked = np.moveaxis(~keep, axes, last).reshape(rows.shape)
    result = np.full(rows.shape if op != "logsumexp" else len(rows), np.nan, WIDE)
    live = (rows > -np.inf).any(axis=1)
    if op == "logsumexp":
        result[~live] = -np.inf
    elif n:
        result[masked & ~live[:, None]] = 0 if op == "softmax" else -np.inf
    if live.any():
        way = by_digits if digits or not HAS_WIDE else by_longdouble
        result[live] = way(op, rows[live])
    if op == "logsumexp" and rows.dtype == np.float64:
        cancelled = live & (np.abs(result) < 0.25)  # 80 bits are not enough there
        if cancelled.any():
            result[cancelled] = by_digits(op, rows[cancelled])
    if op == "logsumexp":
        return result.reshape(outer)
    return np.moveaxis(result.reshape(moved.shape), last, axes)


def limits(dtype):
    info = ml_dtypes.finfo(dtype)
    return info.nmant, info.minexp, WIDE(float(info.max)), WIDE(float(info.smallest_normal))


def ulp(got, true):
    """|got - true| / spacing(true), in the type of `got`: 0 for equal infinities or NaNs, inf for any other.

    A result below the smallest normal number may be flushed: there any value from 0 to that number counts 0.
    """
    got = np.asarray(got)
    true = np.asarray(true, WIDE)
    assert got.shape == true.shape, (got.shape, true.shape)
    nmant, minexp, largest, smallest = limits(got.dtype)
    g = got.astype(WIDE)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        exponent = np.frexp(np.where(np.isfinite(true), true, 0))[1] - 1
        spacing = np.ldexp(WIDE(1), np.maximum(exponent, minexp) - nmant)
        error = np.abs(g - true) / spacing
        beyond = np.abs(true) >= largest * (1 + WIDE(2) ** (-nmant - 2))
        same = (np.isnan(g) & np.isnan(true)) | (np.isinf(g) & (np.sign(g) == np.sign(true)) & beyond)
        flushed = (np.abs(true) < smallest) & (np.abs(g) <= smallest) & (g * true >= 0)
        error = np.where(same | flushed, 0, error)
        return np.where(np.isnan(error), np.inf, error).astype(np.float64)


def ulp_of_one(got, true):
    """Like `ulp`, but near a result of 0 in units of spacing(1.0): the measure for logsumexp."""
    got = np.asarray(got)
    true = np.asarray(true, WIDE)
    unit = WIDE(2) ** -limits(got.dtype)[0]
    near = np.abs(true) < 1e-3
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(near, (np.abs(got.astype(WIDE) - true) / unit).astype(np.float64), ulp(got, true))
