"""One long row, in pieces: what `auto` and `parallel` do with a row that no cache holds.

Each piece gets a pivot of its own and gives (pivot, total); pieces are merged by bringing the totals to the largest
pivot, which is exact, and adding them in float64. A second pass computes e^x again: reading x twice and writing once
moves less memory than keeping e^x. Where pieces begin depends on the length alone, so results do not depend on which
thread does which.
"""

import math
from typing import Any

import numpy as np

from fastsoftmax import threads
from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful import careful_log_softmax, careful_logsumexp, careful_softmax
from fastsoftmax.kernels.exponential import exponential, log2e_over, magic_number
from fastsoftmax.kernels.logarithm import log_in_parts, log_rounded
from fastsoftmax.kernels.pivot import (
    floor_of,
    in_window,
    is_peaked,
    pivot_for,
    row_maximum,
    sum_exponentials,
)
from fastsoftmax.kernels.rows import NEAR_ZERO, guess_pivot, inverse_of, share, subtract_log_sum
from fastsoftmax.kernels.storage import write
from fastsoftmax.simd import lanes, ldexp_small, load, splat, store

PIECE = 2**16  # elements: at least a vector is left for the last piece, which may be up to twice as long


@inline
def sum_of_piece(x, start, n, high, low):
    """Return (total, lost, pivot, top): the sum is (total + lost) · 2^pivot, its largest term about 2^(top + pivot).

    The pivot is NaN where none will do.
    """
    pivot = guess_pivot(x, start, n, high)
    total, lost, top, _, _ = sum_exponentials(x, start, n, None, 0, pivot, high, low, None)
    if not in_window(x, top):
        pivot = pivot_for(x, row_maximum(x, start, n), high)
        if math.isnan(pivot) or math.isnan(top):
            return 0.0, 0.0, math.nan, 0.0
        total, lost, top, _, _ = sum_exponentials(x, start, n, None, 0, pivot, high, low, None)
    return total, lost, pivot, top


@kernel("in", "int", "int", "int", "real", "reals")
def sum_pieces(x, start, n, piece, temperature, sums):
    """Write (total, lost, pivot, top) of a piece into sums[4 * piece:]."""
    high, low = log2e_over(x, temperature)
    first = piece * PIECE
    last = n if first + 2 * PIECE > n else first + PIECE
    total, lost, pivot, top = sum_of_piece(x, start + first, last - first, high, low)
    sums[4 * piece] = total
    sums[4 * piece + 1] = lost
    sums[4 * piece + 2] = pivot
    sums[4 * piece + 3] = top


@inline
def scaled_terms(v, floor, high, low, magic, inverse, inverse_low):
    """Return e^x / sum."""
    e, _ = exponential(v, floor, high, low, magic)
    return share(e, inverse, inverse_low)


@kernel("in", "int", "out", "int", "int", "int", "real", "real", "real", "real")
def write_softmax(x, start, out, to, n, piece, pivot, total, lost, temperature):
    """Write e^x · 2^-pivot / (total + lost) for a piece."""
    high, low = log2e_over(x, temperature)
    first = piece * PIECE
    last = n if first + 2 * PIECE > n else first + PIECE
    width = lanes(x)
    magic = splat(x, magic_number(x) - pivot)
    floor = splat(x, floor_of(x, pivot, high))
    high, low = splat(x, high), splat(x, low)
    inverse, inverse_low = inverse_of(out, total, lost)
    inverse, inverse_low = splat(out, inverse), splat(out, inverse_low)
    tail = load(x, start + last - width)
    i = first
    while i < last - (width - 1):
        v = load(x, start + i)
        store(out, to + i, scaled_terms(v, floor, high, low, magic, inverse, inverse_low))
        i += width
    if i < last:
        store(out, to + last - width, scaled_terms(tail, floor, high, low, magic, inverse, inverse_low))


