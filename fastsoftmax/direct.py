"""The short way for what is called most: a contiguous float array, one axis or all of it, no masks or types.

A call on a few numbers costs what Python does around the kernel. So what depends on the shape alone is worked out once
a shape and remembered: the kernel, and all its arguments but the arrays. The short way declines, with None, whatever it
does not know; `fastsoftmax.api` then takes the long way, to the same result.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from fastsoftmax import team, threads
from fastsoftmax.arrays import NATIVE, Array, maker_of
from fastsoftmax.engine import LONG, THREADED, has_room_for_terms, strips
from fastsoftmax.jit import Kernel
from fastsoftmax.kernels import columns, narrow, rows
from fastsoftmax.team import AT_ONCE

# What threads need to share the work: the kernel, how many rows or strips there are, the elements in each, and how many
# arguments behind the result come before their range.
Shared = tuple[Kernel, int, int, int]
# The compiled kernel, its arguments behind x and behind the result, the shape of that, what makes it; and, where the
# work is enough for threads, what they need.
Plan = tuple[Any, tuple[int, ...], tuple[Any, ...], tuple[int, ...], Any, Shared | None]


def elementwise(op: str, x: Array, axis: Any, out: Any) -> Array | None:
    """Return softmax or log_softmax of x, in `out` unless that is None; or None, and nothing has been done."""
    if not (axis is None or type(axis) is int) or not x.flags.c_contiguous:
        return None
    shape = x.shape
    plan = _plan(op, shape, axis, x.dtype, threads.get_num_threads())
    if plan is None or not (out is None or _suits(out, x, shape)):
        return None
    kernel, before, behind, _, make, shared = plan
    result: Array = make(shape, x.dtype) if out is None else out
    flat_x, flat_result = (x, result) if len(shape) == 1 else (x.ravel(), result.ravel())
    if shared is None:
        kernel(flat_x, *before, flat_result, *behind)
    else:
        _share(shared, flat_x, before, flat_result, behind)
    return result


def reduction(op: str, x: Array, axis: Any, out: Any) -> Any:
    """Return logsumexp of x, in `out` unless that is None; or None, and nothing has been done."""
    if not (axis is None or type(axis) is int) or not x.flags.c_contiguous:
        return None
    plan = _plan(op, x.shape, axis, x.dtype, threads.get_num_threads())
    if plan is None:
        return None
    kernel, before, behind, shape, make, shared = plan
    if not (out is None or _suits(out, x, shape)):
        return None
    result = make(shape, x.dtype) if out is None else out
    flat_x, flat_result = x if x.ndim == 1 else x.ravel(), result if len(shape) == 1 else result.ravel()
    if shared is None:
        kernel(flat_x, *before, flat_result, *behind)
    else:
        _share(shared, flat_x, before, flat_result, behind)
    return result if shape or out is not None else result[()]


def _share(shared: Shared, x: Array, before: tuple[int, ...], result: Array, behind: tuple[Any, ...]) -> None:
    """Have threads share a plan's work."""
    kernel, count, unit, places = shared
    behind_range = behind[places + 2 :]
    team.share(kernel, x.dtype, count, unit, (x, *before, result, *behind[:places]), behind_range, threaded=True)


def _suits(out: Any, x: Array, shape: tuple[int, ...]) -> bool:
    """Tell whether a result of a shape for x can be written straight into `out`."""
    return (
        type(out) is np.ndarray
        and out.dtype == x.dtype
        and out.shape == shape
        and out.flags.carray
        and not np.may_share_memory(out, x)
    )


@lru_cache(maxsize=1024)
def _plan(op: str, shape: tuple[int, ...], axis: int | None, dtype: np.dtype[Any], allowed: int) -> Plan | None:
    """Return the plan for C-contiguous arrays of a shape and type, None if the short way does not know it."""
    size = math.prod(shape)
    ndim = len(shape)
    sharers = allowed if size >= THREADED else 1
    if dtype not in NATIVE or not 0 < size <= AT_ONCE or not shape:
        return None
    if axis is not None and not -ndim <= axis < ndim:
        return None
    axis = None if axis is None else axis % ndim
    reduces = op == "logsumexp"
    kept = () if axis is None else shape[:axis] + shape[axis + 1 :]
    result = kept if reduces else shape
    make = maker_of(result)
    if axis is None or axis == ndim - 1:
        n = size if axis is None else shape[-1]
        if n > LONG:
            return None
        many = size // n
        is_narrow = narrow.is_narrow(many, n, dtype.name)
        kernel = getattr(narrow if is_narrow else rows, op + "_rows")
        behind: tuple[Any, ...] = 0, 1 if reduces else n, 0, many, n, 0, 1.0
        shared = (kernel, many, n, 2) if sharers > 1 else None
        return kernel.unchecked(dtype), (0, n), behind, result, make, shared
    planes, n = math.prod(shape[:axis]), shape[axis]
    inner = size // (n * planes)
    if n == 1 or inner == 1:
        return None
    in_out = has_room_for_terms(inner, inner, inner, dtype)
    width, tile_rows, blocks = strips(op, n, inner, planes, dtype, in_out, sharers)
    outer, pitch = (inner, 0) if reduces else (n * inner, inner)
    behind = (0, outer, pitch, 0, blocks, planes, n, inner, width, tile_rows, int(in_out), 1.0)
    kernel = getattr(columns, op + "_columns")
    shared = (kernel, blocks, n * width, 3) if sharers > 1 else None
    return kernel.unchecked(dtype), (0, n * inner, inner), behind, result, make, shared
