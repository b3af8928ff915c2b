"""Which kernels suit the shape, type and strides of an array, and how columns are cut into strips."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastsoftmax import arrays
from fastsoftmax.kernels import (
    columns,
    folded_columns,
    large_rows,
    large_short_rows,
    narrow,
    rows,
    short_columns,
    short_rows,
)
from fastsoftmax.kernels.strips import CHUNK
from fastsoftmax.simd import READS_FLOAT16

WIDEST = 4096  # bytes of a row that make a strip of columns
KEPT_OUT, KEPT_TILE = 2, 4  # by how much narrower they are where softmax keeps its terms in the result, in the tile
NEAR = 2**19  # bytes of such terms that a strip has: with as many of x they should stay in a near cache ...
LEAST = 512  # ... but not where a strip would have fewer bytes of a row
STRIPS = 4  # for each thread at least, unless they would be too narrow
NARROWEST = 64  # columns of a plane that do not share a strip with those of others
SHORT = {"softmax": 200, "log_softmax": 64, "logsumexp": 32}  # elements at most of columns done as narrow rows are, ...
SHORT_IF_LARGE = 32  # ... of large results, longer pieces of rows suit memory, ...
SHORT_PAST_CACHES, LINE, CROWDED = 200, 64, 512  # ... unless they go past caches: whole lines, not many in one place
LEAST_IN_LINES = 3 * 2**10  # bytes of a row from which on it pays that a result lies in lines as x does
SHORT_IF_COLLIDING, COLLIDING = 24, 1024  # ... and where a multiple of so many bytes is between: a cache has no room
FOLDED = 512  # bytes of a row of a folded matrix at most; half of them in a small one, ...
SMALL_FOLDED = 2**14  # ... of less elements than this; twice as many where they make no whole vectors
LEAST_FOLDED = {8: 2**10, 24: 6000, 63: 2**20}  # elements of a folded matrix at least, of up to so many columns, ...
LEAST_FOLDED_SOFTMAX = 6000  # ... and where terms are kept
LEAST_FOLDED_WIDE = 2**20  # ... and of more columns, at most so many:
MOST_FOLDED = {"softmax": 1024, "log_softmax": 512, "logsumexp": 63}
PAST_CACHES = 2**24  # bytes of a result: from there on all but narrow rows go past the caches, ...
COLUMNS_PAST_CACHES = 2**23  # ... and from here on short columns, which are written to many rows at once
CROWDING, MOST_ALONG_ROWS = 512, 3 * 2**22  # elements between rows; bytes of a result that stays in caches
TALL = 1024  # rows of a strip that softmax keeps in a tile, where it cannot in the result; else e^x is computed twice

ROWS = {
    narrow: "narrow rows",
    short_rows: "short rows",
    rows: "rows",
    large_short_rows: "large rows",
    large_rows: "large rows",
}  #: what kernels are for
COLUMNS = {short_columns: "short columns", folded_columns: "folded columns", columns: "columns"}


def reads(dtype: np.dtype[Any], textbook: Any = None) -> bool:
    """Tell whether kernels read and write this type: those of the textbook, unless that is None, or the tuned ones."""
    is_half = arrays.is_half(dtype) and (READS_FLOAT16 or dtype != np.float16)
    return dtype in arrays.NATIVE or (textbook is None and is_half and dtype.isnative)


def is_large(elements: int, dtype: np.dtype[Any]) -> bool:
    """Tell whether so many are more than caches have room for, beside as many others."""
    return elements * dtype.itemsize >= PAST_CACHES


def row_kernels(op: str, many: int, n: int, compute_type: str, past_caches: bool = False) -> Any:
    """Return the module of kernels for so many rows of n elements, which write `past_caches` if that is wanted.

    But narrow rows never do.
    """
    is_narrow, is_short = narrow.is_narrow(many, n, compute_type), short_rows.is_short(many, n, compute_type)
    if is_short and not (is_narrow and op == "logsumexp"):  # of which nothing must be transposed back
        return large_short_rows if past_caches else short_rows
    if is_narrow:
        return narrow
    return large_rows if past_caches and n >= large_rows.LEAST else rows


def are_short(op: str, n: int, in_all: int, dtype: np.dtype[Any], pitches: tuple[int, ...], in_place: bool) -> bool:
    """Tell whether columns of n elements, rows so far apart, are to be done as narrow rows."""
    bytes_apart = [pitch * dtype.itemsize for pitch in pitches]
    limit = SHORT[op]
    if is_large(n * in_all, dtype):
        in_lines = bool(bytes_apart) and all(apart % LINE == 0 and apart % CROWDED for apart in bytes_apart)
        past_caches = in_lines and op != "logsumexp" and not in_place
        limit = SHORT_PAST_CACHES if past_caches else min(limit, SHORT_IF_LARGE)
    if any(apart % COLLIDING == 0 for apart in bytes_apart):
        limit = SHORT_IF_COLLIDING
    return n <= limit


def folded_width(op: str, n: int, inner: int, dtype: np.dtype[Any]) -> int:
    """Return the columns of a folded matrix of n * inner elements: as many rows as make whole vectors, or nearly.

    Vectors one below the other should not all want the same places in a cache: so no multiple of 256 bytes.
    """
    itemsize = arrays.compute_type(dtype).itemsize
    is_small, whole = n * inner < SMALL_FOLDED, math.lcm(inner, 64 // itemsize)
    if inner >= NARROWEST:
        return whole if whole <= MOST_FOLDED[op] else inner
    widest = FOLDED // itemsize // (2 if is_small else 1)
    if whole > widest:
        widest *= 1 if is_small else 2
        return max(1, widest // inner) * inner
    times = widest // whole
    return whole * (times - 1 if times > 1 and whole * times * itemsize % 256 == 0 else times)


def collide(pitches: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Tell whether a cache has the same place for all elements of a column, rows of x or of the result so far apart."""
    return any(pitch * dtype.itemsize % 4096 == 0 for pitch in pitches)


