"""Tiles: a vector's width w of rows of a few elements, transposed, so that each lane of a vector is a row.

Element j of row r is tile[w * j + r]. Four elements of a row are moved at a time; where their number is no multiple of
four, the last four are, some of them again. So nothing outside a row is read or written.
"""

from fastsoftmax.jit import inline
from fastsoftmax.simd import (
    GROUP,
    anew,
    copy_one,
    lanes,
    larger,
    largest_of_four,
    load,
    load_columns,
    load_group,
    load_two,
    load_two_columns,
    store,
    store_columns,
)


@inline
def maximum_of(tile, n):
    """Return the largest elements of a tile's rows."""
    maximum = load(tile, 0)
    for j in range(1, n):
        maximum = larger(load(tile, lanes(tile) * j), maximum)
    return maximum


@inline
def load_rows(x, start, step, rows, n, tile):
    """Bring up to w rows of x into the tile and return their maxima; NaN is passed over."""
    width = lanes(x)
    if rows < width or n < GROUP:
        load_few(x, start, step, rows, n, tile)
        return maximum_of(tile, n)
    columns = load_columns(x, start + n - GROUP, step)
    store(tile, width * (n - GROUP), columns)
    maximum = largest_of_four(columns)
    for j in range(0, n - GROUP, GROUP):
        columns = load_columns(x, start + j, step)
        store(tile, width * j, columns)
        maximum = larger(largest_of_four(columns), maximum)
    return maximum


@inline
def exchange_rows(tile, n, value, factors, out, to, out_step, x, start, x_step):
    """Write value(v, *factors) of a tile to w rows of `out`, bring w rows of x into it and return their maxima.

    Rows have at least four elements; NaN is passed over. What is brought need not wait for what is written.
    """
    width, last, x_step, out_step = lanes(x), n - GROUP, anew(x_step), anew(out_step)
    end, columns = load_group(tile, width * last), load_columns(x, start + last, x_step)
    maximum = largest_of_four(columns)
    for j in range(0, last, GROUP):
        store_columns(out, to + j, out_step, value(load_group(tile, width * j), *factors))
        more = load_columns(x, start + j, x_step)
        store(tile, width * j, more)
        maximum = larger(largest_of_four(more), maximum)
    store_columns(out, to + last, out_step, value(end, *factors))
    store(tile, width * last, columns)
    return maximum


@inline
def exchange_few(tile, n, value, factors, out, to, out_step, x, start, x_step):
    """Do what `exchange_rows` does with rows of two or three elements."""
    x_step, out_step = anew(x_step), anew(out_step)
    left, right = load_two_columns(x, start, x_step), load_two_columns(x, start + n - 2, x_step)
    replace_each(tile, n, value, factors)
    store_few(tile, out, to, out_step, lanes(x), n)
    store(tile, 0, left)
    store(tile, lanes(x) * (n - 2), right)
    return maximum_of(tile, n)


@inline
def exchange(tile, n, value, factors, groups, out, to, out_step, x, start, x_step):
    """Do what `exchange_rows` does with rows of two elements or more; `groups` are the factors of four vectors."""
    if n < GROUP:
        maximum = exchange_few(tile, n, value, factors, out, to, out_step, x, start, x_step)
    else:
        maximum = exchange_rows(tile, n, value, groups, out, to, out_step, x, start, x_step)
    return maximum


@inline
def replace_each(tile, n, value, factors):
    """Replace each vector v of a tile by value(v, *factors)."""
    for j in range(n):
        store(tile, lanes(tile) * j, value(load(tile, lanes(tile) * j), *factors))


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
