"""One long row, in pieces: what `auto` and `parallel` do with a row that no cache holds.

All pieces have one pivot, guessed from the row, and keep their terms in the result; when the sums of all have been
added, the terms are scaled. Where the result is the input, or has a narrower type than the terms, or is larger than
caches and therefore written past them, e^x is computed again instead. For log_softmax a row with a peak is summed again
without it. Where pieces begin depends on the length alone, so results do not depend on which thread does which.
"""

import math
from typing import Any

import numpy as np

from fastsoftmax import team
from fastsoftmax.jit import Kernel, inline, kernel
from fastsoftmax.kernels.careful_rows import careful_log_softmax_row, careful_logsumexp_row, careful_softmax_row
from fastsoftmax.kernels.exponential import add_exactly, exponential, log2e_over, magic_number
from fastsoftmax.kernels.logarithm import log_of_sum, log_rounded
from fastsoftmax.kernels.peak import (
    LARGE_SHARE,
    MOST_OTHERS,
    NO_PEAK,
    PEAK_GAP,
    below_peak,
    log1p_of,
    others_over_peak,
)
from fastsoftmax.kernels.pivot import (
    add_up,
    floor_of,
    guess_pivot,
    least_sum,
    pivot_for,
    row_maximum,
    sum_exponentials,
    two_largest,
)
from fastsoftmax.kernels.row_results import (
    inverse_of,
    log_factors,
    log_share,
    share,
    subtract_log_sum,
    subtract_peak,
)
from fastsoftmax.kernels.rows import TINY
from fastsoftmax.kernels.waiting_row import waiting_row, write_at_once
from fastsoftmax.simd import (
    flush_small,
    lanes,
    larger,
    largest,
    load_group,
    pointer_to,
    restore,
    scratch,
    splat,
    splat_group,
    store,
    store_one,
    wait_for_stores,
)

PIECE = 2**16  # elements; the last piece may be up to twice as long
SUMS = 3  # numbers that are kept of a piece: its sum in two parts, and its largest term or a little more
SPARSELY = 2048  # elements of a row of which a group is looked at for the pivot


@inline
def ends_of(piece, n):
    """Return where a piece begins and ends."""
    first = piece * PIECE
    return first, n if first + 2 * PIECE > n else first + PIECE


@kernel("in", "int", "int", "real", "reals")
def guess(x, start, n, temperature, pivot):
    """Write a guessed pivot into pivot[0]."""
    high, _ = log2e_over(x, temperature)
    pivot[0], _ = guess_pivot(x, start, n, SPARSELY, high, None)


@kernel("in", "int", "int", "int", "int", "reals")
def find_maxima(x, start, n, first, last, maxima):
    """Write the maxima of pieces into `maxima`; NaN is passed over."""
    for piece in range(first, last):
        begin, end = ends_of(piece, n)
        maxima[piece] = row_maximum(x, start + begin, end - begin)


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
    """Keep what is known of a piece; its sum is NaN where the pivot does not suit, and so is the last number then."""
    if not suits:
        total = sums[sums.size - 1] = math.nan
    sums[SUMS * piece] = total
    sums[SUMS * piece + 1] = lost
    sums[SUMS * piece + 2] = float(largest(peak))


@inline
def is_useless(sums):
    """Tell whether the pivot does not suit some piece: then no sum will be used."""
    return math.isnan(sums[sums.size - 1])


@inline
def keep_sums(x, start, terms, to, keeps, n, first, last, pivot, high, low, limit, seeks_peak, sums):
    """Keep the sums of pieces, as `sum_exponentials` finds them."""
    for piece in range(first, last):
        if is_useless(sums):
            return
        begin, end = ends_of(piece, n)
        row_sum, peak, suits, _, _ = sum_exponentials(
            x, start + begin, end - begin, terms, to + begin, keeps, pivot, high, low, limit, seeks_peak
        )
        total, lost = add_up(row_sum)
        keep_sum(x, total, lost, peak, suits, piece, sums)