def are_folded(op: str, n: int, inner: int, dtype: np.dtype[Any], pitches: tuple[int, ...]) -> bool:
    """Tell whether matrices of so few columns are to be folded: their rows must lie behind one another."""
    if any(pitch != inner for pitch in pitches):
        return False
    if inner >= NARROWEST:  # that threads can share them
        is_crowded = inner * dtype.itemsize % 256 == 0 and not is_large(n * inner, dtype)
        if op == "softmax" and collide(pitches, dtype):
            return False
        return inner <= MOST_FOLDED[op] and n * inner >= LEAST_FOLDED_WIDE and not is_crowded
    least = min(least for columns, least in LEAST_FOLDED.items() if inner <= columns)
    return n * inner >= (min(least, LEAST_FOLDED_SOFTMAX) if op == "softmax" else least)


def kernels_of_blocks(op: str, n: int, in_all: int, dtype: np.dtype[Any], are_columns: bool) -> Any:
    """Return the module of kernels for all blocks of rows or columns of n elements, `in_all` of them in all blocks."""
    if are_columns:
        return short_columns if are_short(op, n, in_all, dtype, (), False) else columns
    return row_kernels(op, in_all, n, arrays.compute_name(dtype))


def column_kernels(
    op: str, n: int, inner: int, in_all: int, dtype: np.dtype[Any], pitches: tuple[int, int], in_place: bool
) -> Any:
    """Return the module of kernels for columns of n elements, rows of x and of the result so far apart."""
    known = pitches[:1] if op == "logsumexp" else pitches
    if are_short(op, n, in_all, dtype, known, in_place):
        return short_columns
    return folded_columns if are_folded(op, n, inner, dtype, known) else columns


def are_in_lines(op: str, kernels: Any, inner: int, pitches: tuple[int, int], dtype: np.dtype[Any]) -> bool:
    """Tell whether it pays that a new result has the same place in a cache line as x.

    It does for softmax, where rows are whole lines apart: then all vectors but a few are whole lines in both.
    """
    is_regular = all(pitch * dtype.itemsize % LINE == 0 for pitch in pitches)
    is_read = op == "softmax" and kernels is not folded_columns and dtype in arrays.NATIVE
    return is_read and is_regular and inner * dtype.itemsize >= LEAST_IN_LINES


