"""Where a kernel keeps exponentials between two passes, and how it writes a single number."""

import numpy as np
from numba import types
from numba.extending import overload

from fastsoftmax.simd import splat_wide, store_first


def room_for_terms(out, n, in_place):
    """Return an array for the terms of a row, and 1 if it is `out` itself, 0 if it is one of its own.

    It is one of its own where `out` has a narrower type than the terms, or is the input, which may be read again.
    """


def room_for_tile(x, n):
    """Return room for a vector's width of rows of n elements, rounded up to whole blocks, in the type of the terms."""


def room_for_columns(x, n):
    """Return room for n numbers of the type that x is computed in."""


def write(out, index, value):
    """Write a float64 to out[index], rounded to the type of `out`."""


def _is_native(out):
    return isinstance(out.dtype, types.Float)


@overload(room_for_terms, inline="always")
def _room_for_terms(out, n, in_place):
    dtype = np.float64 if out.dtype == types.float64 else np.float32
    if _is_native(out):

        def room(out, n, in_place):
            return (np.empty(n, dtype), 0) if in_place else (out, 1)
    else:

        def room(out, n, in_place):
            return np.empty(n, dtype), 0

    return room


@overload(room_for_tile, inline="always")
def _room_for_tile(x, n):
    if x.dtype == types.float64:
        return lambda x, n: np.empty(8 * ((n + 7) // 8 * 8), np.float64)
    return lambda x, n: np.empty(16 * ((n + 15) // 16 * 16), np.float32)


@overload(room_for_columns, inline="always")
def _room_for_columns(x, n):
    dtype = np.float64 if x.dtype == types.float64 else np.float32
    return lambda x, n: np.empty(n, dtype)


@overload(write, inline="always")
def _write(out, index, value):
    if _is_native(out):

        def assign(out, index, value):
            out[index] = value
    else:

        def assign(out, index, value):
            store_first(out, index, splat_wide(value), 1)

    return assign
