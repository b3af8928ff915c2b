"""Any array as rows: types, axes, `out`, `where`, and the shapes that a kernel can take as they lie."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple
from numpy.lib.stride_tricks import as_strided

Array = np.ndarray[Any, Any]

#: Types that are computed as they are; float16 and bfloat16 are computed in float32.
NATIVE = (np.dtype(np.float32), np.dtype(np.float64))


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Tell whether this is the bfloat16 of ml_dtypes."""
    return dtype.kind == "V" and dtype.itemsize == 2 and dtype.name == "bfloat16"


def is_half(dtype: np.dtype[Any]) -> bool:
    """Tell whether this is a 16-bit floating-point type."""
    return dtype.itemsize == 2 and (dtype.kind == "f" or is_bfloat16(dtype))


def as_numbers(x: Any, name: str) -> Array:
    """Return x as an array of a numeric type.

    Raises
    ------
    TypeError
        For anything else, naming the type and the way out.
    """
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: its mask would be ignored; give {name}.data and where=~{name}.mask")
    a = np.asarray(x)
    if a.dtype.kind in "fciub" or is_bfloat16(a.dtype):
        return a
    if a.dtype.kind == "O":
        raise TypeError(f"{name} has dtype object: convert it with {name}.astype(float)")
    raise TypeError(f"{name} has dtype {a.dtype}: softmax is defined for real and complex numbers")


def result_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type of the result: floating types stay, integers and bool count as float64."""
    if dtype.kind in "iub":
        return np.dtype(np.float64)
    native: np.dtype[Any] = dtype.newbyteorder("=")
    return native


def compute_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which results of a type are computed."""
    return np.dtype(np.float32) if is_half(dtype) else dtype


def normalize_axis(axis: Any, ndim: int) -> tuple[int, ...]:
    """Return the axes as sorted non-negative numbers; None is all of them."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted(normalize_axis_tuple(axis, ndim, argname="axis")))


def check_where(where: Any, shape: tuple[int, ...]) -> Array | None:
    """Return the mask broadcast to `shape`, None if there is none or it keeps all."""
    if where is None or where is True:
        return None
    mask = np.asarray(where)
    if mask.dtype != np.bool_:
        raise TypeError(f"where must be boolean, not {mask.dtype}")
    try:
        return np.broadcast_to(mask, shape)
    except ValueError:
        raise ValueError(f"where has shape {mask.shape}, which does not broadcast to {shape}") from None


def check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return `out` if a result of this shape and type can be written to it.

    Raises
    ------
    TypeError, ValueError
        If not, saying what is given and what is expected.
    """
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"out must be a NumPy array, not {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, expected {shape}")
    if not np.can_cast(dtype, out.dtype, "same_kind"):
        raise TypeError(f"out has dtype {out.dtype}, to which a result of {dtype} is not cast")
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    return out


def storage(a: Array) -> Array:
    """Return the array as kernels know it: float16 as uint16, bfloat16 as int16."""
    if a.dtype == np.float16:
        return a.view(np.uint16)
    return a.view(np.int16) if is_bfloat16(a.dtype) else a


def base_of(a: Array) -> Array:
    """Return a 1-d array that begins at the first element; kernels address all others from there."""
    if a.flags.c_contiguous:
        return a.reshape(-1)
    flat: Array = as_strided(a, (1,), (a.itemsize,), writeable=a.flags.writeable)
    return flat


def element_strides(a: Array) -> tuple[int, ...] | None:
    """Return the strides in elements, None if the array is unaligned, byte-swapped or they are no multiples."""
    if not (a.flags.aligned and a.dtype.isnative) or any(s % a.itemsize for s in a.strides):
        return None
    return tuple(s // a.itemsize for s in a.strides)


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


def fresh_like(x: Array, dtype: np.dtype[Any]) -> Array:
    """Return an uninitialised array of x's shape, and of its memory order where that is contiguous."""
    if x.flags.c_contiguous:
        return np.empty(x.shape, dtype)
    fresh: Array = np.empty_like(x, dtype, order="K", subok=False)
    return fresh


def overlaps(out: Array, x: Array) -> bool:
    """Tell whether writing `out` may change parts of x that are still to be read."""
    if not np.may_share_memory(out, x):
        return False
    same = out.ctypes.data == x.ctypes.data and out.strides == x.strides and out.dtype == x.dtype
    return not same


def size_of(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """Return the number of elements along the axes."""
    return math.prod(shape[a] for a in axes)
