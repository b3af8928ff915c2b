"""Columns whose vectors are whole cache lines, behind a few that are not: the same bits wherever arrays begin."""

import itertools

import numpy as np
import pytest
from helpers import FLOATS, OPS, assert_exact, call, same_bits
from test_columns import columns_of_many_kinds

import fastsoftmax

LINE = 64  # bytes
# planes, rows and columns: short columns and long ones, one strip and some, terms kept in the result and not
SHAPES = [(1, 5, 512), (3, 20, 272), (1, 130, 256), (2, 201, 272), (1, 260, 1024), (1, 65, 1200), (1, 30, 2048)]


def room_at(place, shape, dtype):
    """An array that begins so many elements behind a line, and the memory around it, which holds a pattern."""
    size = np.dtype(dtype).itemsize
    memory = np.full(int(np.prod(shape)) * size + 4 * LINE, 0xA5, np.uint8)
    first = -memory.ctypes.data % LINE + LINE + place * size
    return memory[first:][: int(np.prod(shape)) * size].view(dtype).reshape(shape), memory


def is_intact_beside(array, memory):
    first = array.ctypes.data - memory.ctypes.data
    return (memory[:first] == 0xA5).all() and (memory[first + array.nbytes :] == 0xA5).all()


def planes_of_columns(planes, n, inner, dtype, rng):
    """Columns of many kinds, each of them in any place of a vector: 47 and a vector's width have no common factor."""
    x = columns_of_many_kinds(dtype, n, rng)[:, :47]
    return np.resize(np.tile(x, (1, inner * planes // 47 + 1)).T, (planes, inner, n)).transpose(0, 2, 1)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_the_same_bits_wherever_arrays_begin(op, dtype, rng):
    lanes = LINE // np.dtype(dtype).itemsize
    for shape in SHAPES:
        values = planes_of_columns(*shape, dtype, rng)
        known = np.isfinite(values).all(1)
        expected = None
        for x_place, out_place in itertools.product((0, 1, lanes // 4, lanes - 1), (0, lanes // 4, lanes - 1)):
            note = f"{shape}, {x_place} and {out_place} elements behind a line"
            x, _ = room_at(x_place, shape, dtype)
            x[...] = values
            if op == "logsumexp":
                results = [call(op, x, 1)]
            else:
                out, memory = room_at(out_place, shape, dtype)
                in_place, in_memory = room_at(out_place, shape, dtype)
                in_place[...] = values
                results = [call(op, x, 1, out=out), call(op, in_place, 1, out=in_place), call(op, x, 1)]
                assert is_intact_beside(out, memory), note
                assert is_intact_beside(in_place, in_memory), note
            if expected is None:
                expected = results[0].copy()
                columns = expected.reshape(len(expected), -1, shape[2]).transpose(1, 0, 2)[:, known]
                x_known = values.transpose(1, 0, 2)[:, known]
                assert_exact(op, x_known, 0, columns[0] if op == "logsumexp" else columns)
            for result in results:
                same_bits(result, expected)


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
def test_a_new_result_is_aligned_even_if_x_is_not(op):
    for shape in ((30, 100_000), (520, 1024)):  # what goes past the caches must be whole vectors, aligned
        memory = np.zeros(4 * shape[0] * shape[1] + LINE, np.uint8)
        for place in (1, 2, 62):
            x = memory[place:][: memory.size - LINE].view(np.float32).reshape(shape)
            x[...] = np.arange(x.size).reshape(shape) % 7
            result = call(op, x, 0)
            assert result.flags.aligned
            same_bits(result, call(op, x.copy(), 0))


def test_a_new_result_has_the_place_of_x_in_a_line(rng):
    for place in (0, 4, 12):
        for n, inner in ((500, 1024), (200, 768), (500, 512), (500, 500), (500, 48)):
            x, _ = room_at(place, (n, inner), np.float32)
            x[...] = rng.normal(0, 1, x.shape)
            for op in ("softmax", "log_softmax"):
                results = [call(op, x, 0) for _ in range(2)]
                if op == "softmax" and n * inner >= 2**17:
                    assert [r.ctypes.data % LINE for r in results] == [4 * place * (inner in (768, 1024))] * 2
                same_bits(results[1], call(op, x, 0, out=np.empty_like(x)))
    x = np.asfortranarray(rng.normal(0, 1, (1024, 500)).astype(np.float32))
    result = fastsoftmax.softmax(x, 1)
    assert result.ctypes.data % LINE == x.ctypes.data % LINE
    assert result.strides == x.strides
