"""What takes the short way through `direct.py`: the same bits as the long way gives, and the same refusals."""

import itertools

import numpy as np
import pytest
from helpers import FLOATS, OPS, call, same_bits

import fastsoftmax
from fastsoftmax import direct
from fastsoftmax.routes import reads

AXES = (None, 0, 1, -1, -2, (0,), (1, 2), (2, 1), (0, -1), (0, 1), (-3, -2, -1), (0, 2), ())
SHAPES = ((2, 3, 5), (3, 70, 9), (40, 30, 20), (4, 1, 300), (1, 900, 12))


def in_both_ways(monkeypatch, op, x, axis, **keywords):
    """Return the results of the short and the long way."""
    results = [call(op, x, axis, **keywords)]
    with monkeypatch.context() as patch:
        patch.setattr(direct, "compute", lambda *args, **more: None)
        results.append(call(op, x, axis, **keywords))
    return results


@pytest.mark.parametrize("dtype", [*FLOATS, np.float16])
@pytest.mark.parametrize("op", OPS)
def test_both_ways_give_the_same_bits(op, dtype, rng, monkeypatch):
    for shape, axis in itertools.product(SHAPES, AXES):
        x = rng.normal(0, 3, shape).astype(dtype)
        for keywords in (
            [{"keepdims": True}] if op == "logsumexp" else [{"temperature": t} for t in (0.3, 2, 1e-3, 1e9)]
        ):
            for more in ({}, keywords):
                short, long = in_both_ways(monkeypatch, op, x, axis, **more)
                assert type(short) is type(long)
                same_bits(short, long)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("op", OPS)
def test_long_rows_take_it(op, dtype, rng, monkeypatch):
    for shape, axis in (((300_000,), 0), ((2, 270_001), -1), ((600, 500), None), ((2, 300, 1000), (1, 2))):
        x = rng.normal(0, 3, shape).astype(dtype)
        assert direct.compute(op, x, axis, None) is not None or not reads(x.dtype)
        for keywords in ({}, {"keepdims": True} if op == "logsumexp" else {"temperature": 0.5}):
            short, long = in_both_ways(monkeypatch, op, x, axis, **keywords)
            assert type(short) is type(long)
            same_bits(short, long)
            if np.shape(short):
                same_bits(call(op, x, axis, out=np.zeros_like(short), **keywords), short)


