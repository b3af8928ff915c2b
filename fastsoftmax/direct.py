"""The short way for what is called most: a contiguous float array, one axis or all of it, no masks or types.

A call on a few numbers costs what Python does around the kernel, so this looks at nothing that such a call cannot
have. It declines, with None, whatever it does not know; `fastsoftmax.api` then takes the long way, to the same result.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastsoftmax import threads
from fastsoftmax.arrays import NATIVE, Array
from fastsoftmax.engine import LONG, THREADED, strips
from fastsoftmax.kernels import columns, narrow, rows

_LIMIT = {dtype: narrow.LIMIT[dtype.name] for dtype in NATIVE}
_AT_ONCE = 2**24  # elements that one call of a kernel may take: Ctrl-C waits for it
_empty = np.empty


def _is_known(x: Array) -> bool:
    """Tell whether x is an array for one call of a kernel."""
    size = x.size
    if x.dtype not in _LIMIT or not size or not x.flags.c_contiguous:
        return False
    return size < THREADED or (size <= _AT_ONCE and threads.get_num_threads() == 1)


def _suits(out: Any, x: Array) -> bool:
    """Tell whether a result for x can be written straight into `out`."""
    return (
        type(out) is np.ndarray
        and out.dtype == x.dtype
        and out.shape == x.shape
        and out.flags.carray
        and not np.may_share_memory(out, x)
    )


def _rows_of(op: str, x: Array, axis: Any) -> tuple[int, Any]:
    """Return the length of the rows that x consists of and their kernel; 0 and None for other and for long rows."""
    size = x.size
    if axis is None:
        n = size if x.ndim else 0
    elif type(axis) is int and (axis == -1 or axis == x.ndim - 1) and x.ndim:
        n = x.shape[-1]
    else:
        return 0, None
    if not 0 < n <= LONG:
        return 0, None
    dtype = x.dtype
    limit = _LIMIT[dtype]
    is_narrow = n < limit and (n < limit // 2 or size >= n * narrow.MANY)
    return n, getattr(narrow if is_narrow else rows, op)[dtype]


def _columns_of(x: Array, axis: Any) -> tuple[int, int, int] | None:
    """Return (planes, length, number) of the columns that x consists of, if it does."""
    shape = x.shape
    if type(axis) is not int or not 0 <= axis < len(shape) - 1:
        return None
    planes = math.prod(shape[:axis])
    n = shape[axis]
    inner = x.size // (n * planes)
    return None if n == 1 or inner == 1 else (planes, n, inner)


def elementwise(op: str, x: Array, axis: Any, out: Any) -> Array | None:
    """Return softmax or log_softmax of x, in `out` unless that is None; or None, and nothing has been done."""
    if not _is_known(x):
        return None
    n, kernel = _rows_of(op, x, axis)
    place = None if n else _columns_of(x, axis)
    if not (n or place) or not (out is None or _suits(out, x)):
        return None
    result: Array = _empty(x.shape, x.dtype) if out is None else out
    if place:
        planes, n, inner = place
        _along_columns(op, x, planes, n, inner, result, n * inner, inner)
        return result
    if x.ndim == 1:
        kernel(x, 0, n, result, 0, n, 0, 1, n, 0, 1.0)
    else:
        kernel(x.ravel(), 0, n, result.ravel(), 0, n, 0, x.size // n, n, 0, 1.0)
    return result


def reduction(op: str, x: Array, axis: Any) -> Any:
    """Return logsumexp of x, or None."""
    if not _is_known(x):
        return None
    n, kernel = _rows_of(op, x, axis)
    dtype = x.dtype
    if not n:
        place = _columns_of(x, axis)
        if place is None:
            return None
        planes, n, inner = place
        out = _empty(x.shape[:axis] + x.shape[axis + 1 :], dtype)
        _along_columns(op, x, planes, n, inner, out, inner, 0)
        return out
    if axis is None or x.ndim == 1:
        out = _empty(1, dtype)
        kernel(x if x.ndim == 1 else x.ravel(), 0, n, out, 0, 1, 0, 1, n, 0, 1.0)
        return out[0]
    out = _empty(x.shape[:-1], dtype)
    kernel(x.ravel(), 0, n, out.ravel(), 0, 1, 0, x.size // n, n, 0, 1.0)
    return out


def _along_columns(
    op: str, x: Array, planes: int, n: int, inner: int, out: Array, out_outer: int, out_pitch: int
) -> None:
    strip, chunk, blocks = strips(op.removesuffix("_rows"), n, inner, planes, x.itemsize)
    kernel = getattr(columns, op.replace("rows", "columns"))[x.dtype]
    places = x.ravel(), 0, n * inner, inner, out.ravel(), 0, out_outer, out_pitch
    kernel(*places, 0, blocks, planes, n, inner, strip, chunk, 1.0)
