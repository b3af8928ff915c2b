"""Sums of rows for log_softmax, where one element may hold most of the sum: a peak.

A row with a peak (`peak.py`) is summed in another way. Where the ends of a row vary so much that it may well have one,
or a row before had one, the two largest elements are looked for at once; else where a plain sum shows that there may be
one, or its pivot does not suit. How a row is summed in the end depends on it alone.
"""

import collections
import math

from fastsoftmax.jit import inline
from fastsoftmax.kernels.exponential import (
    exponential_of_narrower,
    factored_exponential,
    log2e_wide,
    magic_number,
)
from fastsoftmax.kernels.logarithm import log1p_of_single
from fastsoftmax.kernels.peak import LARGE_SHARE, MOST_OTHERS, NO_PEAK, PEAK_GAP, below_peak, log1p_of, others_over_peak
from fastsoftmax.kernels.pivot import add_up, guess_pivot, pivot_for, sum_exponentials, two_largest
from fastsoftmax.kernels.row_results import log_factors, log_factors_of_peak, log_share, lowest_of
from fastsoftmax.kernels.row_sums import (
    ENDS,
    FIRST,
    LOST,
    MAXIMUM,
    PIVOT,
    SECOND,
    TOGETHER,
    TOTAL,
    distrust_more,
    is_far_above,
    keep,
    keep_in_two_parts,
    keep_vectors,
    recall_sums,
    vectors_of,
)
from fastsoftmax.kernels.waiting_row import waiting_row_if
from fastsoftmax.simd import (
    any_set,
    choose,
    lanes,
    load,
    load_wide,
    select,
    smaller,
    splat,
    store,
)

MAX_SPREAD_BESIDE_PEAK = 24  # exponents that the ends of a row span at most, or it may well have a peak
MOST_LOG = math.log1p(MOST_OTHERS)

# What is kept of rows beside what `row_sums` names: the second largest element, the logarithm, the pivot of a plain
# sum, whether the ends vary, and how a row is yet to be summed. The terms are whole vectors, where no ends are kept.
NEXT, LOG_OTHERS, LOG_OTHERS_LOW, GUESS, VARIES, TO_DO = (TOGETHER * k for k in range(6, 12))
TERM, TERM_LOW = ENDS, ENDS + 2 * TOGETHER
DONE, PLAINLY, AROUND_PEAK = range(3)
MOST_EXPONENTS = 900.0  # of a peak's term: beside more the others are nothing
#: Rows that wait to be written while others are summed: row k is source[at + k * step:] and goes to out[to + k * n:];
#: there are `count`, and what is kept of them is `kept`.
LateRows = collections.namedtuple("LateRows", "count kept source at step out to n temperature nowhere")


@inline
def keep_logarithms_of_single(x, kept, high, low, temperature):
    """Keep log(1 + others) of all rows that were summed around their peaks, for float32 and narrower types.

    A vector of that type is twice as wide as there are rows: its other half is computed for nothing.
    """
    is_alone = load(kept, NEXT) < lowest_of(x)
    limit = select(is_alone, load(kept, MAXIMUM), load(kept, NEXT))
    large, a, b, _ = factored_exponential(limit, splat(x, high), splat(x, low), magic_number(x, load(kept, PIVOT)))
    store(kept, TERM, large)
    store(kept, TERM_LOW, a * b)
    wide_high, wide_low = log2e_wide(temperature)
    pivot = load_wide(kept, PIVOT)
    most = smaller((pivot + MOST_EXPONENTS) / wide_high, load_wide(kept, MAXIMUM))
    peak = exponential_of_narrower(most, wide_high, wide_low, pivot)
    others = (load_wide(kept, TOTAL) - load_wide(kept, TERM)) + (load_wide(kept, LOST) - load_wide(kept, TERM_LOW))
    others = select(load_wide(kept, NEXT) < lowest_of(x), others * 0.0, others)
    is_peaked = load_wide(kept, TO_DO) == AROUND_PEAK
    log = select(is_peaked, log1p_of_single(others / peak), load_wide(kept, LOG_OTHERS))
    keep_in_two_parts(kept, LOG_OTHERS, LOG_OTHERS_LOW, log, select(is_peaked, 0.0, load_wide(kept, LOG_OTHERS_LOW)))


