"""softmax, log_softmax and logsumexp: arguments in, work done, result out.

Positional arguments, defaults and results are those of `scipy.special`; what is beyond SciPy is keyword-only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastsoftmax import arrays, direct, layouts, plain
from fastsoftmax.arrays import Array
from fastsoftmax.engine import Work, suits_kernels
from fastsoftmax.ladder import Way, way_of
from fastsoftmax.weights import weighted_logsumexp

AUTO = "auto"  # one object, mostly, wherever it is written


def softmax(
    x: Any,
    axis: Any = None,
    *,
    out: Array | None = None,
    where: Any = None,
    temperature: float = direct.ONE,
    method: str = AUTO,
) -> Any:
    r"""Compute the softmax, :math:`e^{x_i} / \sum_j e^{x_j}`.

    Parameters
    ----------
    x : array_like
        Numbers of any layout. float32 and float64 are computed as they are, float16 and bfloat16 in float32; integers
        and bool count as float64.
    axis : int or tuple of int, optional
        The axes that sum to 1. All, by default.
    out : ndarray, optional
        Where the result goes: an array of x's shape and of a type to which it casts (``same_kind``). It may be x.
    where : array_like of bool, optional
        The elements that take part; it is broadcast to x. The others get 0.
    temperature : float, optional
        Divides x. Negative is allowed, so ``temperature=1/log(b)`` is the softmax to any base b. So is inf, which
        makes all that is finite alike.
    method : str, optional
        A rung of the ladder; see `fastsoftmax.methods`, which also tells the error bound of each.

    Returns
    -------
    ndarray
        Of x's shape and type; `out` if that is given. Each element is within 2 ULP of the exact result for the given
        numbers, half floats within 0.501; one under the smallest normal number of its type may be flushed to 0.

    Raises
    ------
    TypeError
        For a type that is not numeric, a masked array, or an `out` that the result does not cast to.
    ValueError
        For a wrong axis (``numpy.exceptions.AxisError``), method, temperature, shape of `out` or `where`.

    Notes
    -----
    A NaN makes its row NaN; so does inf, or a row of only -inf. A -inf gets 0. A row with no element that takes part
    is all 0. Results do not depend on the number of threads.

    References
    ----------
    Dukhan & Ablavatski, "The Two-Pass Softmax Algorithm", 2020, arXiv:2001.04438.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsoftmax import softmax
    >>> softmax([0.7, 1.5, 4.8])
    array([0.01573172, 0.03501159, 0.94925668])
    >>> softmax(np.eye(2, dtype=np.float32), axis=1, temperature=0.5)
    array([[0.880797  , 0.11920292],
           [0.11920292, 0.880797  ]], dtype=float32)
    """
    if type(x) is np.ndarray and where is None and (method is AUTO or (type(method) is str and method == AUTO)):
        result = direct.compute("softmax", x, axis, out, temperature)
        if result is not None:
            return result
    return _elementwise("softmax", x, axis, out, where, temperature, method)


def log_softmax(
    x: Any,
    axis: Any = None,
    *,
    out: Array | None = None,
    where: Any = None,
    temperature: float = direct.ONE,
    method: str = AUTO,
) -> Any:
    r"""Compute the logarithm of the softmax, :math:`x_i - \log \sum_j e^{x_j}`.

    Parameters
    ----------
    x, axis, out, where, temperature, method
        As for `softmax`. Elements that do not take part get -inf.

    Returns
    -------
    ndarray
        Of x's shape and type; `out` if that is given. Each element is within 2 ULP of the exact result, also that of
        the largest x, however near 0 it is.

    Raises
    ------
    TypeError, ValueError
        As for `softmax`.

    References
    ----------
    Blanchard, Higham & Higham, "Accurately computing the log-sum-exp and softmax functions", IMA J. Numer. Anal.
    41(4), 2021, doi:10.1093/imanum/draa038.

    Examples
    --------
    >>> from fastsoftmax import log_softmax
    >>> log_softmax([0.0, -50.0])
    array([-1.92874985e-22, -5.00000000e+01])
    """
    if type(x) is np.ndarray and where is None and (method is AUTO or (type(method) is str and method == AUTO)):
        result = direct.compute("log_softmax", x, axis, out, temperature)
        if result is not None:
            return result
    return _elementwise("log_softmax", x, axis, out, where, temperature, method)


def logsumexp(
    a: Any,
    axis: Any = None,
    b: Any = None,
    keepdims: bool = False,
    return_sign: bool = False,
    *,
    out: Array | None = None,
    where: Any = None,
    method: str = AUTO,
) -> Any:
    r"""Compute :math:`\log \sum_i b_i e^{a_i}`.

    Parameters
    ----------
    a : array_like
        Numbers, as for `softmax`.
    axis : int or tuple of int, optional
        The axes to sum over. All, by default.
    b : array_like, optional
        Weights, broadcast against a. They may be negative; a zero removes its element, even a NaN.
    keepdims : bool, optional
        Keep the summed axes, with length 1.
    return_sign : bool, optional
        Return the sign of the sum as well; the logarithm is then that of its absolute value. Without it, a negative
        sum gives NaN.
    out : ndarray, optional
        Where the result goes; for ``return_sign`` only the logarithm.
    where : array_like of bool, optional
        The elements that take part.
    method : str, optional
        A rung of the ladder; with b, all compute alike.

    Returns
    -------
    ndarray or NumPy scalar
        The logarithm: within 1 ULP of the exact result, or within one ulp of 1.0 where that is less than 0.001, or with
        weights less than 1. With weights of both signs, what nearly cancels takes digits along.
    ndarray or NumPy scalar
        The sign, for ``return_sign`` only.

    Raises
    ------
    TypeError, ValueError
        As for `softmax`.

    Notes
    -----
    The sum over nothing is 0: its logarithm is -inf, its sign 0. inf wins over -inf.

    References
    ----------
    Blanchard, Higham & Higham, IMA J. Numer. Anal. 41(4), 2021, doi:10.1093/imanum/draa038.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsoftmax import logsumexp
    >>> float(logsumexp(np.arange(10)))
    9.45862974442671
    >>> logsumexp([1, 1], b=[1, -1], return_sign=True)
    (np.float64(-inf), np.float64(0.0))
    """
    plain_call = b is None and where is None and return_sign is False
    if type(a) is np.ndarray and plain_call and (method is AUTO or (type(method) is str and method == AUTO)):
        result = direct.compute("logsumexp", a, axis, out, keepdims=keepdims)
        if result is not None:
            return result
    keepdims, return_sign = bool(keepdims), bool(return_sign)  # else they might fail once `out` is written
    way = way_of(method)
    a = arrays.as_numbers(a, "a")
    dtype = arrays.result_type(a.dtype)
    if b is not None:
        b, decisive = arrays.as_weights(b)
        dtype = arrays.common_type(dtype, decisive)
        a, b = arrays.broadcast(a, b)
    axes = arrays.normalize_axis(axis, a.ndim)
    mask = arrays.check_where(where, a.shape)
    kept = tuple(s for i, s in enumerate(a.shape) if i not in axes)
    full = tuple(1 if i in axes else s for i, s in enumerate(a.shape))
    place = None if out is None else arrays.check_out(out, full if keepdims else kept, dtype)
    result, sign = _logsumexp(a, b, axes, mask, dtype, way, return_sign)
    if place is not None:
        arrays.write(place, result.reshape(place.shape))
        result = out
    elif keepdims:
        result = result.reshape(full)
    else:
        result = result[()]
    if not return_sign:
        return result
    return result, sign.reshape(full) if keepdims else sign[()]


def _logsumexp(
    a: Array,
    b: Array | None,
    axes: tuple[int, ...],
    mask: Array | None,
    dtype: np.dtype[Any],
    way: Way,
    return_sign: bool,
) -> tuple[Array, Array]:
    """Return logarithm and sign as arrays without the reduced axes."""
    if arrays.is_plain(dtype):
        return plain.logsumexp(a, b, axes, mask, dtype, return_sign)
    if b is not None:
        return weighted_logsumexp(a, b, axes, mask, dtype, return_sign)
    result = layouts.fresh(a, axes, dtype)
    if a.size:
        Work("logsumexp", a, result, axes, 1.0, way, mask).run()
    else:
        result.fill(-np.inf)
    if not return_sign:  # nobody will look at it
        return result, result
    return result, np.where(np.isneginf(result), 0, np.where(np.isnan(result), result, 1)).astype(dtype)


def _elementwise(op: str, x: Any, axis: Any, out: Array | None, where: Any, temperature: float, method: str) -> Any:
    way = way_of(method)
    x = arrays.as_numbers(x, "x")
    axes = arrays.normalize_axis(axis, x.ndim)
    temperature = _check_temperature(temperature)
    mask = arrays.check_where(where, x.shape)
    dtype = arrays.result_type(x.dtype)
    if out is None:
        result = layouts.fresh(x, (), dtype)
    else:
        result = arrays.check_out(out, x.shape, dtype)
        if arrays.overlaps(result, x):
            x = x.copy()
        if mask is not None and np.may_share_memory(result, mask):
            mask = mask.copy()
    if x.size == 0:
        return result
    if arrays.is_plain(dtype) or not suits_kernels(temperature, dtype):
        arrays.write(result, getattr(plain, op)(x, axes, mask, temperature))
    else:
        Work(op, x, result, axes, temperature, way, mask).run()
    return result[()] if out is None else out


def _check_temperature(temperature: Any) -> float:
    """Return the temperature as a float, if it is a real number other than 0."""
    arrays.refuse_masked(temperature, "temperature")
    number = np.asarray(temperature)
    is_int = isinstance(temperature, int)
    if number.ndim or not (is_int or (arrays.is_numeric(number.dtype) and number.dtype.kind != "c")):
        raise TypeError(f"temperature must be a real number, not {temperature!r}")
    try:
        value = float(temperature)
    except OverflowError:
        raise ValueError("temperature is too large for a float64") from None
    if value == 0.0 or math.isnan(value):
        raise ValueError(f"temperature must be a number other than 0, not {temperature!r}")
    return value
