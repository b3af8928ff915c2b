"""What is copied into tiles: masks, odd strides and other types, in blocks of every kind."""

import itertools

import helpers
import ml_dtypes
import numpy as np
import pytest
from helpers import FLOATS, OPS, call, same_bits

from fastsoftmax import set_num_threads, tiles

HALVES = (np.float16, ml_dtypes.bfloat16)
SHAPE = (6, 20, 35)
AXES = (None, 0, 1, 2, (0, 1), (0, 2), (1, 2))
LAYOUTS = {name: helpers.LAYOUTS[name] for name in ("C", "Fortran", "swapped axes", "negative last")} | {
    "every other column": lambda x: np.repeat(x, 2, -1)[..., ::2],
    "strided in Fortran's order": lambda x: np.repeat(np.asfortranarray(x), 2, 0)[::2],
}


@pytest.fixture(params=(2000, 9000, 40000), ids=lambda size: f"{size} bytes")
def small_blocks(request, monkeypatch):
    """Many blocks, the last of them smaller."""
    monkeypatch.setattr(tiles, "TILE", request.param)
    tiles._cut.cache_clear()
    yield
    tiles._cut.cache_clear()


def resolution(dtype):
    return float(ml_dtypes.finfo(dtype).eps)


def close(got, expected):
    eps = resolution(expected.dtype)
    np.testing.assert_allclose(got.astype(float), expected.astype(float), rtol=4 * eps, atol=eps / 8)


def numbers(rng, dtype, shape=SHAPE):
    return rng.normal(0, 3, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [*FLOATS, *HALVES])
@pytest.mark.parametrize("op", OPS)
def test_layouts(op, dtype, rng, small_blocks):
    x = numbers(rng, dtype)
    for axis in AXES:
        expected = np.asarray(call(op, x, axis))
        for name, layout in LAYOUTS.items():
            y = layout(x)
            got = np.asarray(call(op, y, axis))
            close(got, expected)
            out = np.zeros_like(expected)
            if op != "logsumexp":
                out = layout(out)
            elif out.ndim:
                out = np.repeat(out, 2, -1)[..., ::2]
            assert call(op, y, axis, out=out) is out, name
            close(out, expected)


@pytest.mark.parametrize("dtype", [*FLOATS, *HALVES])
@pytest.mark.parametrize("op", OPS)
def test_masks(op, dtype, rng, small_blocks):
    """Masked elements are as if they were not there, whatever they are; without any left, there is nothing."""
    x = numbers(rng, dtype)
    nothing = {"softmax": 0.0, "log_softmax": -np.inf, "logsumexp": -np.inf}[op]
    for axis, kind in itertools.product(AXES, ("some", "none of a row", "special")):
        axes = range(3) if axis is None else axis if type(axis) is tuple else (axis,)
        mask = rng.random(SHAPE) < 0.6
        if kind == "none of a row":
            mask[tuple(slice(None) if a in axes else 1 for a in range(3))] = False
        y = np.where(mask, x, np.array(np.nan, dtype))
        if kind == "special":
            y[1, 2, 3], mask[1, 2, 3] = np.nan, True
            y[2, 3, 4], mask[2, 3, 4] = np.inf, True
            y[3, 4, 5], mask[3, 4, 5] = -np.inf, True
        with np.errstate(invalid="ignore"):
            expected = np.asarray(call(op, np.where(mask, y, np.array(-np.inf, dtype)), axis))
        if op == "logsumexp":
            expected = np.where(mask.any(tuple(axes)), expected, np.array(nothing, dtype))
        else:
            expected = np.where(mask, expected, np.array(nothing, dtype))
        for layout in LAYOUTS.values():
            for place in LAYOUTS.values():
                close(np.asarray(call(op, layout(y), axis, where=place(mask))), expected)
        if op != "logsumexp":
            out = np.full_like(np.repeat(x, 2, 1), 7)[:, ::2]
            call(op, y, axis, where=mask, out=out)
            close(out, expected)
            call(op, y, axis, where=mask, out=y)
            close(y, out)


