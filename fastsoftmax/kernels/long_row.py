"""One long row, in pieces: what `auto` and `parallel` do with a row that no cache holds.

All pieces have one pivot, guessed from the row, and keep their terms in the result; when the sums of all have been
added, the terms are scaled. Where the result is the input, or has a narrower type than the terms, e^x is computed
again instead. Where pieces begin depends on the length alone, so results do not depend on which thread does which.
"""

import math
from typing import Any

import numpy as np

from fastsoftmax import threads
from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.careful import careful_log_softmax, careful_logsumexp, careful_softmax
from fastsoftmax.kernels.exponential import add_exactly, exponential, log2e_over, magic_number
from fastsoftmax.kernels.logarithm import log_in_parts, log_rounded
from fastsoftmax.kernels.pivot import (
    floor_of,
    guess_pivot,
    least_sum,
    pivot_for,
    row_maximum,
    sum_exponentials,
)
from fastsoftmax.kernels.row_sums import LARGE_SHARE
from fastsoftmax.kernels.rows import TINY, inverse_of, share, subtract_log_sum
from fastsoftmax.simd import (
    lanes,
    larger,
    largest,
    load_group,
    pointer_to,
    splat_group,
    store,
    store_one,
)

PIECE = 2**16  # elements; the last piece may be up to twice as long
SUMS = 3  # numbers that are kept of a piece: its sum in two parts, and its largest term or a little more


@inline
def ends_of(piece, n):
    """Return where a piece begins and ends."""
    first = piece * PIECE
    return first, n if first + 2 * PIECE > n else first + PIECE


@kernel("in", "int", "int", "real", "reals")
def guess(x, start, n, temperature, pivot):
    """Write a guessed pivot into pivot[0]."""
    high, _ = log2e_over(x, temperature)
    pivot[0] = guess_pivot(x, start, n, high)


@kernel("in", "int", "int", "int", "reals")
def find_maximum(x, start, n, piece, maxima):
    """Write the maximum of a piece into maxima[piece]; NaN is passed over."""
    first, last = ends_of(piece, n)
    maxima[piece] = row_maximum(x, start + first, last - first)


@kernel("in", "int", "real", "reals", "reals")
def choose_pivot(x, pieces, temperature, maxima, pivot):
    """Write the pivot for the largest of the maxima into pivot[0], NaN if none will do."""
    high, _ = log2e_over(x, temperature)
    maximum = -math.inf
    for k in range(pieces):
        maximum = max(maximum, maxima[k])
    pivot[0] = pivot_for(x, maximum, high)


@inline
def keep_sum(x, total, lost, peak, suits, piece, sums):
    """Keep what is known of a piece; its sum is NaN where the pivot does not suit."""
    sums[SUMS * piece] = total if suits else math.nan
    sums[SUMS * piece + 1] = lost
    sums[SUMS * piece + 2] = float(largest(peak))


@kernel("in", "int", "int", "int", "real", "real", "reals")
def sum_piece(x, start, n, piece, pivot, temperature, sums):
    """Keep the sum of e^x · 2^-pivot over a piece."""
    high, low = log2e_over(x, temperature)
    first, last = ends_of(piece, n)
    total, lost, peak, suits, _ = sum_exponentials(
        x, start + first, last - first, None, 0, None, pivot, high, low, True, None, True
    )
    keep_sum(x, total, lost, peak, suits, piece, sums)


@kernel("in", "int", "out", "int", "int", "int", "real", "real", "reals")
def sum_and_keep_piece(x, start, out, to, n, piece, pivot, temperature, sums):
    """Keep the sum, and in `out` the terms but for those of the last group."""
    x, out = pointer_to(x), pointer_to(out)
    high, low = log2e_over(x, temperature)
    first, last = ends_of(piece, n)
    total, lost, peak, suits, _ = sum_exponentials(
        x, start + first, last - first, out, to + first, True, pivot, high, low, True, None, True
    )
    keep_sum(x, total, lost, peak, suits, piece, sums)


@kernel("in", "reals", "int", "real", "reals")
def merge(x, sums, pieces, pivot, merged):
    """Merge the pieces' sums into merged: (total, lost, the largest piece's share, the logarithm)."""
    total, lost, peak = 0.0, 0.0, 0.0
    for k in range(pieces):
        total, lost = add_exactly(total, lost + sums[SUMS * k + 1], sums[SUMS * k])
        peak = max(peak, sums[SUMS * k + 2])
    if not total >= least_sum(x):
        total = math.nan
    a, b = log_in_parts(total, lost, pivot)
    merged[0], merged[1] = total, lost
    merged[2] = peak / total
    merged[3] = a + b


@inline
def scaled_term(v, floor, high, low, magic, inverse, inverse_low):
    """Return e^x / sum."""
    e, _, _, _ = exponential(larger(floor, v), high, low, magic)
    return share(e, inverse, inverse_low)


