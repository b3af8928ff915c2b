"""SciPy's formulas in NumPy, for what no kernel computes: complex, longdouble, extreme temperatures and weights.

Differences from the largest element, and their exponentials, are computed in longdouble or its complex sibling; where
that is no wider than float64, they are as exact as NumPy makes them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastsoftmax.arrays import Array


def softmax(x: Array, axes: tuple[int, ...], mask: Array | None, temperature: float) -> Array:
    """Return softmax along the axes."""
    with np.errstate(all="ignore"):
        e = np.exp(_differences(x, axes, mask, temperature))
        result: Array = e / np.sum(e, axis=axes, keepdims=True)
    return result if mask is None else np.where(mask, result, 0)


def log_softmax(x: Array, axes: tuple[int, ...], mask: Array | None, temperature: float) -> Array:
    """Return log_softmax along the axes."""
    with np.errstate(all="ignore"):
        d = _differences(x, axes, mask, temperature)
        is_top = d == 0
        tops = np.sum(is_top, axis=axes, keepdims=True).astype(d.real.dtype)
        rest = np.sum(np.where(is_top, 0, np.exp(d)), axis=axes, keepdims=True)
        result: Array = d - (np.log1p(rest / tops) + np.log(tops))
    return result if mask is None else np.where(mask, result, -np.inf)


def logsumexp(
    a: Array,
    b: Array | None,
    axes: tuple[int, ...],
    mask: Array | None,
    dtype: np.dtype[Any],
    return_sign: bool,
) -> tuple[Array, Array]:
    """Return (logarithm, sign) in `dtype`, without the reduced axes; with `return_sign` the logarithm is real."""
    with np.errstate(all="ignore"):
        a = a.astype(np.result_type(dtype, np.longdouble))
        weights = np.ones((), a.dtype) if b is None else b.astype(a.dtype)
        gone = weights == 0 if mask is None else (weights == 0) | ~mask
        size = np.where(gone, -np.inf, a.real + np.log(np.abs(weights)))  # log |b e^a|
        top = np.max(size, axis=axes, keepdims=True, initial=-np.inf)
        shift = np.where(np.isfinite(top), top, 0)
        exponents = size - shift if a.dtype.kind == "f" else size - shift + 1j * a.imag
        terms = np.where(size == -np.inf, 0, _directions(weights) * np.exp(exponents))
        terms = np.where(top == np.inf, np.where(size == np.inf, _infinite(a, weights, b is None), 0), terms)
        total = np.sum(terms, axis=axes)
        shift = shift.reshape(total.shape)
        magnitude = np.abs(total)
        if a.dtype.kind == "f":
            sign = np.sign(total)
        else:
            sign = np.where(magnitude == 0, 0, total / np.where(magnitude == 0, 1, magnitude))
        result: Array = np.log(magnitude if return_sign else total) + shift
        sign = sign.astype(dtype)
        return result.astype(sign.real.dtype if return_sign else dtype), sign


def _differences(x: Array, axes: tuple[int, ...], mask: Array | None, temperature: float) -> Array:
    """Return (x - its largest element) / temperature in a wide type, -inf where there is no x."""
    x = x.astype(np.result_type(x.dtype.newbyteorder("="), np.longdouble))
    if temperature < 0:
        x, temperature = -x, -temperature
    if mask is not None:
        x = np.where(mask, x, -np.inf)
    d: Array = x - np.max(x, axis=axes, keepdims=True)
    if temperature == 1.0:
        return d
    quotient = np.empty_like(d)
    if d.dtype.kind == "c":
        quotient.imag = d.imag / temperature
    quotient.real = np.where(d.real == -np.inf, d.real, d.real / temperature)
    return quotient


def _directions(b: Array) -> Array:
    """Return b / |b|."""
    return np.sign(b) if b.dtype.kind == "f" else b / np.abs(b)


def _infinite(a: Array, b: Array, is_one: bool) -> Array:
    """Return b e^a where that is infinite."""
    if a.dtype.kind == "f":
        return np.copysign(np.inf, b)
    return np.exp(a) if is_one else b * np.exp(a)