@kernel("in", "int", "out", "int", "int", "int", "real", "real", "real", "real")
def write_log_softmax(x, start, out, to, n, piece, pivot, total, lost, temperature):
    """Write x - log((total + lost) · 2^pivot) for a piece."""
    first = piece * PIECE
    last = n if first + 2 * PIECE > n else first + PIECE
    log_high, log_low = log_rounded(x, total, lost, pivot)
    subtract_log_sum(x, start + first, last - first, out, to + first, log_high, log_low, temperature)


@kernel("reals", "int", "int", "reals")
def merge(sums, pieces, is_single, merged):
    """Merge the pieces' sums into one (total, lost, pivot, flag).

    The flag is 0 where the sum is sound, 1 where one term dominates it, 2 where a piece has no pivot; for logsumexp
    the logarithm stands in merged[4].
    """
    top = -math.inf
    for k in range(pieces):
        if math.isnan(sums[4 * k + 2]):
            merged[3] = 2.0
            return
        top = max(top, sums[4 * k + 2] + sums[4 * k + 3])
    pivot = top - (54.0 if is_single else 480.0)
    total, lost = 0.0, 0.0
    for k in range(pieces):
        weight = ldexp_small(1.0, max(sums[4 * k + 2] - pivot, -1022.0))
        t = sums[4 * k] * weight
        s = total + t
        back = s - total
        lost += ((total - (s - back)) + (t - back)) + sums[4 * k + 1] * weight
        total = s
    a, b = log_in_parts(total, lost, pivot)
    merged[0], merged[1], merged[2] = total, lost, pivot
    merged[3] = 1.0 if is_peaked(total, top - pivot) else 0.0
    merged[4] = a + b


@kernel("in", "int", "out", "int", "int", "real")
def careful_softmax_row(x, start, out, to, n, temperature):
    """Do a row the careful way."""
    careful_softmax(x, start, n, out, to, temperature)


@kernel("in", "int", "out", "int", "int", "real")
def careful_log_softmax_row(x, start, out, to, n, temperature):
    """Do a row the careful way."""
    careful_log_softmax(x, start, n, out, to, temperature)


@kernel("in", "int", "out", "int", "int", "real")
def careful_logsumexp_row(x, start, out, to, n, temperature):
    """Do a row the careful way."""
    write(out, to, careful_logsumexp(x, start, n))


CAREFUL = {
    "softmax": careful_softmax_row,
    "log_softmax": careful_log_softmax_row,
    "logsumexp": careful_logsumexp_row,
}
WRITE = {"softmax": write_softmax, "log_softmax": write_log_softmax}


def run(op: str, x: Any, start: int, out: Any, to: int, n: int, temperature: float, threaded: bool) -> None:
    """Compute a row of n >= 2 * PIECE elements from x[start:] to out[to:].

    Parameters
    ----------
    op : str
        "softmax", "log_softmax" or "logsumexp".
    x, out : ndarray
        One-dimensional, of a storage type.
    start, to, n : int
        In elements.
    temperature : float
        Positive.
    threaded : bool
        Whether to share the pieces among threads.
    """
    pieces = n // PIECE
    sums, merged = np.empty(4 * pieces), np.zeros(5)
    for_all = threads.run if threaded else threads.run_here
    sum_piece = sum_pieces[x.dtype]
    for_all(lambda piece: sum_piece(x, start, n, piece, temperature, sums), pieces)
    merge[np.dtype(np.float64)](sums, pieces, int(x.dtype != np.float64), merged)
    total, lost, pivot, flag, log = merged.tolist()
    if flag or (op == "logsumexp" and abs(log) < NEAR_ZERO):
        CAREFUL[op][x.dtype](x, start, out, to, n, temperature)
    elif op == "logsumexp":
        out[to] = log
    else:
        write_piece = WRITE[op][x.dtype]
        for_all(lambda piece: write_piece(x, start, out, to, n, piece, pivot, total, lost, temperature), pieces)
