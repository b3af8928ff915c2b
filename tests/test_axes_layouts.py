"""Every form of axis, every memory layout, and the sizes where vectors and blocks begin and end."""

import itertools

import exactly
import numpy as np
import pytest
from helpers import FLOATS, LAYOUTS, OPS, SAFE, WRITABLE, assert_exact, call, same_bits


def all_axes(ndim):
    """None, (), every int, every tuple of distinct axes in any order, negative ones too."""
    yield None
    yield from range(-ndim, ndim)
    for size in range(1, ndim + 1):
        yield from itertools.permutations(range(ndim), size)
    if ndim > 1:
        yield (-1, 0)
        yield (np.int64(0), np.int8(-1))


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_every_axis(op, dtype, method, rng):
    for shape in ((6,), (4, 19), (3, 1, 17), (2, 5, 3, 4)):
        x = rng.normal(0, 10, shape).astype(dtype)
        for axis in all_axes(x.ndim):
            assert_exact(op, x, axis, call(op, x, axis, method=method), method, note=f"{shape} axis {axis}:")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("method", SAFE)
def test_no_axis_at_all_makes_every_element_a_row(method, dtype):
    for shape in ((), (3,), (2, 3)):
        x = np.full(shape, -1.25, dtype)
        same_bits(call("softmax", x, (), method=method), np.ones(shape, dtype))
        np.testing.assert_array_equal(call("log_softmax", x, (), method=method), np.zeros(shape, dtype))
        np.testing.assert_array_equal(call("logsumexp", x, (), method=method), x)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_every_layout(op, dtype, layout, rng):
    for shape in ((37,), (12, 23), (3, 40, 5), (2, 3, 18, 2)):
        x = LAYOUTS[layout](rng.normal(0, 10, shape).astype(dtype))
        before = x.tobytes()
        for axis in [None, *range(x.ndim), tuple(range(x.ndim))[::2], tuple(range(x.ndim))[1:]]:
            true = exactly.exact(op, x, axis)
            for method in SAFE:
                got = call(op, x, axis, method=method)
                assert_exact(op, x, axis, got, method, true=true, note=f"{shape} axis {axis}:")
        assert x.tobytes() == before


@pytest.mark.parametrize("layout", WRITABLE)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_every_layout_of_out(op, dtype, layout, rng):
    for shape in ((37,), (12, 23), (3, 18, 5)):
        x = rng.normal(0, 10, shape).astype(dtype)
        for axis in [None, *range(x.ndim), (0,), (0, -1)][: 2 + 2 * x.ndim]:
            if isinstance(axis, tuple) and x.ndim < len(axis):
                continue
            plain = np.asarray(call(op, x, axis))
            out = LAYOUTS[layout](np.full_like(plain, 7))
            result = call(op, x, axis, out=out)
            assert result is out
            np.testing.assert_allclose(out, plain, rtol=8 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)


@pytest.mark.parametrize("op", OPS)
def test_broadcast_input(op, rng):
    row = rng.normal(0, 5, 41).astype(np.float32)
    for x, axis in (
        (np.broadcast_to(row, (7, 41)), 1),
        (np.broadcast_to(row[:, None], (41, 7)), 0),
        (np.broadcast_to(row[:, None], (41, 7)), 1),
        (np.broadcast_to(row, (3, 7, 41)), (0, 2)),
        (np.broadcast_to(np.float32(2.5), (100,)), 0),
    ):
        for method in SAFE:
            assert_exact(op, x, axis, call(op, x, axis, method=method), method)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_every_narrow_row(op, dtype, rng):
    # full and broken tiles of rows, for each width
    for n in range(1, 41):
        for outer in (1, 3, 16, 17, 300):
            x = rng.normal(0, 8, (outer, n)).astype(dtype)
            true = exactly.exact(op, x, 1)
            for method in SAFE if outer == 17 else ("auto",):
                assert_exact(op, x, 1, call(op, x, 1, method=method), method, true=true, note=f"{x.shape}:")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_sizes_around_vectors_and_blocks(op, dtype, rng):
    borders = (32, 64, 100, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
    for n in sorted({b + d for b in borders for d in (-1, 0, 1)}):
        x = rng.normal(0, 8, (1, n)).astype(dtype)
        true = exactly.exact(op, x, 1)
        for method in SAFE:
            assert_exact(op, x, 1, call(op, x, 1, method=method), method, true=true, note=f"{x.shape}:")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_columns(op, dtype, rng):
    inners = (1, 2, 3, 7, 15, 16, 17, 33, 63, 64, 65, 127, 129, 1000, 1024, 1025, 4097)
    for inner in inners:
        for n in (1, 2, 5, 33):
            x = rng.normal(0, 8, (n, inner)).astype(dtype)
            assert_exact(op, x, 0, call(op, x, 0), note=f"{x.shape}:")
    x = rng.normal(0, 8, (3, 29, 70)).astype(dtype)
    for method in SAFE:
        assert_exact(op, x, 1, call(op, x, 1, method=method), method)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((2, 100_003), 1), ((100_003, 2), 0), ((30_000, 3), 1), ((3, 30_000), 0), ((7, 300, 50), 1)],
)
def test_wide_and_tall(op, shape, axis, rng):
    x = rng.normal(0, 8, shape).astype(np.float32)
    for method in SAFE:
        assert_exact(op, x, axis, call(op, x, axis, method=method), method)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
