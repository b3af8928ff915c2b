"""What arrays and arguments mean: types, axes, `out`, `where`."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: Types that are computed as they are; float16 and bfloat16 are computed in float32.
NATIVE = (np.dtype(np.float32), np.dtype(np.float64))

#: Letters of NumPy's own numeric types. Others, like those of ml_dtypes, may call themselves floats as well.
NUMBERS = frozenset("?" + np.typecodes["AllInteger"] + np.typecodes["AllFloat"])


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Tell whether this is the bfloat16 of ml_dtypes."""
    return dtype.kind == "V" and dtype.itemsize == 2 and dtype.name == "bfloat16"


def is_half(dtype: np.dtype[Any]) -> bool:
    """Tell whether this is a 16-bit floating-point type."""
    return dtype.itemsize == 2 and (dtype.kind == "f" or is_bfloat16(dtype))


def refuse_masked(x: Any, name: str) -> None:
    """Raise a TypeError if x is a masked array."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: its mask would be ignored; give {name}.data and where=~{name}.mask")


def is_numeric(dtype: np.dtype[Any]) -> bool:
    """Tell whether this is a type of numbers that is computed."""
    return dtype.char in NUMBERS or is_bfloat16(dtype)


def as_numbers(x: Any, name: str) -> Array:
    """Return x as an array of a numeric type.

    Raises
    ------
    TypeError
        For anything else, naming the type and the way out.
    """
    refuse_masked(x, name)
    a = np.asarray(x)
    if is_numeric(a.dtype):
        return a
    if a.dtype.kind == "O" and a.ndim == 0:
        raise TypeError(f"{name} must be an array of numbers, not {type(x).__name__}")
    if a.dtype.names:
        raise TypeError(f"{name} has the structured dtype {a.dtype}: give one field, like {name}[{a.dtype.names[0]!r}]")
    way_out = "float32" if a.dtype.name.startswith(("float", "int", "uint")) else "float"
    raise TypeError(f"{name} has dtype {a.dtype}, not numbers: convert it with numpy.asarray({name}).astype({way_out})")


def as_weights(b: Any) -> tuple[Array, Any]:
    """Return b as an array of numbers, and as what decides the type of a result: a number of Python's decides none.

    Raises
    ------
    TypeError, ValueError
        If it is no array of numbers, or too large a number.
    """
    if type(b) not in (bool, int, float, complex):
        weights = as_numbers(b, "b")
        return weights, weights
    try:
        return np.asarray(b if type(b) is complex else float(b)), b
    except OverflowError:
        raise ValueError("b is too large for a float64") from None


def common_type(dtype: np.dtype[Any], b: Any) -> np.dtype[Any]:
    """Return the type for results from a floating type and b, an array or a number of Python's."""
    if not isinstance(b, np.ndarray):
        return np.result_type(compute_type(dtype), b) if isinstance(b, complex) else dtype
    if b.dtype == dtype or not (is_bfloat16(dtype) or is_bfloat16(b.dtype)):
        return np.result_type(dtype, b.dtype)
    # NumPy knows no rule for most pairs with bfloat16: it counts as float16, with which it makes float32
    other = b.dtype if is_bfloat16(dtype) else dtype
    if other == np.float16:
        return np.dtype(np.float32)
    common = np.result_type(np.float16, other)
    if common == np.float16:
        common = dtype if is_bfloat16(dtype) else b.dtype
    return common


def result_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type of the result: floating types stay, integers and bool count as float64."""
    if dtype.kind in "iub":
        return np.dtype(np.float64)
    native: np.dtype[Any] = dtype.newbyteorder("=")
    return native


def compute_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which results of a type are computed."""
    return np.dtype(np.float32) if is_half(dtype) else dtype


@functools.cache
def compute_name(dtype: np.dtype[Any]) -> str:
    """Return the name of the type in which results of a type are computed; NumPy takes microseconds to make one."""
    return str(compute_type(dtype).name)


def is_plain(dtype: np.dtype[Any]) -> bool:
    """Tell whether no kernel computes results of this type, but `fastsoftmax.plain` does."""
    return dtype.kind == "c" or (dtype == np.longdouble and dtype != np.float64)


def normalize_axis(axis: Any, ndim: int) -> tuple[int, ...]:
    """Return the axes as sorted non-negative numbers; None is all of them.

    A number without dimensions has axes 0 and -1 in NumPy's reductions, and so in SciPy's functions.
    """
    if axis is None:
        return tuple(range(ndim))
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    try:
        axes = [operator.index(a) for a in (axis if isinstance(axis, tuple | list) else (axis,))]
    except TypeError:
        raise TypeError(f"axis must be an integer, a tuple of integers or None, not {axis!r}") from None
    if ndim == 0 and not isinstance(axis, tuple | list) and axes[0] in (0, -1):
        return ()
    for a in axes:
        if not -ndim <= a < ndim:
            raise np.exceptions.AxisError(a, ndim)
    axes = sorted(a % ndim for a in axes)
    if len(set(axes)) < len(axes):
        raise ValueError(f"axis {axis!r} names an axis twice")
    return tuple(axes)


def broadcast(a: Array, b: Array) -> tuple[Array, Array]:
    """Return a and its weights b in a common shape."""
    try:
        a, b = np.broadcast_arrays(a, b)
    except ValueError:
        raise ValueError(f"b has shape {b.shape}, which does not broadcast with {a.shape}") from None
    return a, b


def check_where(where: Any, shape: tuple[int, ...]) -> Array | None:
    """Return the mask broadcast to `shape`, None if there is none or it keeps all."""
    if where is None or where is True:
        return None
    refuse_masked(where, "where")
    mask = np.asarray(where)
    if mask.dtype != np.bool_:
        raise TypeError(f"where must be boolean, not {mask.dtype}: give a condition, like where != 0")
    if mask.shape == shape:
        return mask
    try:
        return np.broadcast_to(mask, shape)
    except ValueError:
        raise ValueError(f"where has shape {mask.shape}, which does not broadcast to {shape}") from None


def check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return `out`, as an array of no subclass, if a result of this shape and type can be written to it.

    Raises
    ------
    TypeError, ValueError
        If not, saying what is given and what is expected.
    """
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"out must be a NumPy array, not {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, expected {shape}")
    if not (is_numeric(out.dtype) and np.can_cast(dtype, out.dtype, "same_kind")):
        raise TypeError(f"out has dtype {out.dtype}, to which a result of {dtype} is not cast: give one of {dtype}")
    if not out.flags.writeable:
        raise ValueError("out is read-only: give a writable array, or none")
    return np.asarray(out)


def write(out: Array, values: Array) -> None:
    """Write values to `out`, rounded to its type; what is too large for it becomes inf without a warning."""
    with np.errstate(all="ignore"):
        np.copyto(out, values, casting="unsafe")


def storage_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type as which kernels know a type: uint16 for float16, int16 for bfloat16."""
    if dtype == np.float16:
        return np.dtype(np.uint16)
    return np.dtype(np.int16) if is_bfloat16(dtype) else dtype


def storage(a: Array) -> Array:
    """Return the array as kernels know it."""
    stored = storage_type(a.dtype)
    return a if stored is a.dtype else a.view(stored)


def overlaps(out: Array, x: Array) -> bool:
    """Tell whether writing `out` may change parts of x that are still to be read."""
    if not np.may_share_memory(out, x):
        return False
    same = out.ctypes.data == x.ctypes.data and out.strides == x.strides and out.dtype == x.dtype
    return not same


def size_of(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """Return the number of elements along the axes."""
    return math.prod(shape[a] for a in axes)
