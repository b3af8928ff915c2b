"""Where a kernel keeps exponentials between two passes."""

import numpy as np
from numba import types
from numba.extending import overload

from fastsoftmax.simd import WIDE, pointer_to


def room_for_terms(out, n, in_place):
    """Return room for n terms where they need room of their own: an array, empty where they may stand in `out` itself.

    They need it where `out` has a narrower type than the terms, or is the input, which may be read again.
    """


def terms_in(room, out):
    """Return a pointer to where terms stand, and 1 if that is `out` itself, 0 if it is the room."""


def room_for_tile(x, n):
    """Return room for a vector's width of rows of n elements, rounded up to whole blocks, in the type of the terms."""


def room_for_columns(x, n):
    """Return room for n numbers of the type that x is computed in."""


def _is_native(out):
    return isinstance(out.dtype, types.Float)


@overload(room_for_terms, inline="always")
def _room_for_terms(out, n, in_place):
    dtype = np.float64 if out.dtype == types.float64 else np.float32
    if _is_native(out):
        return lambda out, n, in_place: np.empty(n if in_place else 0, dtype)
    return lambda out, n, in_place: np.empty(n, dtype)


@overload(terms_in, inline="always")
def _terms_in(room, out):
    if _is_native(out):

        def terms(room, out):
            return (out, 1) if room.size == 0 else (pointer_to(room), 0)
    else:

        def terms(room, out):
            return pointer_to(room), 0

    return terms


@overload(room_for_tile, inline="always")
def _room_for_tile(x, n):
    if x.dtype == types.float64:
        return lambda x, n: np.empty(WIDE * ((n + 7) // 8 * 8), np.float64)
    return lambda x, n: np.empty(2 * WIDE * ((n + 15) // 16 * 16), np.float32)


@overload(room_for_columns, inline="always")
def _room_for_columns(x, n):
    dtype = np.float64 if x.dtype == types.float64 else np.float32
    return lambda x, n: np.empty(n, dtype)