@kernel("in", "int", "int", "int", "int", "real", "real", "reals")
def sum_pieces(x, start, n, first, last, pivot, temperature, sums):
    """Keep the sums of e^x · 2^-pivot over pieces."""
    high, low = log2e_over(x, temperature)
    keep_sums(x, start, None, 0, None, n, first, last, pivot, high, low, None, True, sums)


@kernel("in", "int", "out", "int", "int", "int", "int", "real", "real", "reals")
def sum_and_keep_pieces(x, start, out, to, n, first, last, pivot, temperature, sums):
    """Keep the sums, and in `out` the terms but for those of each piece's last group."""
    x, out = pointer_to(x), pointer_to(out)
    high, low = log2e_over(x, temperature)
    keep_sums(x, start, out, to, True, n, first, last, pivot, high, low, None, True, sums)


@inline
def sum_of(sums, pieces):
    """Return the sum of all pieces, and what it lost."""
    total, lost = 0.0, 0.0
    for k in range(pieces):
        total, lost = add_exactly(total, lost + sums[SUMS * k + 1], sums[SUMS * k])
    return total, lost


@kernel("in", "reals", "int", "real", "reals")
def merge(x, sums, pieces, pivot, merged):
    """Merge the pieces' sums into merged: (total, lost, the largest piece's share, the logarithm)."""
    total, lost = sum_of(sums, pieces)
    peak = 0.0
    for k in range(pieces):
        peak = max(peak, sums[SUMS * k + 2])
    if not total >= least_sum(x):
        total = math.nan
    merged[0], merged[1] = total, lost
    merged[2] = peak / total
    merged[3] = log_of_sum(x, total, lost, pivot)


@kernel("in", "int", "int", "int", "int", "reals")
def find_two_largest(x, start, n, first, last, found):
    """Write the two largest elements of each piece into `found`."""
    for piece in range(first, last):
        begin, end = ends_of(piece, n)
        found[2 * piece], found[2 * piece + 1] = two_largest(x, start + begin, end - begin)


@kernel("in", "int", "int", "int", "int", "real", "real", "real", "reals")
def sum_around_peak(x, start, n, first, last, maximum, second, temperature, sums):
    """Keep the sums of pieces, the row's largest element counted as the second."""
    high, low = log2e_over(x, temperature)
    limit = below_peak(maximum, second)
    pivot = pivot_for(x, limit, high)
    keep_sums(x, start, None, 0, None, n, first, last, pivot, high, low, limit, None, sums)


@kernel("in", "reals", "int", "real", "real", "real", "reals")
def merge_around_peak(x, sums, pieces, maximum, second, temperature, log):
    """Write log(1 + others), in two parts, into `log`, the others in units of the largest element's term.

    It is NO_PEAK where they are too much for that to be a peak, NaN where no pivot suits them.
    """
    high, low = log2e_over(x, temperature)
    total, lost = sum_of(sums, pieces)
    others, others_low = others_over_peak(x, total, lost, maximum, second, high, low, temperature)
    log[0], log[1] = (NO_PEAK if others > MOST_OTHERS else math.nan), 0.0
    if others <= MOST_OTHERS:
        log[0], log[1] = log1p_of(x, others, others_low)


@inline
def scaled_term(v, floor, high, low, magic, inverse, inverse_low):
    """Return e^x / sum."""
    e, _, _, _ = exponential(larger(floor, v), high, low, magic)
    return share(e, inverse, inverse_low)


@kernel("in", "int", "out", "int", "int", "int", "int", "int", "real", "real", "real", "real")
def write_softmax(x, start, out, to, n, first, last, has_terms, pivot, total, lost, temperature):
    """Write e^x · 2^-pivot / (total + lost) for pieces, from the terms in `out` if it has them."""
    high, low = log2e_over(x, temperature)
    width = 4 * lanes(x)
    magic = splat_group(x, magic_number(x, pivot))
    floor = splat_group(x, floor_of(x, pivot, high))
    high, low = splat_group(x, high), splat_group(x, low)
    inverse, inverse_low = inverse_of(out, total, lost)
    inverse, inverse_low = splat_group(out, inverse), splat_group(out, inverse_low)
    mode = flush_small()
    for piece in range(first, last):
        begin, end = ends_of(piece, n)
        ending = load_group(x, start + end - width)  # before `out`, which may be x, is written to
        if has_terms:
            for i in range(begin, end - width, width):
                store(out, to + i, share(load_group(out, to + i), inverse, inverse_low))
        else:
            for i in range(begin, end - width, width):
                v = load_group(x, start + i)
                store(out, to + i, scaled_term(v, floor, high, low, magic, inverse, inverse_low))
        store(out, to + end - width, scaled_term(ending, floor, high, low, magic, inverse, inverse_low))
    restore(mode)


