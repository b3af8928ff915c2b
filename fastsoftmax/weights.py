"""logsumexp with weights b: rare enough for tiles, exact enough for a double.

A kernel takes the rows but those with an infinite element or with weights so far apart that a small e^x may outweigh
a large one: these are for `fastsoftmax.plain`. Where nearly all of a row's terms cancel, equal elements are given one
weight, the exact sum of theirs, and the row is computed anew: what cancels exactly then hides nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastsoftmax import arrays, plain
from fastsoftmax.arrays import Array
from fastsoftmax.kernels.weighted import weighted_logsumexp_rows

TILE = 2**15
CANCELS = 2.0**-30  # a sum so small beside its terms may hide what equal elements cancel: they are merged


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
            x = _as_rows(a[index], last - first)
            weights = _as_rows(b[index], last - first)
            if keep is not None:
                weights[~keep[index].reshape(weights.shape)] = 0.0
            place = result[first:last], sign[first:last]
            left = np.empty(last - first)
            _run_kernel(x, weights, *place, left)
            odd = left < 0
            for r in np.flatnonzero((left < CANCELS) & ~odd):
                if np.count_nonzero(weights[r]) > 2:
                    _run_kernel(*_merged(x[r], weights[r]), *(part[r : r + 1] for part in (*place, left)))
            if odd.any():
                values = plain.logsumexp(x[odd], weights[odd], (1,), None, result.dtype, True)
                for part, value in zip(place, values, strict=True):
                    part[odd] = value
    if not return_sign:
        result[sign < 0] = np.nan
    with np.errstate(all="ignore"):
        return result.astype(dtype).reshape(shape), sign.astype(dtype).reshape(shape)


def _run_kernel(x: Array, weights: Array, result: Array, sign: Array, left: Array) -> None:
    kernel = weighted_logsumexp_rows[np.dtype(np.float64)]
    kernel(x.reshape(-1), weights.reshape(-1), result, sign, left, *x.shape)


def _merged(x: Array, weights: Array) -> tuple[Array, Array]:
    """Return a row of the different elements of x, each with the exact sum of its weights."""
    order = np.argsort(x)
    values, starts = np.unique(x[order], return_index=True)
    sums = [math.fsum(part) for part in np.split(weights[order], starts[1:])]
    return values[np.newaxis], np.array([sums])


def _as_rows(a: Array, rows: int) -> Array:
    """Return a copy in rows of float64."""
    copy = np.empty(a.shape)
    arrays.write(copy, a)
    return copy.reshape(rows, -1)
