"""Tiles: a vector's width w of rows of a few elements, transposed, so that each lane of a vector is a row.

Element j of row r is tile[w * j + r]. Four elements of a row are moved at a time; where their number is no multiple of
four, the last four are, some of them again. So nothing outside a row is read or written.
"""

from fastsoftmax.jit import inline
from fastsoftmax.simd import (
    GROUP,
    copy_one,
    lanes,
    larger,
    largest_of_four,
    load,
    load_columns,
    load_two,
    load_two_columns,
    store,
    store_columns,
)


@inline
def load_rows(x, start, step, rows, n, tile):
    """Bring up to w rows of x into the tile and return their maxima; NaN is passed over."""
    width = lanes(x)
    if rows < width or n < GROUP:
        load_few(x, start, step, rows, n, tile)
        maximum = load(tile, 0)
        for j in range(1, n):
            maximum = larger(load(tile, width * j), maximum)
        return maximum
    columns = load_columns(x, start + n - GROUP, step)
    store(tile, width * (n - GROUP), columns)
    maximum = largest_of_four(columns)
    for j in range(0, n - GROUP, GROUP):
        columns = load_columns(x, start + j, step)
        store(tile, width * j, columns)
        maximum = larger(largest_of_four(columns), maximum)
    return maximum


@inline
def load_few(x, start, step, rows, n, tile):
    """Bring up to w rows of any length into the tile."""
    width = lanes(x)
    if rows == width and 2 <= n < GROUP:
        store(tile, 0, load_two_columns(x, start, step))
        if n > 2:
            store(tile, width * (n - 2), load_two_columns(x, start + n - 2, step))
    else:
        for k in range(rows):
            for j in range(n):
                copy_one(x, start + k * step + j, tile, width * j + k)


@inline
def store_few(tile, out, start, step, rows, n):
    """Bring the tile's columns to up to w rows of `out`, of any length."""
    width = lanes(out)
    if rows == width and 2 <= n < GROUP:
        store_columns(out, start, step, load_two(tile, 0))
        if n > 2:
            store_columns(out, start + n - 2, step, load_two(tile, width * (n - 2)))
    else:
        for k in range(rows):
            for j in range(n):
                copy_one(tile, width * j + k, out, start + k * step + j)


@inline
def into_column(out, start, tile, column, pitch, n):
    """Copy a row of `out` into a column of the tile."""
    for j in range(n):
        copy_one(out, start + j, tile, column + pitch * j)