@pytest.mark.parametrize("method", ["naive", "stable", "online", "two_pass"])
def test_masks_of_textbook_rungs(method, small_blocks):
    """Sums that are 0, too: the logarithm of nothing but small numbers must not hide what takes no part."""
    x = np.full((40, 33), -800.0)
    mask = np.ones(x.shape, bool)
    mask[:, 5:9] = False
    with np.errstate(all="ignore"):
        for op, nothing in (("softmax", 0.0), ("log_softmax", -np.inf)):
            got = call(op, x, 1, where=mask, method=method)
            assert (got[:, 5:9] == nothing).all()


@pytest.mark.parametrize("op", OPS)
def test_other_types(op, rng, small_blocks):
    """Integers count as float64, other byte orders as their own; a result of another type is rounded once more."""
    x = rng.integers(-20, 20, SHAPE)
    for axis in AXES:
        expected = np.asarray(call(op, x.astype(float), axis))
        for y in (x, x.astype(np.int8), np.asfortranarray(x), x.astype(">f8"), x.astype(">i4")[...]):
            close(np.asarray(call(op, y, axis)), expected)
        out = np.zeros(expected.shape, np.float32)
        call(op, x.astype(float), axis, out=out)
        same_bits(out, expected.astype(np.float32))


@pytest.mark.parametrize("dtype", [*FLOATS, *HALVES])
@pytest.mark.parametrize("op", OPS[:2])
def test_negative_temperatures(op, dtype, rng, small_blocks):
    x = numbers(rng, dtype)
    for axis, layout in itertools.product(AXES, LAYOUTS.values()):
        close(call(op, layout(x), axis, temperature=-0.7), call(op, -x, axis, temperature=0.7))


@pytest.mark.parametrize("op", OPS)
def test_where_a_row_lies_decides_no_bit(op, rng, small_blocks):
    """Not even in the last block, which may be smaller."""
    for n in (1, 2, 9, 40, 70, 130, 250, 500):
        for count in (1, 3, 17, 70, 101, 300):
            x = numbers(rng, np.float32, (1, n))
            mask = rng.random((1, n)) < 0.8
            for y, axis in ((np.repeat(x, count, 0), 1), (np.repeat(x.T, count, 1), 0)):
                where = np.broadcast_to(mask if axis else mask.T, y.shape)
                got = np.moveaxis(np.asarray(call(op, y, axis, where=where)), -1 if op == "logsumexp" else axis, -1)
                first = got.ravel()[0] if op == "logsumexp" else got[0]
                same_bits(np.broadcast_to(first, got.shape).copy(), got.copy())


def test_threads_share_blocks(rng, restore_threads):
    x = numbers(rng, np.float32, (700, 900))
    mask = rng.random(x.shape) < 0.5
    results = []
    for count in (1, 2):
        set_num_threads(count)
        results.append([call(op, x, axis, where=mask) for op in OPS for axis in (0, 1)])
    for one, two in zip(*results, strict=True):
        same_bits(one, two)


def test_rows_that_no_room_is_kept_for(rng):
    x = numbers(rng, np.float64, (2, tiles.ROOM // 8 + 5))
    mask = rng.random(x.shape) < 0.5
    for op in OPS:
        close(
            np.asarray(call(op, x, 1, where=mask)),
            np.stack([call(op, a, where=m) for a, m in zip(x, mask, strict=True)]),
        )
        close(np.asarray(call(op, np.repeat(x, 2, 1)[:, ::2], 1)), call(op, x, 1))


def test_room_is_used_again_but_not_twice_at_once(rng, monkeypatch):
    """A signal handler may call in the middle of a call."""
    x, other = numbers(rng, np.float32, (40, 300))[::-1, ::-1], numbers(rng, np.float32, (50, 300))[:, ::-1]
    expected, expected_other = call("softmax", x, 1), call("softmax", other, 1)
    write, rooms = np.copyto, []

    def interrupted(to, values, *more, **keywords):
        write(to, values, *more, **keywords)
        if values.shape == x.shape:
            rooms.append(len(tiles._spare))
            same_bits(call("softmax", other, 1), expected_other)

    monkeypatch.setattr(np, "copyto", interrupted)
    for _ in range(3):
        same_bits(call("softmax", x, 1), expected)
    assert len(rooms) == 3
    assert rooms[1:] == [1, 1]
