"""Worked examples of the field, and SciPy as a second opinion on values, shapes and return types."""

import itertools

import numpy as np
import pytest
import scipy.special
from helpers import FLOATS, OPS, RUNGS, SAFE, call

import fastsoftmax
from fastsoftmax import log_softmax, logsumexp, softmax

RTOL = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-12}


def assert_like_scipy(op, *arguments, method="auto", **keywords):
    expected = getattr(scipy.special, op)(*arguments, **keywords)
    got = getattr(fastsoftmax, op)(*arguments, **keywords, method=method)
    if isinstance(expected, tuple):
        assert isinstance(got, tuple)
        pairs = list(zip(got, expected, strict=True))
    else:
        pairs = [(got, expected)]
    for g, e in pairs:
        assert type(g) is type(e)
        assert g.dtype == e.dtype
        assert g.shape == e.shape
        np.testing.assert_allclose(g, e, rtol=RTOL[e.dtype], atol=RTOL[e.dtype] / 10)


@pytest.mark.parametrize("method", RUNGS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ([0.7, 1.5, 4.8], [0.01573172, 0.03501159, 0.94925668]),
        ([1, 2], [0.26894142, 0.73105858]),
        ([10, 20], [4.53978687e-05, 0.999954602]),
        ([0, 1, 2, 3], [0.03205860328008499, 0.08714431874203256, 0.23688281808991013, 0.6439142598879722]),
        ([7], [1]),
        (
            [1, 2, 3, 4, 1, 2, 3],
            [0.02364054, 0.06426166, 0.1746813, 0.474833, 0.02364054, 0.06426166, 0.1746813],
        ),
    ],
)
def test_worked_examples(method, dtype, x, expected):
    x = np.array(x, dtype)
    np.testing.assert_allclose(softmax(x, method=method), expected, rtol=4e-7)
    np.testing.assert_allclose(log_softmax(x, method=method), np.log(expected), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(logsumexp(x, method=method), np.log(np.exp(x).sum()), rtol=1e-6)


@pytest.mark.parametrize("method", SAFE)
def test_examples_that_overflow_a_plain_exp(method):
    np.testing.assert_allclose(softmax([1000.0, 0, 0, 0], method=method), [1, 0, 0, 0], rtol=0, atol=1e-300)
    np.testing.assert_allclose(log_softmax([1000.0, 1.0], method=method), [0, -999], rtol=1e-15)
    np.testing.assert_allclose(logsumexp([1000.0, 1000.0], method=method), 1000 + np.log(2), rtol=1e-15)
    np.testing.assert_allclose(logsumexp([-1000.0, -1000.0], method=method), -1000 + np.log(2), rtol=1e-15)


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", FLOATS)
def test_two_classes_are_the_logistic_sigmoid_of_the_difference(method, dtype):
    z = np.linspace(-80, 80, 321, dtype=dtype)
    x = np.stack([z, np.zeros_like(z)], axis=1)
    rtol = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(softmax(x, 1, method=method)[:, 0], scipy.special.expit(z), rtol=rtol)
    exact_rtol = rtol if method in ("auto", "two_pass", "parallel") else 1
    np.testing.assert_allclose(
        log_softmax(x, 1, method=method)[:, 0], scipy.special.log_expit(z), rtol=exact_rtol, atol=rtol
    )
    np.testing.assert_allclose(logsumexp(x, 1, method=method), np.logaddexp(z, 0), rtol=exact_rtol, atol=rtol)


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("base", [2.0, 10.0, 0.5])
def test_any_base_through_temperature(method, base):
    x = np.array([0.5, -2.0, 3.0, 1.0])
    powers = base**x
    got = softmax(x, temperature=1 / np.log(base), method=method)
    np.testing.assert_allclose(got, powers / powers.sum(), rtol=1e-14)
    got = log_softmax(x, temperature=1 / np.log(base), method=method)
    np.testing.assert_allclose(got, np.log(powers / powers.sum()), rtol=1e-13)


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_scipy_agrees(op, dtype, method, rng):
    for shape in ((), (1,), (5,), (4, 7), (1, 50), (50, 1), (3, 4, 5), (2, 3, 2, 4)):
        x = rng.normal(0, 8, shape).astype(dtype)
        axes = [None, *range(-len(shape), len(shape)), *itertools.permutations(range(len(shape)), 2)]
        for axis in axes:
            assert_like_scipy(op, x, axis, method=method)


@pytest.mark.parametrize("dtype", FLOATS)
def test_scipy_agrees_on_weights(dtype, rng):
    a = rng.normal(0, 3, (3, 4, 5)).astype(dtype)
    weights = [rng.uniform(0.5, 2, s).astype(dtype) for s in ((3, 4, 5), (4, 5), (5,), (4, 1), (1,), ())]
    # subtraction, with a clearly positive sum
    signed = weights[0] * np.where(np.arange(5) == 2, -0.01, 1).astype(dtype)
    for b, axis, keepdims, return_sign in itertools.product(
        [*weights, signed, 2, 0.5, [1, 2, 3, 4, 5]], (None, 0, -1, (0, 2)), (False, True), (False, True)
    ):
        assert_like_scipy("logsumexp", a, axis, b, keepdims, return_sign)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    "x", [1000, 2.5, True, [1, 2, 3], [[0.5, 1], [2, 3]], (1.0, 2.0), np.float32(3), np.array(4.0), range(4)]
)
def test_scipy_agrees_on_array_likes(op, x):
    expected = getattr(scipy.special, op)(1.0 if x is True else np.asarray(x))  # it does not subtract booleans
    got = getattr(fastsoftmax, op)(x)
    assert type(got) is type(expected)
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (1, 0), (0, 1, 2)])
def test_keepdims_and_sign_shapes(axis, keepdims, rng):
    x = rng.normal(size=(2, 3, 4))
    assert_like_scipy("logsumexp", x, axis, None, keepdims, True)
    value, sign = logsumexp(x, axis, keepdims=keepdims, return_sign=True)
    assert np.shape(value) == np.shape(sign) == np.sum(x, axis=axis, keepdims=keepdims).shape
    assert np.all(sign == 1)