def test_nothing_is_written_around_out(op, dtype, rng):
    for shape, axis in itertools.product(((1, 5), (3, 17), (70, 10), (2, 300), (33, 65), (300, 2)), (0, 1)):
        x = rng.normal(0, 8, shape).astype(dtype)
        for method in SAFE:
            room = np.full((shape[0] + 4, shape[1] + 6), -3, dtype)
            inside = room[2:-2, 3:-3]
            call(op, x, axis, out=inside, method=method)
            np.testing.assert_array_equal(inside, call(op, x, axis, out=np.empty_like(inside), method=method))
            inside[...] = -3
            assert (room == -3).all(), (shape, axis, method)
            flat = np.full(x.size + 200, -3, dtype)  # contiguous, so that kernels may write straight into it
            call(op, x, axis, out=flat[100:-100].reshape(shape), method=method)
            assert (flat[:100] == -3).all(), (shape, axis, method)
            assert (flat[-100:] == -3).all(), (shape, axis, method)


@pytest.mark.parametrize("dtype", FLOATS)
def test_nothing_is_written_around_the_out_of_logsumexp(dtype, rng):
    for shape, axis in itertools.product(((1, 5), (19, 17), (70, 10), (2, 300), (300, 2)), (0, 1)):
        x = rng.normal(0, 8, shape).astype(dtype)
        for method, step in itertools.product(SAFE, (1, 2)):
            m = shape[1 - axis]
            flat = np.full(step * m + 100, -3, dtype)
            inside = flat[50 : 50 + step * m : step]
            call("logsumexp", x, axis, out=inside, method=method)
            assert_exact("logsumexp", x, axis, inside, method)
            inside[...] = -3
            assert (flat == -3).all(), (shape, axis, method)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_nothing_around_the_input_is_read(op, dtype, rng):
    # NaN and inf on both sides of the data would poison any sum or maximum that strays
    for n in (*range(1, 20), 31, 32, 33, 63, 65, 127, 1000, 1023):
        for rows in (1, 3):
            room = np.full((rows * n + 256,), np.nan, dtype)
            room[::2] = np.inf
            x = room[128:-128].reshape(rows, n)
            x[...] = rng.normal(0, 8, x.shape)
            for axis in (0, 1):
                assert_exact(op, x, axis, call(op, x, axis), note=f"{x.shape}:")


@pytest.mark.parametrize("op", OPS)
def test_memory_maps(op, rng, tmp_path):
    x = np.memmap(tmp_path / "x.bin", np.float32, "w+", shape=(5, 33))
    x[...] = rng.normal(0, 3, x.shape)
    x.flush()
    x = np.memmap(tmp_path / "x.bin", np.float32, "r", shape=(5, 33))
    assert_exact(op, np.asarray(x), 1, np.asarray(call(op, x, 1)))


@pytest.mark.parametrize("method", ["auto", "stable"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
def test_every_pair_of_steps(op, dtype, method, rng):
    """Each axis of x and of `out` forwards, backwards or in steps: the right result, and nothing written around it."""

    def view(steps, shape):
        room = np.full([2 * abs(step) * size + 8 for step, size in zip(steps, shape, strict=True)], -3, dtype)
        starts = [4 if step > 0 else 4 + (size - 1) * -step for step, size in zip(steps, shape, strict=True)]
        places = [start + step * np.arange(size) for start, step, size in zip(starts, steps, shape, strict=True)]
        cuts = [
            slice(p[0], p[-1] + step if p[-1] + step >= 0 else None, step)
            for p, step in zip(places, steps, strict=True)
        ]
        return room, room[tuple(cuts)]

    for shape in ((1, 5), (5, 1), (3, 17), (6, 20), (7, 7)):
        values = rng.normal(0, 5, shape).astype(dtype)
        values[-1, -1], values[0, 0] = np.nan, 1e30  # these columns are done one by one
        plain = {axis: call(op, values, axis, method=method) for axis in (0, 1)}
        pairs = itertools.product(itertools.product((1, -1, 2), repeat=2), itertools.product((1, -1, -2), repeat=2))
        for steps, out_steps in pairs:
            _, x = view(steps, shape)
            x[...] = values
            room, out = view(out_steps, shape)
            for axis, expected in plain.items():
                call(op, x, axis, out=out, method=method)
                tolerance = 8 * np.finfo(dtype).eps
                note = f"{shape} axis {axis} steps {steps} to {out_steps}"
                np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance, err_msg=note)
                out[...] = -3
                assert (room == -3).all(), note


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", FLOATS)
def test_logsumexp_backwards(dtype, method, rng):
    """x and `out` run backwards along any axis; sums near 0 are done one by one."""
    shapes = (((7, 7), 0), ((5, 40), 0), ((5, 40), 1), ((300, 3), 1), ((3, 6, 20), 1), ((3, 20, 6), 2), ((3, 7, 20), 0))
    for shape, axis in shapes:
        x = rng.normal(0, 5, shape).astype(dtype)
        x -= call("logsumexp", x, axis, keepdims=True) + dtype(0.2)
        true = exactly.exact("logsumexp", x, axis)
        for flipped in range(len(shape)):
            y = np.flip(np.flip(x, flipped).copy(), flipped)
            room = np.full(np.array(true.shape) + 2, -3, dtype)
            inside = room[(slice(1, -1),) * room.ndim]
            for out in (inside, inside[::-1], inside[..., ::-1]):
                got = call("logsumexp", y, axis, out=out, method=method)
                assert_exact("logsumexp", x, axis, got, method, true=true)
                inside[...] = -3
                assert (room == -3).all()
    n = 2**18 + 2**17
    x = rng.normal(0, 5, (3, n)).astype(dtype)
    out = np.full(5, -3, dtype)
    call("logsumexp", x[::-1], 1, out=out[3:0:-1], method=method)
    np.testing.assert_array_equal(out[[0, 4]], -3)
    np.testing.assert_allclose(out[1:4], call("logsumexp", x, 1), rtol=n * np.finfo(dtype).eps)
