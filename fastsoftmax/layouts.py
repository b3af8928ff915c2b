"""How arrays lie in memory: as what kernels can take them, and where results are made."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from functools import lru_cache
from itertools import compress
from typing import Any

import numpy as np

from fastsoftmax import recycled
from fastsoftmax.arrays import Array

Maker = Callable[..., Array]  #: makes an array of a shape and type, and maybe beside another

PAGE = 4096  #: bytes
LINE = 64  #: bytes
LARGE = 2**19  #: bytes from which on it matters where in a page, or in a line, a result begins


def base_of(a: Array) -> Array:
    """Return a 1-d array that begins at the first element; kernels address all others from there."""
    if a.flags.c_contiguous:
        return a.reshape(-1)
    first: Any = (0,) * (a.ndim - 1) + (slice(1),)
    flat: Array = a[first]
    return flat


def in_elements(strides: tuple[int, ...], itemsize: int) -> tuple[int, ...] | None:
    """Return strides in elements, None if they are no multiples."""
    if any(s % itemsize for s in strides):
        return None
    return tuple(s // itemsize for s in strides)


def element_strides(a: Array) -> tuple[int, ...] | None:
    """Return the strides in elements, None if the array is unaligned, byte-swapped or they are no multiples."""
    if not (a.flags.aligned and a.dtype.isnative):
        return None
    return in_elements(a.strides, a.itemsize)


def collapse(dims: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Merge dimensions that lie behind one another in both arrays.

    Parameters
    ----------
    dims : list of (size, stride in one array, stride in the other)

    Returns
    -------
    list
        As few as possible, outermost first; sizes of 1 are dropped.
    """
    merged: list[tuple[int, int, int]] = []
    for size, a, b in sorted((d for d in dims if d[0] != 1), key=lambda d: (-abs(d[1]), -abs(d[2]))):
        if merged and merged[-1][1:] == (a * size, b * size):
            merged[-1] = (merged[-1][0] * size, a, b)
        else:
            merged.append((size, a, b))
    return merged


def is_large(shape: tuple[int, ...], itemsize: int) -> bool:
    """Tell whether it matters where an array of this shape begins."""
    return math.prod(shape) * itemsize >= LARGE


def mid_page(shape: tuple[int, ...], dtype: np.dtype[Any], beside: Array | None = None) -> Array:
    """Return an uninitialised array that begins in the middle of a page, as far behind a line as `beside`, if given.

    np.empty begins a large one 16 bytes behind the beginning of a page. Then each vector lies on two cache lines, and
    what is stored has nearly the place in its page that the next load has, which therefore waits: softmax would take 8
    to 20 % longer. To find out where memory begins takes a microsecond or two, which a small array is not worth.
    """
    room = recycled.room_for(math.prod(shape) * dtype.itemsize + PAGE)
    place = ctypes.addressof(ctypes.c_char.from_buffer(room.data))
    behind = 0 if beside is None else beside.ctypes.data % LINE
    behind -= behind % dtype.itemsize  # `beside` may be unaligned
    result: Array = np.ndarray(shape, dtype, room, (PAGE // 2 + behind - place) % PAGE)
    return result


def order_of(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes in the order in which they lie in memory, outermost first; C's where elements share a place."""
    axes = range(len(shape))
    if any(stride == 0 and n > 1 for n, stride in zip(shape, strides, strict=True)):
        return tuple(axes)
    return tuple(sorted(axes, key=lambda a: -abs(strides[a])))


def strides_in(order: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides, in elements, of an array without gaps whose axes lie in this order."""
    strides = dict.fromkeys(range(len(shape)), 0)
    step = 1
    for a in reversed(order):
        strides[a] = step
        step *= shape[a]
    return tuple(strides.values())


def maker_of(shape: tuple[int, ...], order: tuple[int, ...], itemsize: int) -> Maker:
    """Return what makes an uninitialised array of this shape, its axes in this order.

    It is called with the shape and a type, and if it is `mid_page` maybe with an array to lie beside.
    """
    make: Maker = mid_page if is_large(shape, itemsize) else np.empty
    if order == tuple(range(len(shape))):
        return make
    ordered, back = tuple(shape[a] for a in order), tuple(order.index(a) for a in range(len(order)))
    return lambda _, *others: make(ordered, *others).transpose(back)


def fresh(x: Array, without: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an uninitialised array of x's shape without some axes, in x's order."""
    shape, strides = x.shape, x.strides
    if without:
        stays = [a not in without for a in range(x.ndim)]
        shape, strides = tuple(compress(shape, stays)), tuple(compress(strides, stays))
    return _maker_like(shape, strides, dtype.itemsize)(shape, dtype)


@lru_cache(maxsize=1024)
def _maker_like(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> Maker:
    return maker_of(shape, order_of(shape, strides), itemsize)
