"""What is fetched while a chunk of a strip is summed: a processor does not foresee the steps from row to row."""

import collections

from fastsoftmax.jit import inline
from fastsoftmax.kernels.strips import CHUNK, chunks_of, part_of, rows_from, strip_of
from fastsoftmax.simd import lanes, prefetch

#: Rows of some vectors each, a pitch apart.
Lines = collections.namedtuple("Lines", "data start pitch vectors")


@inline
def chunk_after(matrix, block, c, last, all_planes, n, inner, width, head):
    """Return the matrix that begins with the chunk after chunk c of a block, the last of all standing for the next."""
    c += 1
    if c >= chunks_of(n):
        c, block = 0, min(block + 1, last - 1)
    return rows_from(part_of(matrix, strip_of(matrix.data, block, width, inner, all_planes, head)), c * CHUNK)


@inline
def soon_wanted(matrix, strip, slots):
    """Return the lines of a chunk of a strip that is wanted soon, the matrix beginning with it.

    Narrow planes are taken to lie behind one another; if they do not, that costs time only. Four vectors are fetched at
    a time: where a row has another number, those of the next may begin with its second.
    """
    vectors = max(4, slots // lanes(matrix.data))
    return Lines(matrix.data, matrix.start, matrix.pitch, vectors if strip.planes == 1 else vectors * CHUNK)


@inline
def line_of(soon, number):
    """Return where the vector of a number lies in what is wanted soon, and how many are left of its row; 0 of None."""
    if soon is None:
        return 0, 0
    row = number // soon.vectors
    done = number - row * soon.vectors
    return soon.start + row * soon.pitch + done * lanes(soon.data), soon.vectors - done


@inline
def fetch_four(soon, place, left):
    """Ask for the next four vectors of what is wanted soon, unless it is None; return (place, left) of those behind.

    They are asked for in the order of memory, along the rows.
    """
    if soon is not None:
        for k in range(4):
            prefetch(soon.data, place + k * lanes(soon.data))
        is_last = left <= 4
        place += 4 * lanes(soon.data) + (soon.pitch - soon.vectors * lanes(soon.data) if is_last else 0)
        left += (soon.vectors if is_last else 0) - 4
    return place, left
