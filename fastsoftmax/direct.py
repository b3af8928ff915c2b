"""The short way for what is called most: an array that kernels take as it lies, no mask, a new or a like result.

A call on a few numbers costs what Python does around the kernel. So what depends on shape and strides alone is worked
out once and remembered: the kernel, and all its arguments but the arrays. The short way declines, with None, whatever
it does not know; `fastsoftmax.api` then takes the long way, to the same result.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from fastsoftmax import layouts, threads
from fastsoftmax.arrays import Array, normalize_axis
from fastsoftmax.engine import TEMPERATURES, THREADED
from fastsoftmax.kernels.storage import OUT_IS_APART, OUT_IS_X
from fastsoftmax.steps import steps_for
from fastsoftmax.team import AT_ONCE

COLDEST, WARMEST = TEMPERATURES["float32"]
NUMBERS = (float, int, np.float64)  # types of temperatures
ONE = 1.0  # the temperature of most calls, which tell it by this object


class Plan(NamedTuple):
    """How to compute results for arrays of a shape, type and layout."""

    run: Callable[[Array, Array, float], None]
    """Computes a result from x, and the temperature, on this thread."""
    shape: tuple[int, ...]
    """That of the result."""
    make: layouts.Maker
    """Makes a result of a shape and type, ..."""
    is_beside: bool
    """... and beside x, if that is true."""
    is_large: bool
    """Whether threads would share the work."""
    steps: Callable[[int], Any]
    """Returns what kernels do where so many threads share it."""


def compute(op: str, x: Array, axis: Any, out: Any, temperature: Any = ONE, keepdims: Any = False) -> Any:
    """Return softmax, log_softmax or logsumexp of x, in `out` unless that is None; or None, and nothing is done."""
    kind = type(axis)
    if kind is not int and axis is not None and not (kind is tuple and all(type(a) is int for a in axis)):
        return None
    if temperature is not ONE and not (type(temperature) in NUMBERS and COLDEST <= temperature <= WARMEST):
        return None
    if keepdims is not False and keepdims is not True:
        return None
    if out is None:
        plan = _plan(op, x.shape, x.strides, axis, x.dtype, keepdims)
        if plan is None:
            return None
        run, shape, make, is_beside, is_large, steps = plan
        result = make(shape, x.dtype, x) if is_beside else make(shape, x.dtype)
    elif _suits(out, x):
        plan = _plan(op, x.shape, x.strides, axis, x.dtype, keepdims, out.strides, out is x)
        if plan is None or out.shape != plan.shape:
            return None
        run, shape, make, is_beside, is_large, steps = plan
        result = out
    else:
        return None
    if is_large and threads.get_num_threads() > 1:
        steps(threads.get_num_threads()).run(x, result, temperature, threaded=True)
    else:
        run(x, result, temperature)
    return result if shape or out is not None else result[()]


def _suits(out: Any, x: Array) -> bool:
    """Tell whether a result of a like shape can be written straight into `out`."""
    if type(out) is not np.ndarray or out.dtype != x.dtype:
        return False
    flags = out.flags
    are_apart = out is x or (flags.owndata and x.flags.owndata) or not np.may_share_memory(out, x)
    return bool(flags.behaved and are_apart)


@lru_cache(maxsize=1024)
def _plan(
    op: str,
    shape: tuple[int, ...],
    x_strides: tuple[int, ...],
    axis: Any,
    dtype: np.dtype[Any],
    keepdims: bool,
    out_strides: tuple[int, ...] | None = None,
    in_place: bool = False,
) -> Plan | None:
    """Return the plan for arrays of these strides, in bytes, or for a new result; None if it is not known here."""
    size, xs = math.prod(shape), layouts.in_elements(x_strides, dtype.itemsize)
    if not (shape and 0 < size <= AT_ONCE and xs is not None):
        return None
    try:
        axes = normalize_axis(axis, len(shape))
    except ValueError:  # the long way tells what is wrong
        return None
    stays = [keepdims or op != "logsumexp" or a not in axes for a in range(len(shape))]
    result = tuple(1 if op == "logsumexp" and a in axes else n for a, n in enumerate(shape) if stays[a])
    order = layouts.order_of(result, tuple(itertools.compress(xs, stays)))
    outs = layouts.strides_in(order, result)
    if out_strides is not None:
        given = layouts.in_elements(out_strides, dtype.itemsize)
        if given is None or len(given) != len(result):
            return None
        outs = given
    if op == "logsumexp" and keepdims:
        outs = tuple(stride for a, stride in enumerate(outs) if a not in axes)
    steps_of = partial(steps_for, op, shape, xs, outs, axes, dtype, None, OUT_IS_X if in_place else OUT_IS_APART)
    steps = steps_of(1)
    if steps is None:
        return None
    make = layouts.maker_of(result, order, dtype.itemsize)
    is_beside = steps.in_lines and layouts.is_large(result, dtype.itemsize)
    return Plan(steps.runner(dtype), result, make, is_beside, size >= THREADED, steps_of)
