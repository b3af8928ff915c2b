"""complex and longdouble: SciPy's formulas in NumPy, for types that no kernel computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastsoftmax.arrays import Array


def _masked(x: Array, mask: Array | None) -> Array:
    return x if mask is None else np.where(mask, x, -np.inf)


def _shift(x: Array, axes: tuple[int, ...]) -> Array:
    """Return the largest real part, 0 where that is not finite."""
    top = np.max(x.real, axis=axes, keepdims=True, initial=-np.inf)
    shift: Array = np.where(np.isfinite(top), top, np.zeros_like(top))
    return shift


def softmax(x: Array, axes: tuple[int, ...], mask: Array | None, temperature: float) -> Array:
    """Return softmax along the axes."""
    with np.errstate(all="ignore"):
        x = _masked(x / temperature, mask)
        top = np.max(x, axis=axes, keepdims=True)
        e = np.exp(x - top)
        result = e / np.sum(e, axis=axes, keepdims=True)
    return result if mask is None else np.where(mask, result, 0)


def log_softmax(x: Array, axes: tuple[int, ...], mask: Array | None, temperature: float) -> Array:
    """Return log_softmax along the axes."""
    with np.errstate(all="ignore"):
        x = _masked(x / temperature, mask)
        d = x - np.max(x, axis=axes, keepdims=True)
        result: Array = d - np.log(np.sum(np.exp(d), axis=axes, keepdims=True))
    return result if mask is None else np.where(mask, result, -np.inf)


def logsumexp(
    a: Array, b: Array | None, axes: tuple[int, ...], mask: Array | None, return_sign: bool
) -> tuple[Array, Array]:
    """Return (logarithm, sign) without the reduced axes."""
    with np.errstate(all="ignore"):
        a = _masked(a, mask)
        if b is not None:
            a = np.where(b == 0, -np.inf, a)
        shift = _shift(a, axes)
        terms = np.exp(a - shift) if b is None else np.where(b == 0, 0, b * np.exp(a - shift))
        total = np.sum(terms, axis=axes)
        magnitude = np.abs(total)
        sign = np.where(magnitude == 0, 0, total / np.where(magnitude == 0, 1, magnitude))
        shift = shift.reshape(total.shape)
        if return_sign:
            return np.log(magnitude) + shift, sign.astype(total.dtype)
        result: Any = np.log(total) + shift
    return np.asarray(result), sign
