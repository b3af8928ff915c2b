"""The short way for what is called most: a contiguous float array, its last axis or all of it, no extras.

A call on a few numbers costs what Python does around the kernel, so this looks at nothing that such a call cannot
have. It declines, with None, whatever it does not know; `fastsoftmax.api` then takes the long way, to the same result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastsoftmax.arrays import NATIVE, Array
from fastsoftmax.engine import THREADED
from fastsoftmax.kernels import narrow, rows

_NARROW_LIMIT = {dtype: narrow.LIMIT[dtype.name] for dtype in NATIVE}
_empty = np.empty


def _rows_of(x: Array, axis: Any) -> int:
    """Return the length of the rows that x consists of, 0 if it must go the long way."""
    size = x.size
    shape = x.shape
    if size > THREADED or not shape or not x.flags.c_contiguous:
        return 0
    if axis is None:
        return size
    if type(axis) is int and (axis == -1 or axis == len(shape) - 1):
        return shape[-1] if size else 0
    return 0


def elementwise(op: str, x: Array, axis: Any) -> Array | None:
    """Return softmax or log_softmax of x, or None."""
    dtype = x.dtype
    limit = _NARROW_LIMIT.get(dtype)
    if limit is None:
        return None
    n = _rows_of(x, axis)
    if not n:
        return None
    out = _empty(x.shape, dtype)
    kernel = getattr(narrow if n < limit else rows, op)[dtype]
    if x.ndim == 1:
        kernel(x, 0, n, out, 0, n, 0, 1, n, 0, 1.0)
    else:
        kernel(x.ravel(), 0, n, out.ravel(), 0, n, 0, x.size // n, n, 0, 1.0)
    return out


def reduction(op: str, x: Array, axis: Any) -> Any:
    """Return logsumexp of x, or None."""
    dtype = x.dtype
    limit = _NARROW_LIMIT.get(dtype)
    if limit is None:
        return None
    n = _rows_of(x, axis)
    if not n:
        return None
    kernel = getattr(narrow if n < limit else rows, op)[dtype]
    if axis is None or x.ndim == 1:
        out = _empty(1, dtype)
        kernel(x if x.ndim == 1 else x.ravel(), 0, n, out, 0, 1, 0, 1, n, 0, 1.0)
        return out[0]
    out = _empty(x.shape[:-1], dtype)
    kernel(x.ravel(), 0, n, out.ravel(), 0, 1, 0, x.size // n, n, 0, 1.0)
    return out
