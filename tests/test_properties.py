"""Properties of the functions, over types, shapes, layouts, axes and rungs that hypothesis chooses."""

import exactly
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from helpers import EXACT, FLOATS, LAYOUTS, OPS, SAFE, assert_exact, call, same_bits
from hypothesis import given
from hypothesis import strategies as st

from fastsoftmax import log_softmax, logsumexp, softmax

MAPS = ("softmax", "log_softmax")
rungs = st.sampled_from(SAFE)
exact_rungs = st.sampled_from(EXACT)
ops = st.sampled_from(OPS)
dtypes = st.sampled_from(FLOATS)
seeds = st.integers(0, 2**32 - 1)
lengths = st.one_of(st.integers(1, 70), st.sampled_from([127, 128, 255, 257, 1000, 1023, 4097]))


@st.composite
def rows(draw, scale=30):
    """A 2-d array: a few rows of any length, of numbers to shrink or from a seeded generator."""
    dtype = draw(dtypes)
    if draw(st.booleans()):
        elements = st.floats(-200, 200, width=32)
        return draw(hnp.arrays(dtype, st.tuples(st.integers(1, 4), st.integers(1, 20)), elements=elements))
    rng = np.random.default_rng(draw(seeds))
    spread = draw(st.sampled_from([0.1, 1, scale]))
    offset = draw(st.sampled_from([0, 0, -150, 207, 1e4]))
    return rng.normal(offset, spread, (draw(st.integers(1, 40)), draw(lengths))).astype(dtype)


@st.composite
def arrays_and_axes(draw):
    """Any array of up to four dimensions, sides of 0 too, any layout, and any axis of it."""
    dtype = draw(dtypes)
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9))
    if shape and draw(st.integers(0, 3)) == 0:
        shape = list(shape)
        shape[draw(st.integers(0, len(shape) - 1))] = draw(st.sampled_from([16, 33, 65, 130]))
    rng = np.random.default_rng(draw(seeds))
    x = rng.normal(0, draw(st.sampled_from([0.5, 5, 60])), shape).astype(dtype)
    if draw(st.integers(0, 3)) == 0:
        x = np.where(rng.random(shape) < 0.3, -np.inf, x).astype(dtype)
    x = LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](x)
    axis = None
    if x.ndim and draw(st.booleans()):
        axes = draw(st.lists(st.integers(0, x.ndim - 1), unique=True, max_size=x.ndim))
        axis = tuple(a - x.ndim * draw(st.integers(0, 1)) for a in axes)
        axis = axis[0] if len(axis) == 1 and draw(st.booleans()) else axis
    return x, axis


@given(arrays_and_axes(), ops, rungs)
def test_within_the_bounds_for_any_array_and_axis(array, op, method):
    x, axis = array
    before = x.tobytes()
    got = call(op, x, axis, method=method)
    assert x.tobytes() == before
    if x.size:
        assert_exact(op, x, axis, got, method)
    else:
        assert np.shape(got) == (x.shape if op != "logsumexp" else np.sum(x, axis=axis).shape)


@given(
    arrays_and_axes(),
    ops,
    rungs,
    seeds,
    st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    st.booleans(),
    st.sampled_from(sorted(set(LAYOUTS) - {"read-only"})),
)
def test_masks_and_out_for_any_array_and_axis(array, op, method, seed, share, in_place, layout):
    x, axis = array
    where = np.random.default_rng(seed).random(x.shape) < share
    true = exactly.exact(op, x, axis, where=where) if x.size else None
    out = LAYOUTS[layout](np.full(np.shape(call(op, x, axis)), 7, x.dtype.newbyteorder("=")))
    if in_place and op != "logsumexp" and x.flags.writeable:
        out = x
    values = x.astype(x.dtype.newbyteorder("="))
    plain = call(op, values, axis, where=where, method=method)
    assert call(op, x, axis, where=where, out=out, method=method) is out
    result = out.astype(values.dtype)
    if x.size:
        assert_exact(op, values, axis, result, method, true=true)
        assert_exact(op, values, axis, plain, method, true=true)
    elif op == "logsumexp":
        assert (result == -np.inf).all()