@inline
def keep_logarithms_of_others(x, rows, kept, high, low, temperature):
    """Keep log(1 + others) of the rows that were summed around their peaks, the others in units of these."""
    if choose(x, 1, 0):
        keep_logarithms_of_single(x, kept, high, low, temperature)
        return
    for k in range(rows):
        if kept[TO_DO + k] == AROUND_PEAK:
            total, lost = float(kept[TOTAL + k]), float(kept[LOST + k])
            maximum, second = float(kept[MAXIMUM + k]), float(kept[NEXT + k])
            kept[LOG_OTHERS + k] = math.nan
            if not math.isnan(total):
                others, rest = others_over_peak(x, total, lost, maximum, second, high, low, temperature)
                kept[LOG_OTHERS + k], kept[LOG_OTHERS_LOW + k] = log1p_of(x, others, rest)


@inline
def look_at(x, start, n, high, temperature, kept, k, has_no_guess):
    """Keep the two largest elements of row k and how it is to be summed, with which pivot."""
    maximum, second = two_largest(x, start, n)
    kept[MAXIMUM + k], kept[NEXT + k] = maximum, second
    pivot = pivot_for(x, maximum, high)
    if has_no_guess or is_far_above(x, maximum, float(kept[GUESS + k]), high):
        kept[GUESS + k] = pivot
    if math.isnan(pivot) or (maximum - second) * (1.0 / temperature) < PEAK_GAP:
        kept[TO_DO + k], kept[PIVOT + k] = PLAINLY, kept[GUESS + k]
    else:
        kept[TO_DO + k], kept[PIVOT + k] = AROUND_PEAK, pivot_for(x, below_peak(maximum, second), high)


@inline
def row_factors(x, kept, k, temperature):
    """Return what `log_share` takes for row k."""
    log_others, log_others_low = float(kept[LOG_OTHERS + k]), float(kept[LOG_OTHERS_LOW + k])
    if log_others == NO_PEAK:
        return log_factors(x, float(kept[FIRST + k]), float(kept[SECOND + k]), temperature)
    return log_factors_of_peak(x, float(kept[MAXIMUM + k]), log_others, log_others_low, temperature)


@inline
def late_row(late, k):
    """Return row k of some that wait to be written; if there is none, or not that way, one that is written nowhere."""
    waits = k < late.count and not math.isnan(late.kept[LOG_OTHERS + k])
    at, to = late.at + k * late.step * waits, late.to + k * late.n
    factors = row_factors(late.source, late.kept, k, late.temperature)
    return waiting_row_if(waits, log_share, factors, late.source, at, late.out, to, late.n, late.nowhere)


@inline
def sum_as_told(x, start, step, rows, n, out, to, to_step, high, low, kept, late):
    """Sum the rows that are to be summed; a sum is NaN if its pivot does not suit."""
    for k in range(rows):
        if kept[TO_DO + k] == DONE:
            continue
        meanwhile = None if late is None else late_row(late, k)
        place, write_to, pivot, peak = start + k * step, to + k * to_step, float(kept[PIVOT + k]), splat(x, 0.0)
        if kept[TO_DO + k] == PLAINLY:
            sums, peak, suits, reaches, _ = sum_exponentials(
                x, place, n, out, write_to, None, pivot, high, low, None, True, meanwhile
            )
            suits = suits and reaches
        else:
            limit = below_peak(float(kept[MAXIMUM + k]), float(kept[NEXT + k]))
            sums, _, suits, _, _ = sum_exponentials(
                x, place, n, out, write_to, None, pivot, high, low, limit, None, meanwhile
            )
        keep(x, kept, TOTAL + k, sums.total if suits else math.nan, sums.lost)
        keep_vectors(x, kept, k, sums)
        store(kept, vectors_of(x, k) + 3 * lanes(x), peak)