def test_b_broadcasts_both_ways():
    a, b = np.zeros((4, 1, 2, 1)), np.ones((3, 1, 5))
    assert logsumexp(a, b=b) == pytest.approx(np.log(4 * 3 * 2 * 5))
    assert logsumexp(a, axis=1, b=b).shape == (4, 2, 5)


def test_full_reductions_give_numpy_scalars():
    x = np.ones((2, 3), np.float32)
    assert type(logsumexp(x)) is np.float32
    assert type(logsumexp(x, axis=(0, 1))) is np.float32
    assert isinstance(logsumexp(x, keepdims=True), np.ndarray)
    assert type(softmax(np.float32(3))) is np.float32
    assert type(log_softmax(3)) is np.float64
    value, sign = logsumexp(x, return_sign=True)
    assert (type(value), type(sign)) == (np.float32, np.float32)


@pytest.mark.parametrize("op", OPS)
def test_arguments_are_scipys(op):
    import inspect

    ours = inspect.signature(getattr(fastsoftmax, op)).parameters
    theirs = inspect.signature(getattr(scipy.special, op)).parameters
    positional = [p for p in ours.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [(p.name, p.default) for p in positional] == [(p.name, p.default) for p in theirs.values()]
    assert all(ours[name].kind is inspect.Parameter.KEYWORD_ONLY for name in ("out", "where", "method"))


@pytest.mark.parametrize("op", OPS)
def test_inputs_are_never_written(op, rng):
    x = rng.normal(0, 30, (40, 70))
    before = x.copy()
    for axis, method in itertools.product((None, 0, 1), RUNGS):
        call(op, x, axis, method=method)
    np.testing.assert_array_equal(x, before)
    if op == "logsumexp":
        b = np.where(x > 0, x, 0)
        kept = b.copy()
        logsumexp(x, 1, b)
        np.testing.assert_array_equal(b, kept)
    np.testing.assert_array_equal(x, before)