@given(arrays_and_axes(), ops, rungs, st.data())
def test_moving_the_axes_moves_the_result(array, op, method, data):
    x, axis = array
    order = data.draw(st.permutations(range(x.ndim)))
    axes = exactly.normal_axis(x, axis)
    moved = call(op, x.transpose(order), tuple(order.index(a) for a in axes), method=method)
    if op == "logsumexp":
        plain = call(op, x, axis, keepdims=True, method=method).transpose(order).reshape(np.shape(moved))
    else:
        plain = call(op, x, axis, method=method).transpose(order)
    np.testing.assert_allclose(moved, plain, rtol=3e-5, atol=3e-5)
    assert moved.dtype == plain.dtype


@given(rows(), rungs)
def test_softmax_is_a_distribution(x, method):
    p = softmax(x, 1, method=method)
    assert (p >= 0).all()
    assert (p <= 1).all()
    eps = np.finfo(x.dtype).eps
    n = x.shape[1]
    slack = (2 if method in EXACT else n + 500) * eps
    np.testing.assert_allclose(p.sum(axis=1, dtype=np.longdouble), 1, rtol=0, atol=slack)


@given(rows(), ops, exact_rungs, st.sampled_from([1.0, -4.0, 64.0, 1024.0]))
def test_a_shift_that_is_exact_changes_nothing_beyond_the_bounds(x, op, method, shift):
    # a grid of eighths takes any of these shifts without rounding
    x = np.round(x * 8) / 8
    moved = x + x.dtype.type(shift)
    np.testing.assert_array_equal(moved - x.dtype.type(shift), x)
    got, plain = call(op, moved, 1, method=method), call(op, x, 1, method=method)
    eps = np.finfo(x.dtype).eps
    if op == "logsumexp":
        np.testing.assert_allclose(got, plain + shift, rtol=2 * eps, atol=2 * eps * (abs(shift) + np.abs(plain).max()))
    else:
        seen = np.abs(plain) >= np.finfo(x.dtype).tiny
        np.testing.assert_allclose(got[seen], plain[seen], rtol=5 * eps)


@given(rows(), ops, rungs, st.data())
def test_a_permutation_permutes(x, op, method, data):
    order = np.random.default_rng(data.draw(seeds)).permutation(x.shape[1])
    true = exactly.exact(op, x, 1)
    got = call(op, x[:, order], 1, method=method)
    assert_exact(op, x[:, order], 1, got, method, true=true if op == "logsumexp" else true[:, order])


@given(rows(scale=3), st.sampled_from(MAPS), rungs)
def test_equal_values_have_equal_results(x, op, method):
    x = np.round(x)
    got = call(op, x, 1, method=method)
    for row, result in zip(x, got, strict=True):
        for value in np.unique(row):
            assert len(np.unique(result[row == value])) == 1


def assert_in_order(op, x, got, method):
    """Results of ascending rows ascend, as far as that can be promised.

    log_softmax subtracts one number from a whole row, and rounding keeps the order. softmax need not: its
    e^x errs by less than an ULP, but not by the same for neighbouring x. Where the true step is smaller than
    that, the result may fall, by 2 ULP at most. And no step is wrong by more than its ends: an ULP for each
    e^x, half a one for each rounding at the end, and the sum's error in proportion to the step.
    """
    if op == "log_softmax":
        assert (np.diff(got, axis=1) >= 0).all()
        return
    tiny = np.finfo(got.dtype).tiny  # results below may be flushed to 0
    kept = np.maximum(got, tiny)
    unit = np.spacing(kept)
    assert (np.diff(kept, axis=1) >= -2 * unit[:, 1:]).all()
    if method in EXACT:
        kept = kept.astype(np.longdouble)
        true = np.maximum(exactly.exact(op, x, 1), tiny)
        for apart in (1, 16):
            got_step, step = (v[:, apart:] - v[:, :-apart] for v in (kept, true))
            assert (np.abs(got_step - step) <= 3 * unit[:, apart:] + 2 * np.finfo(got.dtype).eps * step).all()
            assert (got_step > 0)[step > 4 * unit[:, apart:]].all()


