"""logsumexp with weights b: rare enough for tiles, exact enough for a double."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastsoftmax.arrays import Array
from fastsoftmax.kernels.weighted import weighted_logsumexp_rows

TILE = 2**15


def weighted_logsumexp(
    a: Array, b: Array, axes: tuple[int, ...], mask: Array | None, dtype: np.dtype[Any], return_sign: bool
) -> tuple[Array, Array]:
    """Return (log of the absolute sum of b·e^a, its sign) without the reduced axes.

    Without `return_sign`, the logarithm of a negative sum is NaN.
    """
    kept = tuple(i for i in range(a.ndim) if i not in axes)
    order = kept + axes
    shape = tuple(a.shape[i] for i in kept)
    n = math.prod(a.shape[i] for i in axes)
    rows = math.prod(shape)
    result, sign = np.full(rows, -np.inf), np.zeros(rows)
    if n and rows:
        a, b = a.transpose(order), b.transpose(order)
        keep = None if mask is None else mask.transpose(order)
        step = max(1, TILE // n)
        for first in range(0, rows, step):
            last = min(first + step, rows)
            index = np.unravel_index(np.arange(first, last), shape) if shape else ()
            x = np.array(a[index], np.float64, order="C").reshape(-1)
            weights = np.array(b[index], np.float64, order="C").reshape(-1)
            if keep is not None:
                weights[~keep[index].reshape(-1)] = 0.0
            weighted_logsumexp_rows[np.dtype(np.float64)](x, weights, result[first:], sign[first:], last - first, n)
    if not return_sign:
        result[sign < 0] = np.nan
    return result.astype(dtype).reshape(shape), sign.astype(dtype).reshape(shape)