def are_along_rows(kernels: Any, elements: int, pitches: tuple[int, int], dtype: np.dtype[Any]) -> bool:
    """Tell whether softmax of columns, so many elements, should compute its terms along the rows: if they crowd."""
    are_crowded = any(pitch % CROWDING == 0 for pitch in pitches)
    return kernels is columns and are_crowded and elements * dtype.itemsize <= MOST_ALONG_ROWS


def has_room_for_terms(
    kernels: Any, inner: int, pitches: tuple[int, int], dtype: np.dtype[Any], along_rows: bool
) -> bool:
    """Tell whether softmax of columns, rows of x and of its result so far apart, should keep its terms in the result.

    Not down columns where a cache has one place for all elements; nor are narrow planes worth it, but folded.
    """
    has_room = inner >= NARROWEST and (along_rows or not collide(pitches, dtype))
    return dtype in arrays.NATIVE and (has_room or kernels is folded_columns)


def strips(
    op: str, n: int, inner: int, planes: int, dtype: np.dtype[Any], in_out: bool, sharers: int, kernels: Any
) -> tuple[int, int, int]:
    """Return how many columns make a strip, how many rows of it a tile holds, and how many strips there are.

    `in_out` tells that softmax may keep its terms in the result; `sharers` is how many threads share the strips. Narrow
    planes share a strip. A column's result does not depend on any of this.
    """
    if kernels is folded_columns:
        return folded_width(op, n, inner, dtype), 0, planes
    itemsize = arrays.compute_type(dtype).itemsize
    lanes = 64 // itemsize
    reads_x = dtype in arrays.NATIVE and inner >= NARROWEST
    in_tile = op == "softmax" and not in_out and n <= TALL
    widest = WIDEST // itemsize
    if op == "softmax" and (in_out or in_tile) and kernels is columns:
        widest //= KEPT_OUT if in_out else KEPT_TILE
        widest = min(widest, max(LEAST, NEAR // n) // itemsize)
    if sharers > 1:
        widest = min(widest, max(NARROWEST, inner * planes // (STRIPS * sharers)))
    tile_rows = n if in_tile else CHUNK
    if inner <= widest:
        width = inner if reads_x else min(widest, inner * planes)
        return width, tile_rows, -(-planes // (width // inner))
    width = -(-inner // (-(-inner // widest) * lanes)) * lanes
    return width, tile_rows, -(-inner // width) * planes


def cut_columns(
    op: str,
    n: int,
    inner: int,
    planes: int,
    in_all: int,
    dtype: np.dtype[Any],
    pitches: tuple[int, int],
    in_place: bool,
    sharers: int,
    kernels: Any = None,
) -> tuple[Any, tuple[int, int, int], int]:
    """Return the module of kernels for columns, (width, tile_rows, a flag) as these want them, and how many strips.

    For folded columns the second is the address of notes, 0 for their own.

    There are `in_all` columns of n elements, of which `planes` times `inner` are done at a time; rows of x and of the
    result are `pitches` apart, and `sharers` is how many threads share the strips. Kernels that are given are taken.
    """
    kernels = kernels or column_kernels(op, n, inner, in_all, dtype, pitches, in_place)
    along_rows = are_along_rows(kernels, n * in_all, pitches, dtype)
    in_out = op == "softmax" and not in_place and has_room_for_terms(kernels, inner, pitches, dtype, along_rows)
    width, tile_rows, blocks = strips(op, n, inner, planes, dtype, in_out, sharers, kernels)
    flag = 2 if in_out and along_rows else in_out
    if kernels is short_columns or (kernels is folded_columns and op == "log_softmax"):  # whether it goes past caches
        least = COLUMNS_PAST_CACHES if kernels is short_columns else PAST_CACHES
        flag = not in_place and n * in_all * dtype.itemsize >= least
    return kernels, (width, tile_rows, int(flag)), blocks