@given(rows(), st.sampled_from(MAPS), rungs, st.booleans())
def test_monotone_rows_stay_monotone(x, op, method, columns):
    x = np.sort(x, axis=1)
    got = call(op, x.T.copy(), 0, method=method).T if columns else call(op, x, 1, method=method)
    assert_in_order(op, x, got, method)


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", MAPS)
def test_neighbouring_floats_stay_in_order(op, dtype, method):
    # a run of consecutive floats across each seam of the exponential's range reduction
    for k in (0, 1, 2, 7, 20, 60, 120):
        seam = dtype(-(k + 0.5) * np.log(2)) if k else dtype(-0.3)
        x = seam + np.arange(-300, 300) * np.spacing(np.abs(seam))
        x = np.append(x.astype(dtype), dtype(0))
        assert (np.diff(x) > 0).all()
        assert_in_order(op, x[None], call(op, x[None], 1, method=method), method)
        columns = np.repeat(x[:, None], 20, axis=1)
        assert_in_order(op, columns.T, call(op, columns, 0, method=method).T, method)


@given(rows(), ops, rungs, st.data())
def test_a_block_of_rows_gives_the_same_bits(x, op, method, data):
    start = data.draw(st.integers(0, len(x) - 1))
    stop = data.draw(st.integers(start + 1, len(x)))
    same_bits(call(op, x[start:stop], 1, method=method), call(op, x, 1, method=method)[start:stop])


@given(rows(), exact_rungs)
def test_exp_of_log_softmax_is_softmax(x, method):
    p, log_p = softmax(x, 1, method=method), log_softmax(x, 1, method=method)
    true = np.exp(log_p.astype(np.longdouble))
    eps = np.finfo(x.dtype).eps
    seen = p >= np.finfo(x.dtype).tiny
    # an error of 2 ULP in log p is one of 2 |log p| eps in p
    assert (np.abs(p - true)[seen] <= (eps * (4 + 4 * np.abs(log_p)) * true)[seen]).all()
    assert (log_p <= 0).all()


@given(rows(), exact_rungs)
def test_logsumexp_normalises(x, method):
    shifted = x.astype(np.longdouble) - logsumexp(x, 1, keepdims=True, method=method)
    eps = np.finfo(x.dtype).eps
    np.testing.assert_allclose(
        shifted.astype(float),
        log_softmax(x, 1, method=method),
        rtol=4 * eps,
        atol=4 * eps * (1 + np.abs(x).max()),
    )
    top = x.max(axis=1)
    lse = logsumexp(x, 1, method=method)
    room = 2 * eps * (1 + np.abs(lse))
    assert (lse >= top - room).all()
    assert (lse <= top + np.log(x.shape[1]) + room).all()


@given(rows(), ops)
def test_all_safe_rungs_agree(x, op):
    first = call(op, x, 1)
    tolerance = 8 * np.finfo(x.dtype).eps * (x.shape[1] + 500)
    for method in SAFE:
        np.testing.assert_allclose(call(op, x, 1, method=method), first, rtol=tolerance, atol=tolerance, err_msg=method)


@given(rows(), st.integers(1, 50), rungs)
def test_logsumexp_of_parts(x, cut, method):
    cut = min(cut, x.shape[1])
    parts = np.stack([logsumexp(part, 1, method=method) for part in (x[:, :cut], x[:, cut:])], axis=1)
    tolerance = 4 * np.finfo(x.dtype).eps * (x.shape[1] + 8)
    np.testing.assert_allclose(
        logsumexp(parts, 1, method=method), logsumexp(x, 1, method=method), rtol=tolerance, atol=tolerance
    )