@inline
def add_up_all(x, rows, kept):
    """Add the lanes of all sums, and keep NO_PEAK for those that will do; tell whether one is around a peak."""
    is_one_around_peak = False
    for k in range(rows):
        if kept[TO_DO + k] == DONE:
            continue
        total, lost = add_up(recall_sums(x, kept, k))
        keep(x, kept, TOTAL + k, total, lost)
        if kept[TO_DO + k] == AROUND_PEAK:
            is_one_around_peak = True
        else:
            peak, is_known = load(kept, vectors_of(x, k) + 3 * lanes(x)), not math.isnan(kept[MAXIMUM + k])
            will_do = is_known or not any_set(peak >= LARGE_SHARE * total)
            kept[LOG_OTHERS + k] = NO_PEAK if will_do and not math.isnan(total) else math.nan
    return is_one_around_peak


@inline
def judge(x, start, n, high, temperature, kept, k):
    """Keep how row k is to be summed next; return whether the first sum would not do, so that it was looked at.

    Plainly: if it will do, no more. If its two largest are not known, they are looked for: then around a peak, plainly
    with the right pivot, or no more where the sum is right and there was only the suspicion of a peak. If they are
    known, plainly with the right pivot, unless that was it.
    Around a peak: plainly if it is none; but not where the ends vary, since such a row comes this way in any case.
    """
    what, log, fails = kept[TO_DO + k], kept[LOG_OTHERS + k], math.isnan(kept[TOTAL + k])
    kept[TO_DO + k] = DONE
    if what == AROUND_PEAK:
        if log > MOST_LOG and kept[VARIES + k] == 0.0:  # it is none
            kept[TO_DO + k], kept[PIVOT + k] = PLAINLY, kept[GUESS + k]
        return False
    if what == DONE or log == NO_PEAK:
        return False
    if math.isnan(kept[MAXIMUM + k]):
        look_at(x, start, n, high, temperature, kept, k, fails)
        if kept[TO_DO + k] == PLAINLY and not fails:
            kept[TO_DO + k], kept[LOG_OTHERS + k] = DONE, NO_PEAK
        return True
    pivot = pivot_for(x, float(kept[MAXIMUM + k]), high)
    if pivot < kept[PIVOT + k] or pivot > kept[PIVOT + k]:
        kept[TO_DO + k], kept[PIVOT + k] = PLAINLY, pivot
    return False


@inline
def sum_rows_and_peaks(
    x, start, step, rows, n, out, to, to_step, high, low, temperature, kept, distrusted, patience, late=None
):
    """Keep what log_softmax wants of rows: the sum, or of one with a peak that, and the logarithm of the others.

    Of a row without one the logarithm is NO_PEAK, of one that no pivot suits NaN. The memory of the results is asked
    for. Of the `late` rows, unless that is None, one is written while one is summed. The two largest elements of the
    first `distrusted` rows are looked for at once; what is returned, and the rest, is as in `row_sums.sum_rows`.
    """
    for k in range(rows):
        place = start + k * step
        kept[GUESS + k], varies = guess_pivot(x, place, n, n // 16, high, MAX_SPREAD_BESIDE_PEAK)
        kept[VARIES + k], kept[MAXIMUM + k] = varies, math.nan
        kept[TO_DO + k], kept[PIVOT + k] = PLAINLY, kept[GUESS + k]
        if varies or k < distrusted:
            look_at(x, place, n, high, temperature, kept, k, varies)
    pending = True
    while pending:
        sum_as_told(x, start, step, rows, n, out, to, to_step, high, low, kept, late)
        if add_up_all(x, rows, kept):
            keep_logarithms_of_others(x, rows, kept, high, low, temperature)
        pending = False
        for k in range(rows):
            if judge(x, start + k * step, n, high, temperature, kept, k):
                distrusted, patience = distrust_more(distrusted, patience, k)
            pending |= kept[TO_DO + k] != DONE
    return distrusted - rows, patience
