"""`out` that shares memory with what is read: any shift, direction, axis and layout does as separate memory would."""

import itertools

import numpy as np
import pytest
from helpers import FLOATS, OPS, SAFE, call, same_bits

import fastsoftmax
from fastsoftmax import logsumexp

MAPS = ("softmax", "log_softmax")
SIDE = 36


def windows():
    """Pairs of equally shaped views of a square: what is read, and where the result goes."""
    for axis, by in itertools.product((0, 1), (1, 2, 3, 7, 16, 17)):
        low, high = slice(None, -by), slice(by, None)
        for name, source, target in (("up", low, high), ("down", high, low)):
            cut = [slice(None)] * 2
            views = []
            for part in (source, target):
                cut[axis] = part
                views.append(tuple(cut))
            yield f"shifted {name} by {by} along {axis}", *views
    yield "itself", np.s_[:], np.s_[:]
    yield "reversed", np.s_[::-1, ::-1], np.s_[:]
    yield "reversed rows", np.s_[::-1], np.s_[:]
    yield "reversed columns", np.s_[:, ::-1], np.s_[:]
    yield "its reverse", np.s_[:], np.s_[::-1, ::-1]
    yield "every second, from 0 and 1", np.s_[:, :-1:2], np.s_[:, 1::2]
    yield "every second, and the front", np.s_[:, ::2], np.s_[:, : SIDE // 2]
    yield "every second row, and the back", np.s_[::2], np.s_[SIDE // 2 :]
    yield "the same rows, other steps", np.s_[: SIDE // 2, ::2], np.s_[::2, : SIDE // 2]
    yield "a shifted reverse", np.s_[1:, ::-1], np.s_[:-1]
    yield "the same every second", np.s_[::2, 1::2], np.s_[::2, 1::2]


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", MAPS)
def test_out_overlaps_the_input(op, dtype, method, rng):
    values = rng.normal(0, 9, (SIDE, SIDE)).astype(dtype)
    for (name, source, target), axis in itertools.product(windows(), (None, 0, 1)):
        for masked in (False, True) if axis == 1 else (False,):
            base = values.copy()
            x, out = base[source], base[target]
            arguments = {"where": rng.random(x.shape) < 0.7} if masked else {}
            apart = np.empty_like(base)[target]  # the layout decides the way, and so may decide the last bit
            plain = call(op, x.copy(), axis, out=apart, method=method, **arguments).copy()
            around = np.ones(base.shape, bool)
            around[target] = False
            assert call(op, x, axis, out=out, method=method, **arguments) is out
            eps = np.finfo(dtype).eps
            np.testing.assert_allclose(out, plain, rtol=8 * eps, atol=8 * eps, err_msg=f"{name}, axis {axis}")
            same_bits(base[around], values[around])


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("op", MAPS)
def test_out_is_the_transpose_of_the_input(op, method, rng):
    for shape, order in (((40, 40), (1, 0)), ((9, 9, 9), (2, 0, 1)), ((9, 9, 9), (0, 2, 1)), ((3, 17, 17), (0, 2, 1))):
        for axis in (None, *range(len(shape))):
            x = rng.normal(0, 9, shape).astype(np.float32)
            plain = call(op, x.copy(), axis, method=method)
            out = x.transpose(order)
            assert call(op, x, axis, out=out, method=method) is out
            np.testing.assert_allclose(out, plain, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shift", [1, -1, 5, 4096, -65536, 100_000])
@pytest.mark.parametrize("op", MAPS)
def test_long_rows_overlap(op, shift, rng, restore_threads):
    n = 2**18 + 2**17 + 3
    values = rng.normal(0, 9, n + abs(shift)).astype(np.float32)
    low, high = slice(None, n), slice(abs(shift), None)
    source, target = (low, high) if shift > 0 else (high, low)
    plain = call(op, values[source].copy())
    for method, threads in (("auto", 1), ("parallel", 3), ("stable", 1)):
        fastsoftmax.set_num_threads(threads)
        base = values.copy()
        call(op, base[source], out=base[target], method=method)
        np.testing.assert_allclose(base[target], plain, rtol=1e-4, atol=1e-5)
    base = values[source].copy()
    call(op, base, out=base[::-1])
    np.testing.assert_allclose(base[::-1], plain, rtol=1e-6)


@pytest.mark.parametrize("op", MAPS)
def test_other_types_of_the_same_memory(op, rng):
    x = rng.normal(0, 3, (8, 16))
    for source, target in (("f8", "f4"), ("f4", "f2"), ("i8", "f8"), (">f8", "f8"), ("f8", ">f8"), ("i4", "f4")):
        base = x.astype(source)
        plain = call(op, base.copy(), 1)
        out = base.view(target)[:, :16]
        assert call(op, base, 1, out=out) is out
        np.testing.assert_allclose(out, plain, rtol=2e-3 if target == "f2" else 1e-6, atol=1e-5)


@pytest.mark.parametrize("method", SAFE)
def test_out_of_logsumexp_overlaps_the_inputs(method, rng):
    targets = (np.s_[:, 0], np.s_[:, 1], np.s_[0], np.s_[::-1, 7], np.s_[-1, ::-1])
    for axis, target in itertools.product((0, 1), targets):
        a = rng.normal(size=(30, 30))
        plain = logsumexp(a.copy(), axis, method=method)
        logsumexp(a, axis, out=a[target], method=method)
        same_bits(a[target], plain)
        a, b, keep = rng.normal(size=(30, 30)), rng.uniform(1, 2, (30, 30)), rng.random((30, 30)) < 0.5
        plain = logsumexp(a, axis, b.copy(), where=keep, method=method)
        logsumexp(a, axis, b, where=keep, out=b[target], method=method)
        same_bits(b[target], plain)


@pytest.mark.parametrize("start", [0, 1, 5, 47])
@pytest.mark.parametrize("op", OPS)
def test_out_overlaps_where(op, start, rng):
    x = rng.normal(size=(6, 8))
    keep = rng.random(x.shape) < 0.6
    for axis in (None, 0, 1):
        plain = call(op, x, axis, where=keep)
        shared = np.zeros(60)
        out = shared[: np.size(plain)].reshape(np.shape(plain))
        mask = shared.view(bool)[start : start + 48].reshape(6, 8)
        mask[...] = keep
        assert call(op, x, axis, where=mask, out=out) is out
        same_bits(out, np.asarray(plain))


@pytest.mark.parametrize("op", MAPS)
def test_where_is_a_broadcast_piece_of_out(op, rng):
    x = rng.normal(size=(64, 8))
    keep = rng.random(8) < 0.6
    out = np.zeros((64, 8))
    mask = out.view(bool)[3, :8]
    mask[...] = keep
    plain = call(op, x, 1, where=keep)
    same_bits(call(op, x, 1, where=mask, out=out), plain)


@pytest.mark.parametrize("op", OPS)
def test_x_is_where(op):
    x = np.array([[True, False, True], [False, False, True]])
    plain = call(op, x, 1, where=x.copy())
    same_bits(call(op, x, 1, where=x), plain)