@kernel("in", "int", "out", "int", "int", "int", "int", "real", "real", "real", "real")
def write_softmax_past_caches(x, start, out, to, n, first, last, pivot, total, lost, temperature):
    """Do what `write_softmax` does, past the caches; `out` is not x."""
    high, low = log2e_over(x, temperature)
    inverse, inverse_low = inverse_of(out, total, lost)
    of_exponential = splat(x, floor_of(x, pivot, high)), splat(x, high), splat(x, low), splat(x, magic_number(x, pivot))
    factors = *of_exponential, splat(x, inverse), splat(x, inverse_low)
    border = scratch(x, 2)
    mode = flush_small()
    for piece in range(first, last):
        begin, end = ends_of(piece, n)
        row = waiting_row(scaled_term, factors, x, start + begin, out, to + begin, end - begin)
        write_at_once(row, end - begin, border)
    wait_for_stores()
    restore(mode)


@kernel("in", "int", "out", "int", "int", "int", "int", "real", "real", "real", "real")
def write_log_softmax_past_caches(x, start, out, to, n, first, last, pivot, total, lost, temperature):
    """Do what `write_log_softmax` does, past the caches; `out` is not x."""
    factors = log_factors(x, *log_rounded(x, total, lost, pivot), temperature)
    border = scratch(x, 2)
    for piece in range(first, last):
        begin, end = ends_of(piece, n)
        row = waiting_row(log_share, factors, x, start + begin, out, to + begin, end - begin)
        write_at_once(row, end - begin, border)
    wait_for_stores()


@kernel("in", "int", "out", "int", "int", "int", "int", "real", "real", "real", "real")
def write_log_softmax(x, start, out, to, n, first, last, pivot, total, lost, temperature):
    """Write x - log((total + lost) · 2^pivot) for pieces."""
    log_high, log_low = log_rounded(x, total, lost, pivot)
    for piece in range(first, last):
        begin, end = ends_of(piece, n)
        subtract_log_sum(x, start + begin, end - begin, out, to + begin, log_high, log_low, temperature, None, None)