LAYOUTS = {
    "every other row": lambda x: x[::2],
    "rows further apart": lambda x: x[..., :-1],
    "backwards": lambda x: x[::-1],
    "transposed": lambda x: x.T,
    "axes exchanged": lambda x: x.swapaxes(0, 1),
    "one row again and again": lambda x: np.broadcast_to(x[:1], x.shape),
    "one of several": lambda x: np.stack([x, x])[1],
    "from between": lambda x: np.stack([x, x], axis=1)[:, 1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [*FLOATS, np.float16])
@pytest.mark.parametrize("op", OPS)
def test_layouts_that_kernels_take(op, dtype, layout, rng, monkeypatch):
    """Results lie in memory as their input does, whichever way is taken, and are what a copy of it has."""
    for shape in ((4, 5), (70, 300), (900, 10), (3, 4, 50), (20, 30, 8)):
        x = LAYOUTS[layout](rng.normal(0, 3, shape).astype(dtype))
        for axis in (None, 0, 1, -1, (0, 1)):
            for keywords in ({}, {"keepdims": True} if op == "logsumexp" else {"temperature": 0.5}):
                short, long = in_both_ways(monkeypatch, op, x, axis, **keywords)
                same_bits(short, long)
                assert np.shape(short) == np.shape(long)
                if np.ndim(short) and "keepdims" not in keywords:
                    assert short.strides == long.strides
                expected = call(op, np.ascontiguousarray(x), axis, **keywords)
                np.testing.assert_allclose(short, expected, rtol=8 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)
        with pytest.raises(np.exceptions.AxisError):
            call(op, x, 3)


def test_layouts_take_it(rng):
    x = rng.normal(0, 1, (20, 30, 40))
    for op in OPS:
        for y, axis in ((x[::2], 1), (x[:, ::2], 2), (x[..., 1:], 0), (x.T, -1), (x.swapaxes(0, 1), 2), (x[::-1], 2)):
            assert direct.compute(op, y, axis, None) is not None
    out = np.zeros((20, 30, 50))[..., :40]
    assert direct.compute("softmax", x, 1, out) is out
    assert direct.compute("softmax", x, 1, x) is x


def test_a_result_may_lie_otherwise_than_its_input(rng):
    x = rng.normal(0, 3, (12, 50, 33)).astype(np.float32)
    for op, axis in itertools.product(OPS, (0, 1, 2, (1, 2), None)):
        expected = call(op, x, axis, keepdims=True) if op == "logsumexp" else call(op, x, axis)
        keywords = {"keepdims": True} if op == "logsumexp" else {}
        for order in itertools.permutations(range(3)):
            room = np.zeros([2 * expected.shape[a] for a in order], np.float32).transpose(np.argsort(order))
            for part in (slice(None, None, 2), slice(None, None, -2)):
                out = room[part, : expected.shape[1], part]
                assert call(op, x, axis, out=out, **keywords) is out
                np.testing.assert_allclose(out, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS[:2])
def test_in_place(op, dtype, rng, monkeypatch):
    for shape, axis in itertools.product(SHAPES, (None, 0, 1, 2, (0, 1), (1, 2))):
        x = rng.normal(0, 3, shape).astype(dtype)
        expected = call(op, x, axis)
        short, long = x.copy(), x.copy()
        assert call(op, short, axis, out=short) is short
        monkeypatch.setattr(direct, "compute", lambda *args, **more: None)
        call(op, long, axis, out=long)
        monkeypatch.undo()
        same_bits(short, long)
        np.testing.assert_allclose(short, expected, rtol=8 * np.finfo(dtype).eps)


def test_what_takes_it(rng):
    """Everyday calls do, whatever the axes, the type and the temperature."""
    for dtype in filter(reads, map(np.dtype, (*FLOATS, np.float16))):
        x = rng.normal(0, 1, (4, 5, 6)).astype(dtype)
        for axis in (None, 0, 1, -1, (1, 2), (0, 1), (0, 1, 2)):
            assert direct.compute("softmax", x, axis, None, 0.7) is not None
            assert direct.compute("logsumexp", x, axis, None, keepdims=True) is not None
    for axis in ((0, 2), (0, 0), (3,), (True,), 1.0, [0]):
        assert direct.compute("softmax", x, axis, None) is None


@pytest.mark.parametrize("op", OPS[:2])
def test_temperatures_of_every_kind(op, rng):
    x = rng.normal(0, 3, (6, 50))
    for temperature in (2, 2.0, np.float32(2), np.int64(2), np.array(2.0)):
        same_bits(call(op, x, temperature=temperature), call(op, x, temperature=2.0))
    for wrong in (0, 0.0, np.nan, float("nan")):
        with pytest.raises(ValueError, match="temperature"):
            call(op, x, temperature=wrong)
    for wrong in ([1.0, 2.0], np.ones(2), "1", None, 1j):
        with pytest.raises(TypeError, match="temperature"):
            call(op, x, temperature=wrong)
    same_bits(call(op, x, temperature=10**30), call(op, x, temperature=1e30))
    with pytest.raises(ValueError, match="too large"):
        call(op, x, temperature=10**400)


def test_logsumexp_with_kept_dimensions_and_a_place():
    x = np.arange(24.0).reshape(2, 3, 4)
    out = np.empty((2, 1, 4))
    assert fastsoftmax.logsumexp(x, 1, keepdims=True, out=out) is out
    same_bits(out[:, 0], fastsoftmax.logsumexp(x, 1))
    assert fastsoftmax.logsumexp(x, keepdims=True).shape == (1, 1, 1)
    assert type(fastsoftmax.logsumexp(x)) is np.float64
    with pytest.raises(ValueError, match="out"):
        fastsoftmax.logsumexp(x, 1, keepdims=True, out=out[:, 0])


@pytest.mark.parametrize("dtype", [*FLOATS, np.float16])
@pytest.mark.parametrize("op", OPS)
def test_masks_of_every_layout(op, dtype, rng):
    """Broadcast, transposed and strided ones select what a plain one does."""
    x = rng.normal(0, 1, (30, 40)).astype(dtype)
    mask = rng.random((30, 40)) < 0.6
    expected = call(op, x, 1, where=mask)
    same_bits(call(op, x, 1, where=np.asfortranarray(mask)), expected)
    same_bits(call(op, x, 1, where=np.repeat(mask, 2, 1)[:, ::2]), expected)
    same_bits(call(op, np.asfortranarray(x), 1, where=mask), expected)
    row = mask[:1]
    same_bits(call(op, x, 1, where=row), call(op, x, 1, where=np.tile(row, (30, 1))))
    x[~mask] = np.nan  # what takes no part may be anything
    same_bits(call(op, x, 1, where=mask), expected)
