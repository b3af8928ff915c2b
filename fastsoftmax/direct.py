"""The short way for what is called most: a contiguous array of floats, axes that lie side by side, no mask.

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
from fastsoftmax.arrays import Array, compute_name, maker_of, storage, storage_type
from fastsoftmax.engine import (
    LONG,
    PAST_CACHES,
    TEMPERATURES,
    THREADED,
)
from fastsoftmax.jit import Kernel
from fastsoftmax.kernels.long_row import run_long_rows
from fastsoftmax.kernels.rows import ROW_PARAMETERS
from fastsoftmax.routes import cut_columns, reads, row_kernels
from fastsoftmax.team import AT_ONCE

COLDEST, WARMEST = TEMPERATURES["float32"]
NUMBERS = (float, int, np.float64)  # types of temperatures

# What computes an array's result, the shape of that, what makes it, and whether threads would share the work.
Plan = tuple[Callable[[Array, Array, float], None], tuple[int, ...], Callable[..., Array], bool]


class Steps(NamedTuple):
    """What a kernel is to do: all but the arrays."""

    kernel: Kernel
    of_x: tuple[int, ...]
    """Its arguments behind x, ..."""
    of_result: tuple[int, ...]
    """... behind the result, ..."""
    others: tuple[Any, ...]
    """... and behind the range of rows or strips, but for the temperature."""
    parts: int
    """How many of these there are, ..."""
    unit: int
    """... and of how many elements each."""
    shape: tuple[int, ...]
    """That of the result, ..."""
    full_shape: tuple[int, ...]
    """... and that with reduced axes of length 1."""


def compute(op: str, x: Array, axis: Any, out: Any, temperature: Any = 1.0, keepdims: Any = False) -> Any:
    """Return softmax, log_softmax or logsumexp of x, in `out` unless that is None; or None, and nothing is done."""
    kind = type(axis)
    if kind is tuple:
        if not all(type(a) is int for a in axis):
            return None
    elif not (axis is None or kind is int):
        return None
    if type(temperature) not in NUMBERS or not COLDEST <= temperature <= WARMEST:
        return None
    if type(keepdims) is not bool:
        return None
    if not x.flags.c_contiguous:
        return _compute_transposed(op, x, axis, out, temperature, keepdims)
    plan = _plan(op, x.shape, axis, x.dtype, keepdims)
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
        _share(op, axis, x, result, float(temperature))
    else:
        run(x, result, float(temperature))
    return result if shape or out is not None else result[()]


def _compute_transposed(op: str, x: Array, axis: Any, out: Any, temperature: Any, keepdims: bool) -> Any:
    """Do what `compute` does for an array in Fortran's order, in which the result is, too."""
    if out is not None or type(axis) is tuple or not x.flags.f_contiguous or (op == "logsumexp" and x.ndim > 2):
        return None
    result = compute(op, x.T, None if axis is None else ~axis, None, temperature, keepdims)
    return result if result is None else result.T


def _share(op: str, axis: Any, x: Array, result: Array, temperature: float) -> None:
    """Do what the short way knows, on as many threads as allowed."""
    steps = _steps(op, x.shape, axis, x.dtype, threads.get_num_threads())
    assert steps is not None  # since there is a plan
    x, result = storage(x.ravel()), storage(result.ravel())
    before = x, *steps.of_x, result, *steps.of_result
    team.share(steps.kernel, x.dtype, steps.parts, steps.unit, before, (*steps.others, temperature), threaded=True)


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
def _plan(op: str, shape: tuple[int, ...], axis: Any, dtype: np.dtype[Any], keepdims: bool) -> Plan | None:
    """Return the plan for one thread and C-contiguous arrays of a shape and type, None if it is not known here."""
    steps = _steps(op, shape, axis, dtype, 1)
    if steps is None:
        return _plan_of_long_rows(op, shape, axis, dtype, keepdims)
    is_large = math.prod(shape) >= THREADED
    result = steps.full_shape if keepdims else steps.shape
    return _runner(steps, storage_type(dtype)), result, maker_of(result), is_large


def _plan_of_long_rows(op: str, shape: tuple[int, ...], axis: Any, dtype: np.dtype[Any], keepdims: bool) -> Plan | None:
    """Return the plan for rows that are cut into pieces, which threads share by themselves."""
    reduced = _range_of(axis, len(shape))
    if reduced is None or reduced[1] < len(shape) or not reads(dtype):
        return None
    kept, n = shape[: reduced[0]], math.prod(shape[reduced[0] :])
    if n <= LONG:
        return None
    result, step = shape, n
    if op == "logsumexp":
        result, step = kept + (1,) * (len(shape) - len(kept) if keepdims else 0), 1

    def run(x: Array, out: Array, temperature: float) -> None:
        x, out = storage(x.ravel()), storage(out.ravel())
        run_long_rows(op, x, 0, n, out, 0, step, math.prod(kept), n, temperature, in_place=False, threaded=True)

    return run, result, maker_of(result), False


def _runner(steps: Steps, stored: np.dtype[Any]) -> Callable[[Array, Array, float], None]:
    """Return what calls the kernel for all of an array, on this thread."""
    kernel, before = steps.kernel.unchecked(stored), steps.of_x
    behind = *steps.of_result, 0, steps.parts, *steps.others
    if steps.kernel.parameters != ROW_PARAMETERS:
        return lambda x, result, temperature: kernel(x, *before, result, *behind, temperature)
    a, b = before
    c, d, e, f, g, h = behind  # arguments one by one are passed faster
    return lambda x, result, temperature: kernel(x, a, b, result, c, d, e, f, g, h, temperature)


def _range_of(axis: Any, ndim: int) -> tuple[int, int] | None:
    """Return the first of the reduced axes and the one behind the last, None if they are not side by side, or wrong."""
    if axis is None:
        return 0, ndim
    given = axis if type(axis) is tuple else (axis,)
    axes = {a % ndim for a in given if -ndim <= a < ndim}
    first, last = min(axes, default=0), max(axes, default=-1) + 1
    return (first, last) if 0 < len(given) == len(axes) == last - first else None


@lru_cache(maxsize=1024)
def _steps(op: str, shape: tuple[int, ...], axis: Any, dtype: np.dtype[Any], sharers: int) -> Steps | None:
    """Return what a kernel is to do for C-contiguous arrays of a shape and type, None if it is not known here."""
    size = math.prod(shape)
    if not (reads(dtype) and 0 < size <= AT_ONCE and shape):
        return None
    reduced = _range_of(axis, len(shape))
    if reduced is None:
        return None
    first, behind = reduced
    reduces = op == "logsumexp"
    result = full = shape
    if reduces:
        result, full = shape[:first] + shape[behind:], shape[:first] + (1,) * (behind - first) + shape[behind:]
    planes, n, inner = math.prod(shape[:first]), math.prod(shape[first:behind]), math.prod(shape[behind:])
    if behind == len(shape):
        if n > LONG:
            return None
        kernel = getattr(row_kernels(op, planes, n, compute_name(dtype)), op + "_rows")
        return Steps(kernel, (0, n), (0, 1 if reduces else n), (n, 0), planes, n, result, full)
    if n == 1 or inner == 1:
        return None
    kernel, cut, blocks = cut_columns(op, n, inner, planes, size // n, dtype, (inner, inner), False, sharers)
    outer, pitch = (inner, 0) if reduces else (n * inner, inner)
    others, unit = (planes, n, inner, *cut), -(-size // blocks)
    return Steps(kernel, (0, n * inner, inner), (0, outer, pitch), others, blocks, unit, result, full)