@kernel("in", "int", "out", "int", "int", "int", "int", "real", "real", "real", "real")
def write_log_softmax_of_peak(x, start, out, to, n, first, last, peak, log, log_low, temperature):
    """Write (x - peak) / temperature - log for pieces."""
    for piece in range(first, last):
        begin, end = ends_of(piece, n)
        subtract_peak(x, start + begin, end - begin, out, to + begin, peak, log, log_low, temperature)


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
    past_caches : bool
        Whether `out` is to be written past the caches.
    threaded : bool
        Whether to share the pieces among threads.
    """

    def __init__(
        self,
        op: str,
        x: Any,
        start: int,
        out: Any,
        to: int,
        n: int,
        temperature: float,
        in_place: bool,
        past_caches: bool,
        threaded: bool,
    ) -> None:
        self.op, self.x, self.start, self.out, self.to, self.n = op, x, start, out, to, n
        self.temperature = temperature
        is_native = x.dtype.kind == "f"
        self.past_caches = past_caches and (op == "log_softmax" or is_native)  # else e^x takes longer than memory
        self.keeps_terms = op == "softmax" and not (in_place or past_caches) and is_native
        self.pieces = n // PIECE
        self.threaded = threaded

    def run(self) -> None:
        """Compute it."""
        pivot = np.empty(1)
        guess[self.x.dtype](self.x, self.start, self.n, self.temperature, pivot)
        total, lost, top_share, log = self._sum(float(pivot[0]))
        if math.isnan(total):
            self._choose_pivot(pivot)
            if not math.isnan(pivot[0]):
                total, lost, top_share, log = self._sum(float(pivot[0]))
        is_delicate = self.op == "logsumexp" and TINY <= abs(log) < 1.0
        is_peaked = self.op == "log_softmax" and top_share > LARGE_SHARE
        peak, log_others, log_others_low = self._peak() if is_peaked else (math.nan, NO_PEAK, 0.0)
        x = self.x
        if math.isnan(total) or math.isnan(log_others) or is_delicate:
            CAREFUL[self.op][x.dtype](x, self.start, self.n, self.out, self.to, self.temperature)
        elif self.op == "logsumexp":
            write_number[x.dtype](self.out, self.to, log)
        elif self.op == "softmax" and self.past_caches:
            self._write(write_softmax_past_caches, float(pivot[0]), total, lost)
        elif self.op == "softmax":
            self._write(write_softmax, int(self.keeps_terms), float(pivot[0]), total, lost)
        elif log_others == NO_PEAK:
            write = write_log_softmax_past_caches if self.past_caches else write_log_softmax
            self._write(write, float(pivot[0]), total, lost)
        else:
            self._write(write_log_softmax_of_peak, peak, log_others, log_others_low)

    def _sum(self, pivot: float) -> list[float]:
        """Return what `merge` makes of the sums of all pieces: NaN if the pivot does not suit one of them."""
        sums, merged = self._room_for_sums(), np.empty(4)
        numbers = pivot, self.temperature, sums
        if self.keeps_terms:
            self._for_all(sum_and_keep_pieces, (self.x, self.start, self.out, self.to, self.n), numbers)
        else:
            self._for_all(sum_pieces, (self.x, self.start, self.n), numbers)
        merge[self.x.dtype](self.x, sums, self.pieces, pivot, merged)
        return merged.tolist()

    def _peak(self) -> tuple[float, float, float]:
        """Return the largest element, and the logarithm of the sum over its term as `merge_around_peak` does."""
        x, place = self.x, (self.x, self.start, self.n)
        found, sums, log = np.empty(2 * self.pieces), self._room_for_sums(), np.empty(2)
        self._for_all(find_two_largest, place, (found,))
        second, maximum = np.sort(found)[-2:].tolist()
        if (maximum - second) / self.temperature < PEAK_GAP:
            return maximum, NO_PEAK, 0.0
        self._for_all(sum_around_peak, place, (maximum, second, self.temperature, sums))
        merge_around_peak[x.dtype](x, sums, self.pieces, maximum, second, self.temperature, log)
        return maximum, float(log[0]), float(log[1])

    def _choose_pivot(self, pivot: Any) -> None:
        maxima = np.empty(self.pieces)
        self._for_all(find_maxima, (self.x, self.start, self.n), (maxima,))
        choose_pivot[self.x.dtype](self.x, self.pieces, self.temperature, maxima, pivot)

    def _write(self, kernel: Kernel, *numbers: float) -> None:
        """Let a kernel write all pieces of the result; the numbers are its parameters before the temperature."""
        self._for_all(kernel, (self.x, self.start, self.out, self.to, self.n), (*numbers, self.temperature))

    def _for_all(self, kernel: Kernel, before: Any, behind: Any) -> None:
        """Call a kernel for all pieces."""
        team.share(kernel, self.x.dtype, self.pieces, PIECE, before, behind, threaded=self.threaded)

    def _room_for_sums(self) -> Any:
        """Return room for the sums of all pieces, and a number that is NaN where they are of no use."""
        return np.zeros(SUMS * self.pieces + 1)


def run_long_rows(
    op: str, x: Any, x_start: int, x_step: int, out: Any, out_start: int, out_step: int,
    rows: int, n: int, temperature: float, in_place: bool, past_caches: bool, threaded: bool,
) -> None:  # fmt: skip
    """Compute rows as far apart as the steps say, one behind the other; for the parameters see `LongRow`."""
    for r in range(rows):
        place = x, x_start + r * x_step, out, out_start + r * out_step
        LongRow(op, *place, n, temperature, in_place, past_caches, threaded).run()
