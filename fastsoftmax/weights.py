"""logsumexp with weights b: rare enough for tiles, exact enough for a double.

A kernel takes the rows but those with an infinite element or with weights so far apart that a small e^x may outweigh
a large one: these are for `fastsoftmax.plain`. Where nearly all of a row's terms cancel, equal elements are given one
weight, the exact sum of theirs, and the row is computed anew: what cancels exactly then hides nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastsoftmax import arrays, plain, threads
from fastsoftmax.arrays import Array
from fastsoftmax.engine import THREADED
from fastsoftmax.kernels.weighted import weighted_logsumexp_rows
from fastsoftmax.tiles import blocks_of

TILE = 2**15  # elements of a block
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
    result, sign = np.full(shape, -np.inf), np.zeros(shape)
    if a.size:
        a, b = a.transpose(order), b.transpose(order)
        keep = None if mask is None else mask.transpose(order)
        stored = a.dtype if a.dtype == b.dtype == np.float32 else np.dtype(np.float64)
        blocks = list(blocks_of(shape, n, TILE))

        def task(number: int) -> None:
            index = blocks[number]
            x, weights = _as_rows(a[index], n, stored), _as_rows(b[index], n, stored)
            if keep is not None:
                weights = np.where(keep[index].reshape(weights.shape), weights, stored.type(0))
            _compute(x, weights, result[index].reshape(-1), sign[index].reshape(-1))

        for_all = threads.run if a.size >= THREADED else threads.run_here
        for_all(task, len(blocks))
    if not return_sign:
        result[sign < 0] = np.nan
    with np.errstate(all="ignore"):
        return result.astype(dtype), sign.astype(dtype)


def _compute(x: Array, weights: Array, result: Array, sign: Array) -> None:
    """Write the logarithms for some rows, and the signs."""
    left = np.empty(len(x))
    _run_kernel(x, weights, result, sign, left)
    odd = left < 0
    for r in np.flatnonzero((left < CANCELS) & ~odd):
        if np.count_nonzero(weights[r]) > 2:
            _run_kernel(*_merged(x[r], weights[r]), *(part[r : r + 1] for part in (result, sign, left)))
    if odd.any():
        result[odd], sign[odd] = plain.logsumexp(x[odd], weights[odd], (1,), None, result.dtype, True)


def _run_kernel(x: Array, weights: Array, result: Array, sign: Array, left: Array) -> None:
    kernel = weighted_logsumexp_rows.unchecked(x.dtype)
    kernel(x.reshape(-1), weights.reshape(-1), result, sign, left, *x.shape)


def _merged(x: Array, weights: Array) -> tuple[Array, Array]:
    """Return a row of the different elements of x, each with the exact sum of its weights."""
    order = np.argsort(x)
    values, starts = np.unique(x[order], return_index=True)
    sums = [math.fsum(part) for part in np.split(weights[order], starts[1:])]
    return values[np.newaxis].astype(np.float64), np.array([sums])


def _as_rows(a: Array, n: int, dtype: np.dtype[Any]) -> Array:
    """Return numbers in rows of n, of a type; a copy unless they lie so."""
    if a.dtype == dtype and a.flags.c_contiguous and a.flags.aligned:
        return a.reshape(-1, n)
    copy = np.empty(a.shape, dtype)
    arrays.write(copy, a)
    return copy.reshape(-1, n)