@kernel("in", "int", "out", "int", "int", "int", "int", "real", "real", "real", "real")
def write_softmax(x, start, out, to, n, piece, has_terms, pivot, total, lost, temperature):
    """Write e^x · 2^-pivot / (total + lost) for a piece, from the terms in `out` if it has them."""
    high, low = log2e_over(x, temperature)
    first, last = ends_of(piece, n)
    width = 4 * lanes(x)
    magic = splat_group(x, magic_number(x, pivot))
    floor = splat_group(x, floor_of(x, pivot, high))
    high, low = splat_group(x, high), splat_group(x, low)
    inverse, inverse_low = inverse_of(out, total, lost)
    inverse, inverse_low = splat_group(out, inverse), splat_group(out, inverse_low)
    end = load_group(x, start + last - width)  # before `out`, which may be x, is written to
    whole = last - (last - first) % width
    if has_terms:
        for i in range(first, whole, width):
            store(out, to + i, share(load_group(out, to + i), inverse, inverse_low))
    else:
        for i in range(first, whole, width):
            store(out, to + i, scaled_term(load_group(x, start + i), floor, high, low, magic, inverse, inverse_low))
    if whole < last:
        store(out, to + last - width, scaled_term(end, floor, high, low, magic, inverse, inverse_low))


@kernel("in", "int", "out", "int", "int", "int", "real", "real", "real", "real")
def write_log_softmax(x, start, out, to, n, piece, pivot, total, lost, temperature):
    """Write x - log((total + lost) · 2^pivot) for a piece."""
    first, last = ends_of(piece, n)
    log_high, log_low = log_rounded(x, total, lost, pivot)
    subtract_log_sum(x, start + first, last - first, out, to + first, log_high, log_low, temperature, None, None)


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
    store_one(out, to, careful_logsumexp(x, start, n))


@kernel("out", "int", "real")
def write_number(out, to, value):
    """Write a number to out[to]."""
    store_one(out, to, value)


CAREFUL = {
    "softmax": careful_softmax_row,
    "log_softmax": careful_log_softmax_row,
    "logsumexp": careful_logsumexp_row,
}


class LongRow:
    """A row of n >= 2 * PIECE elements from x[start:], and where its result goes.

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
    in_place : bool
        Whether x and `out` share memory.
    threaded : bool
        Whether to share the pieces among threads.
    """

    def __init__(
        self, op: str, x: Any, start: int, out: Any, to: int, n: int, temperature: float, in_place: bool, threaded: bool
    ) -> None:
        self.op, self.x, self.start, self.out, self.to, self.n = op, x, start, out, to, n
        self.temperature = temperature
        self.keeps_terms = op == "softmax" and not in_place and x.dtype.kind == "f"
        self.pieces = n // PIECE
        self.for_all = threads.run if threaded else threads.run_here

    def run(self) -> None:
        """Compute it."""
        pivot = np.empty(1)
        guess[self.x.dtype](self.x, self.start, self.n, self.temperature, pivot)
        total, lost, top_share, log = self._sum(float(pivot[0]))
        if math.isnan(total):
            self._choose_pivot(pivot)
            if not math.isnan(pivot[0]):
                total, lost, top_share, log = self._sum(float(pivot[0]))
        is_peaked = self.op == "log_softmax" and top_share > LARGE_SHARE
        is_delicate = self.op == "logsumexp" and TINY <= abs(log) < 1.0
        x = self.x
        if math.isnan(total) or is_peaked or is_delicate:
            CAREFUL[self.op][x.dtype](x, self.start, self.out, self.to, self.n, self.temperature)
        elif self.op == "logsumexp":
            write_number[x.dtype](self.out, self.to, log)
        else:
            self._write(float(pivot[0]), total, lost)

    def _sum(self, pivot: float) -> list[float]:
        sums, merged = np.empty(SUMS * self.pieces), np.empty(4)
        x, start, n, temperature = self.x, self.start, self.n, self.temperature
        if self.keeps_terms:
            kernel, place = sum_and_keep_piece[x.dtype], (x, start, self.out, self.to, n)
        else:
            kernel, place = sum_piece[x.dtype], (x, start, n)
        self.for_all(lambda piece: kernel(*place, piece, pivot, temperature, sums), self.pieces)
        merge[x.dtype](x, sums, self.pieces, pivot, merged)
        return merged.tolist()

    def _choose_pivot(self, pivot: Any) -> None:
        maxima = np.empty(self.pieces)
        kernel = find_maximum[self.x.dtype]
        self.for_all(lambda piece: kernel(self.x, self.start, self.n, piece, maxima), self.pieces)
        choose_pivot[self.x.dtype](self.x, self.pieces, self.temperature, maxima, pivot)

    def _write(self, pivot: float, total: float, lost: float) -> None:
        x = self.x
        place = x, self.start, self.out, self.to, self.n
        if self.op == "softmax":
            kernel, has_terms = write_softmax[x.dtype], int(self.keeps_terms)
            self.for_all(
                lambda piece: kernel(*place, piece, has_terms, pivot, total, lost, self.temperature), self.pieces
            )
        else:
            kernel = write_log_softmax[x.dtype]
            self.for_all(lambda piece: kernel(*place, piece, pivot, total, lost, self.temperature), self.pieces)
