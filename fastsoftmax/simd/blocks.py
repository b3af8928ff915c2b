"""Blocks of rows: some elements of each row of a vector's width, the rows becoming lanes."""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastsoftmax.simd.storage import address, alignment, from_memory, memory_type, to_memory
from fastsoftmax.simd.vector import GROUP, Vector, joined, shuffle, vector_of


def _transpose(builder, rows):
    """Transpose 2 or 4 vectors within every 2 or 4 lanes."""
    count, lanes = len(rows), rows[0].type.count

    def interleave(a, b, size):
        """Return the lower halves of every `count` lanes of a and b in turn, `size` at a time, and the upper ones."""
        numbers = np.arange(lanes).reshape(-1, 2, count // 2 // size, 1, size)
        both = np.concatenate([numbers, numbers + lanes], axis=3)
        return [shuffle(builder, a, b, both[:, half].ravel().tolist()) for half in (0, 1)]

    if count == 2:
        return interleave(*rows, 1)
    a, b, c, d = rows
    (ab, ab_upper), (cd, cd_upper) = interleave(a, b, 1), interleave(c, d, 1)
    return interleave(ab, cd, 2) + interleave(ab_upper, cd_upper, 2)


def _row_pieces(context, builder, array, value, start, step, columns):
    """Return where `columns` elements of each of a vector's width of rows lie, a list for each vector to transpose.

    Such a vector consists of every `columns`-th row: then the rows come out in their order.
    """
    piece = memory_type(array, Vector(vector_of(array).dtype, columns))
    i64 = ir.IntType(64)

    def place(row):
        index = builder.add(start, builder.mul(step, i64(row)))
        return address(context, builder, array, value, index, piece)

    rows = vector_of(array).lanes
    return [[place(row) for row in range(first, rows, columns)] for first in range(columns)]


def _load_columns(count, x):
    vector = vector_of(x)
    group = Vector(vector.dtype, count * vector.lanes)

    def codegen(context, builder, sig, values):
        x_value, start, step = values
        rows = []
        for places in _row_pieces(context, builder, x, x_value, start, step, count):
            raw = joined(builder, [builder.load(place, align=alignment(x)) for place in places])
            rows.append(from_memory(builder, x, vector, raw))
        return joined(builder, _transpose(builder, rows))

    return group(x, types.intp, types.intp), codegen


@intrinsic
def load_columns(typingctx, x, start, step):
    """Return four elements of each of a vector's width of rows: a group of which each vector holds a column.

    Row r begins at x[start + r * step]. A row's four are loaded at once, so that only a part of the transposition
    remains to be done in registers.
    """
    return _load_columns(GROUP, x)


@intrinsic
def load_two_columns(typingctx, x, start, step):
    """Return what `load_columns` does for two elements of each row."""
    return _load_columns(2, x)


@intrinsic
def store_columns(typingctx, out, start, step, columns):
    """Write two or four columns to rows of `out`: the reverse of `load_columns`."""
    vector = vector_of(out)
    count = columns.lanes // vector.lanes

    def codegen(context, builder, sig, values):
        out_value, start, step, value = values
        parts = [
            shuffle(builder, value, value, range(k, k + vector.lanes)) for k in range(0, columns.lanes, vector.lanes)
        ]
        pieces = _row_pieces(context, builder, out, out_value, start, step, count)
        for row, places in zip(_transpose(builder, parts), pieces, strict=True):
            raw = to_memory(builder, out, vector, row)
            for k, place in enumerate(places):
                part = shuffle(builder, raw, raw, range(count * k, count * (k + 1)))
                builder.store(part, place, align=alignment(out))
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, columns), codegen
