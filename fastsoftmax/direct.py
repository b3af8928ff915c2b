"""The short way for what is called most: a contiguous float array, one axis or all of it, no masks or types.

A call on a few numbers costs what Python does around the kernel. So what depends on the shape alone is worked out once
a shape and remembered: the kernel, and all its arguments but the arrays. The short way declines, with None, whatever it
does not know; `fastsoftmax.api` then takes the long way, to the same result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from fastsoftmax import team, threads
from fastsoftmax.arrays import NATIVE, Array, maker_of
from fastsoftmax.engine import (
    LONG,
    PAST_CACHES,
    THREADED,
    column_kernels,
    has_room_for_terms,
    row_kernels,
    strips,
)
from fastsoftmax.jit import Kernel
from fastsoftmax.kernels import folded_columns
from fastsoftmax.kernels.rows import ROW_PARAMETERS
from fastsoftmax.team import AT_ONCE

# What computes an array's result, the shape of that, what makes it, and whether threads would share the work.
Plan = tuple[Callable[[Array, Array], None], tuple[int, ...], Callable[..., Array], bool]


class Steps(NamedTuple):
    """What a kernel is to do: all but the arrays."""

    kernel: Kernel
    of_x: tuple[int, ...]
    """Its arguments behind x, ..."""
    of_result: tuple[int, ...]
    """... behind the result, ..."""
    others: tuple[Any, ...]
    """... and behind the range of rows or strips."""
    parts: int
    """How many of these there are, ..."""
    unit: int
    """... and of how many elements each."""
    shape: tuple[int, ...]
    """That of the result."""


def compute(op: str, x: Array, axis: Any, out: Any) -> Any:
    """Return softmax, log_softmax or logsumexp of x, in `out` unless that is None; or None, and nothing is done."""
    if not (axis is None or type(axis) is int) or not x.flags.c_contiguous:
        return None
    plan = _plan(op, x.shape, axis, x.dtype)
    if plan is None:
        return None
    run, shape, make, is_large = plan
    if out is None:
        result = make(shape, x.dtype)
    elif _suits(out, x, shape):
        result = out
    else:
        return None
    if is_large and threads.get_num_threads() > 1:
        _share(op, axis, x, result)
    else:
        run(x, result)
    return result if shape or out is not None else result[()]


def _share(op: str, axis: int | None, x: Array, result: Array) -> None:
    """Do what the short way knows, on as many threads as allowed."""
    steps = _steps(op, x.shape, axis, x.dtype, threads.get_num_threads())
    assert steps is not None  # since there is a plan
    before = x.ravel(), *steps.of_x, result.ravel(), *steps.of_result
    team.share(steps.kernel, x.dtype, steps.parts, steps.unit, before, steps.others, threaded=True)


def _suits(out: Any, x: Array, shape: tuple[int, ...]) -> bool:
    """Tell whether a result of a shape for x can be written straight into `out`, and through the caches."""
    return (
        type(out) is np.ndarray
        and out.dtype == x.dtype
        and out.shape == shape
        and out.flags.carray
        and out.nbytes < PAST_CACHES
        and not np.may_share_memory(out, x)
    )


@lru_cache(maxsize=1024)
def _plan(op: str, shape: tuple[int, ...], axis: int | None, dtype: np.dtype[Any]) -> Plan | None:
    """Return the plan for one thread and C-contiguous arrays of a shape and type, None if it is not known here."""
    steps = _steps(op, shape, axis, dtype, 1)
    if steps is None:
        return None
    is_large = math.prod(shape) >= THREADED
    return _runner(steps, dtype), steps.shape, maker_of(steps.shape), is_large


def _runner(steps: Steps, dtype: np.dtype[Any]) -> Callable[[Array, Array], None]:
    """Return what calls the kernel for all of an array, on this thread."""
    kernel, before = steps.kernel.unchecked(dtype), steps.of_x
    behind = *steps.of_result, 0, steps.parts, *steps.others
    if steps.kernel.parameters != ROW_PARAMETERS:
        return lambda x, result: kernel(x, *before, result, *behind)
    a, b = before
    c, d, e, f, g, h, i = behind  # arguments one by one are passed faster
    return lambda x, result: kernel(x, a, b, result, c, d, e, f, g, h, i)


@lru_cache(maxsize=1024)
def _steps(op: str, shape: tuple[int, ...], axis: int | None, dtype: np.dtype[Any], sharers: int) -> Steps | None:
    """Return what a kernel is to do for C-contiguous arrays of a shape and type, None if it is not known here."""
    size = math.prod(shape)
    ndim = len(shape)
    if dtype not in NATIVE or not 0 < size <= AT_ONCE or not shape:
        return None
    if axis is not None and not -ndim <= axis < ndim:
        return None
    axis = None if axis is None else axis % ndim
    reduces = op == "logsumexp"
    kept = () if axis is None else shape[:axis] + shape[axis + 1 :]
    result = kept if reduces else shape
    if axis is None or axis == ndim - 1:
        n = size if axis is None else shape[-1]
        if n > LONG:
            return None
        many = size // n
        kernel = getattr(row_kernels(op, many, n, dtype.name), op + "_rows")
        return Steps(kernel, (0, n), (0, 1 if reduces else n), (n, 0, 1.0), many, n, result)
    planes, n = math.prod(shape[:axis]), shape[axis]
    inner = size // (n * planes)
    if n == 1 or inner == 1:
        return None
    kernels = column_kernels(op, n, inner, size // n, dtype, inner, inner)
    in_out = kernels is folded_columns or has_room_for_terms(inner, inner, inner, dtype)
    width, tile_rows, blocks = strips(op, n, inner, planes, dtype, in_out, sharers, kernels)
    outer, pitch = (inner, 0) if reduces else (n * inner, inner)
    others = planes, n, inner, width, tile_rows, int(in_out), 1.0
    kernel, unit = getattr(kernels, op + "_columns"), -(-size // blocks)
    return Steps(kernel, (0, n * inner, inner), (0, outer, pitch), others, blocks, unit, result)
