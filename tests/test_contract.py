"""The contract as one property: types x shapes x layouts x axes x rungs x where x out, with any number in the array.

`FASTSOFTMAX_TEST_PROFILE=long pytest tests/test_contract.py` tries many more.
"""

import exactly
import hypothesis
import hypothesis.extra.numpy as hnp
import ml_dtypes
import numpy as np
from helpers import EXACT, LAYOUTS, OPS, SAFE, assert_exact, call
from hypothesis import given
from hypothesis import strategies as st

import fastsoftmax

FLOATING = {name: np.dtype(name) for name in ("float32", "float64", "float16", "longdouble")}
FLOATING["bfloat16"] = np.dtype(ml_dtypes.bfloat16)
INTEGERS = {name: np.dtype(name) for name in ("int8", "uint8", "int16", "int64", "uint64", "bool")}
TYPES = {**FLOATING, **INTEGERS}
SPECIAL = (np.nan, np.inf, -np.inf)


@st.composite
def arrays(draw):
    """Any array: up to four dimensions, sides of 0 and of several vectors, one of a few kinds of numbers."""
    dtype = TYPES[draw(st.sampled_from(["float32", "float64", *TYPES]))]
    shape = list(draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7)))
    if shape and draw(st.booleans()):
        shape[draw(st.integers(0, len(shape) - 1))] = draw(st.sampled_from([16, 33, 130, 300]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if dtype.kind in "iub":
        x = rng.integers(0, 2, shape) if dtype.kind == "b" else rng.integers(*limits_of(dtype), shape, endpoint=True)
        if draw(st.booleans()):
            x = x // 50
        x = np.asarray(x).astype(dtype)
    else:
        x = rng.normal(draw(st.sampled_from([0, 0, 300, -1e4])), draw(st.sampled_from([0.5, 20])), shape)
        if draw(st.integers(0, 2)) == 0:
            x = np.where(rng.random(shape) < draw(st.sampled_from([0.03, 0.6])), rng.choice(SPECIAL, shape), x)
        x = np.asarray(x, np.float32).astype(dtype)
    with np.errstate(invalid="ignore"):
        return LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](x)


def limits_of(dtype):
    """Ends of an integer range, within those of the generator's own type."""
    return max(np.iinfo(dtype).min, -(2**62)), min(np.iinfo(dtype).max, 2**62)


@st.composite
def axes_of(draw, ndim):
    if not ndim or draw(st.integers(0, 3)) == 0:
        return None
    axes = draw(st.lists(st.integers(0, ndim - 1), unique=True, max_size=ndim))
    axes = tuple(a - ndim * draw(st.integers(0, 1)) for a in axes)
    return axes[0] if len(axes) == 1 and draw(st.booleans()) else axes


@st.composite
def masks_of(draw, shape):
    """None, or a mask that broadcasts to the shape, of any share."""
    if draw(st.booleans()):
        return None
    own = [side if draw(st.integers(0, 2)) else 1 for side in shape][draw(st.integers(0, len(shape))) :]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return np.asarray(rng.random(own) < draw(st.sampled_from([0.0, 0.2, 0.8, 1.0])))


@st.composite
def places_for(draw, x, shape, dtype, may_overlap):
    """None, or an `out` for a result: of the same type or another, of any layout, or memory of x."""
    kind = draw(st.sampled_from(["none", "new", "other type", "x", "reverse of x"]))
    if kind in ("x", "reverse of x") and may_overlap and x.flags.writeable and x.dtype.kind not in "iub":
        return x if kind == "x" else x[(..., *(slice(None, None, -1),) * x.ndim)]
    if kind == "none":
        return None
    if kind == "other type" and dtype != ml_dtypes.bfloat16:
        dtype = np.dtype(draw(st.sampled_from(["f2", "f4", "f8", "g", "c16"])))
    layout = draw(st.sampled_from(sorted(set(LAYOUTS) - {"read-only"})))
    return LAYOUTS[layout](np.full(shape, 7).astype(dtype))


def expected(op, x, axis, where):
    """The exact result, with the contract's table for rows that hold NaN, inf, or nothing."""
    axes = exactly.normal_axis(x, axis)
    x = (x.astype(np.float64) if x.dtype.kind in "iub" else x).astype(np.longdouble)
    keep = np.broadcast_to(True if where is None else where, x.shape)
    has_nan, has_inf, lives = (
        np.any(v & keep, axis=axes, keepdims=True) for v in (np.isnan(x), x == np.inf, x > -np.inf)
    )
    spoilt = has_nan | has_inf
    result = exactly.exact(op, np.where(keep & ~spoilt, x, -np.inf), axis)
    if op == "logsumexp":
        has_nan, has_inf = (np.squeeze(v, axis=axes) for v in (has_nan, has_inf))
        return np.where(has_nan, np.nan, np.where(has_inf, np.inf, result))
    is_empty = ~np.any(keep, axis=axes, keepdims=True)
    result = np.where(spoilt | (~lives & ~is_empty), np.nan, result)
    return np.where(keep, result, 0 if op == "softmax" else -np.inf)


def assert_close(op, x, axis, got, true, method):
    """`got` is right where the truth is no finite number, and within the bound of its type where it is."""
    got, true = np.asarray(got), np.asarray(true)
    assert got.shape == true.shape
    odd = ~np.isfinite(true)
    wide = got.astype(np.longdouble)
    if got.dtype == np.float16:  # its range is left by the results of other types
        odd |= np.abs(true) > 65000
    np.testing.assert_array_equal(wide[odd & ~np.isfinite(true)], true[odd & ~np.isfinite(true)])
    got, wide, true = np.where(odd, 0, got).astype(got.dtype), np.where(odd, 0, wide), np.where(odd, 0, true)
    computed = np.dtype(np.float64) if x.dtype.kind in "iub" else x.dtype.newbyteorder("=")
    if got.dtype == computed and computed in (np.float32, np.float64):
        assert_exact(op, np.where(np.isfinite(x.astype(float)), x, 0).astype(x.dtype), axis, got, method, true=true)
        return
    narrow = min(got.dtype, computed, key=lambda t: ml_dtypes.finfo(t).nmant if t != np.longdouble else 63)
    eps = 2.0**-51 if narrow == np.longdouble else float(ml_dtypes.finfo(narrow).eps)  # compared as float64
    tiny = float(ml_dtypes.finfo(narrow).tiny) if narrow != np.longdouble else 0.0
    size = np.abs(x.astype(float)[np.isfinite(x.astype(float))]).max(initial=1)
    exact = method in EXACT or computed == np.longdouble
    slack = 0 if exact and op != "logsumexp" else 2.0**-23 * (x.size + size)
    np.testing.assert_allclose(
        wide.astype(float),
        true.astype(float),
        rtol=(0.75 if narrow.itemsize == 2 else 2) * eps if exact else eps + 2.0**-23 * (x.size + 4 * size),
        atol=tiny + slack,
    )


@hypothesis.settings(max_examples=8 * hypothesis.settings().max_examples)
@given(st.data(), arrays(), st.sampled_from(OPS), st.sampled_from(SAFE))
def test_the_contract(data, x, op, method):
    axis = data.draw(axes_of(x.ndim), "axis")
    where = data.draw(masks_of(x.shape), "where")
    dtype = np.dtype(np.float64) if x.dtype.kind in "iub" else x.dtype.newbyteorder("=")
    true = expected(op, x, axis, where)
    out = data.draw(places_for(x, true.shape, dtype, op != "logsumexp"), "out")
    values, before = x.copy(), x.tobytes()
    with np.errstate(all="raise"):
        got = call(op, x, axis, where=where, out=out, method=method)
    if out is not None:
        assert got is out
    if out is None or not np.may_share_memory(out, x):
        assert x.tobytes() == before
    if out is None:
        assert got.dtype == dtype
        assert isinstance(got, np.ndarray if true.ndim or dtype == ml_dtypes.bfloat16 else np.generic) or not true.ndim
    got = np.asarray(got)
    got = got.real if got.dtype.kind == "c" else got.astype(got.dtype.newbyteorder("="))
    assert_close(op, values, axis, got, true, method)


@given(st.data(), arrays(), st.booleans(), st.sampled_from(SAFE))
def test_the_contract_of_signs(data, x, keepdims, method):
    axis = data.draw(axes_of(x.ndim), "axis")
    where = data.draw(masks_of(x.shape), "where")
    true = expected("logsumexp", x, axis, where)
    value, sign = fastsoftmax.logsumexp(x, axis, None, keepdims, True, where=where, method=method)
    assert np.shape(value) == np.shape(sign) == np.sum(x.astype(bool), axis=axis, keepdims=keepdims).shape
    np.testing.assert_array_equal(
        np.ravel(sign).astype(float), np.ravel(np.where(np.isnan(true), np.nan, true != -np.inf))
    )
    weighted, weighted_sign = fastsoftmax.logsumexp(x, axis, -1.0, keepdims, True, where=where, method=method)
    np.testing.assert_array_equal(np.asarray(weighted_sign).astype(float), -np.asarray(sign).astype(float))
    eps = float(ml_dtypes.finfo(np.asarray(value).dtype).eps) if value.dtype != np.longdouble else 1e-18
    finite = np.abs(x.astype(float)[np.isfinite(x.astype(float))]).max(initial=1)
    value, weighted = (np.asarray(v).astype(float) for v in (value, weighted))
    slack = eps if method in EXACT else 2.0**-23 * (x.size + finite) if x.dtype.itemsize < 8 else 1e-12 * finite
    np.testing.assert_allclose(weighted, value, rtol=3 * eps, atol=4 * slack + 1e-15 * finite)
