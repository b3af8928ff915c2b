"""Results of columns: terms over their sums, e^x over them where no terms are kept, x less logarithms.

What a second pass reads it reads from the last row to the first, so that what was read last is still in a cache.
"""

import math

from fastsoftmax.jit import inline
from fastsoftmax.kernels.column_pivots import FIRST, FLOOR, HELD, MAGIC, PART, SECOND, TOP, keep, recall
from fastsoftmax.kernels.column_sums import settle, sum_of
from fastsoftmax.kernels.exponential import exponential, inverse_in_parts, magic_integer, nodes, pivot_in
from fastsoftmax.kernels.row_results import (
    lift,
    log_share,
    lowest_of,
    one_over,
    share,
    shrunk,
    spared,
    times,
)
from fastsoftmax.kernels.row_sums import keep_in_two_parts
from fastsoftmax.kernels.strips import (
    chunk_of,
    chunks_of,
    edge_of,
    four_rows,
    head_of_strip,
    load_columns,
    rows_from,
    slots_of,
    store_columns,
    whole_end,
)
from fastsoftmax.simd import (
    WIDE,
    choose,
    copy_one,
    count_set,
    join,
    lanes,
    larger,
    load,
    quarters,
    select,
    shift_exponent,
    smaller,
    splat,
    splat_group,
    store,
)


@inline
def keep_inverses(kept, slots, high):
    """Keep what `share` wants of the sums of a strip, over 2^lift; tell whether some are NaN."""
    has_odd, scale = False, spared(kept.numbers) * shrunk(kept.numbers)
    for j in range(0, slots, WIDE):
        total, lost = sum_of(kept, j, high)
        inverse, inverse_low = inverse_in_parts(total, lost)
        inverse, inverse_low = inverse * scale, inverse_low * scale
        keep_in_two_parts(kept.numbers, FIRST * kept.room + j, SECOND * kept.room + j, inverse, inverse_low)
        has_odd = has_odd or count_set(total == total) < WIDE
    return has_odd


@inline
def keep_magics(kept, slots, magics):
    """Keep the pivots of a chunk, as magic numbers."""
    for j in range(0, slots, lanes(kept.numbers)):
        store(magics.data, magics.start + j, recall(kept, MAGIC, j))


@inline
def keep_powers(kept, slots, magics):
    """Keep by what the terms of a chunk, with pivots of its own, are to be multiplied: the powers, times 2^lift."""
    x = kept.numbers
    least = choose(x, -126.0, -1022.0) - lift(x)  # with a lower power shares have vanished
    for j in range(0, slots, lanes(x)):
        shift = pivot_in(x, load(magics.data, magics.start + j)) - pivot_in(x, recall(kept, MAGIC, j))
        shift = smaller(shift, splat(x, 0.0))  # a column that had no pivot then had 0
        power = shift_exponent(splat(x, 1.0), larger(shift, splat(x, least)) + (magic_integer(x) + lift(x)))
        keep(kept, PART, j, select(shift < least, 0.0, power))


@inline
def write_share(terms, froms, kept, slot, out, places, j, count):
    """Write a vector of each of four rows of terms divided by their sums."""
    power, inverse, inverse_low = recall(kept, PART, slot), recall(kept, FIRST, slot), recall(kept, SECOND, slot)
    from_a, from_b, from_c, from_d = froms
    term_a, term_b = load_columns(terms, from_a + j, count), load_columns(terms, from_b + j, count)
    term_c, term_d = load_columns(terms, from_c + j, count), load_columns(terms, from_d + j, count)
    a, b, c, d = places
    store_columns(out, a + j, share(times(term_a, power), inverse, inverse_low), count, None)
    store_columns(out, b + j, share(times(term_b, power), inverse, inverse_low), count, None)
    store_columns(out, c + j, share(times(term_c, power), inverse, inverse_low), count, None)
    store_columns(out, d + j, share(times(term_d, power), inverse, inverse_low), count, None)


@inline
def write_shares(terms, out, n, strip, last, magics, kept):
    """Write the terms, which may stand in `out`, divided by their sums."""
    slots, count = slots_of(kept.numbers, strip), strip.count
    head, whole = head_of_strip(kept.numbers, strip), whole_end(kept.numbers, strip)
    for c in range(chunks_of(n) - 1, -1, -1):
        of_chunk = rows_from(magics, c)
        settle(magics.data, of_chunk.start, strip, last, kept.numbers)
        keep_powers(kept, slots, of_chunk)
        first, rows = chunk_of(c, n)
        for p in range(strip.planes):
            slot = p * count
            for i in range(first, first + rows, 4):
                froms, places = four_rows(terms, p, i, first + rows), four_rows(out, p, i, first + rows)
                for j in range(head, whole, lanes(out.data)):
                    write_share(terms.data, froms, kept, slot + j, out.data, places, j, None)
                for k in range(2):
                    j, size = edge_of(kept.numbers, strip, k)
                    if size > 0:
                        write_share(terms.data, froms, kept, slot + j, out.data, places, j, size)


@inline
def write_quotient(x, froms, kept, slot, high, low, out, places, j, count):
    """Write a vector of each of four rows of e^x divided by their sums."""
    magic, floor = recall(kept, MAGIC, slot) + lift(kept.numbers) * nodes(kept.numbers), recall(kept, FLOOR, slot)
    inverse, inverse_low = recall(kept, FIRST, slot), recall(kept, SECOND, slot)
    from_a, from_b, from_c, from_d = froms
    v = join(
        load_columns(x, from_a + j, count),
        load_columns(x, from_b + j, count),
        load_columns(x, from_c + j, count),
        load_columns(x, from_d + j, count),
    )
    v = larger(join(floor, floor, floor, floor), v)
    e, _, _, _ = exponential(v, high, low, join(magic, magic, magic, magic))
    terms_a, terms_b, terms_c, terms_d = quarters(e)
    a, b, c, d = places
    store_columns(out, a + j, share(terms_a, inverse, inverse_low), count, None)
    store_columns(out, b + j, share(terms_b, inverse, inverse_low), count, None)
    store_columns(out, c + j, share(terms_c, inverse, inverse_low), count, None)
    store_columns(out, d + j, share(terms_d, inverse, inverse_low), count, None)


@inline
def write_quotients(x, out, n, strip, high, low, kept):
    """Write e^x divided by the sums."""
    high, low = splat_group(kept.numbers, high), splat_group(kept.numbers, low)
    count = strip.count
    head, whole = head_of_strip(kept.numbers, strip), whole_end(kept.numbers, strip)
    for p in range(strip.planes):
        slot = p * count
        for i in range((n - 1) // 4 * 4, -1, -4):
            froms, places = four_rows(x, p, i, n), four_rows(out, p, i, n)
            for j in range(head, whole, lanes(out.data)):
                write_quotient(x.data, froms, kept, slot + j, high, low, out.data, places, j, None)
            for k in range(2):
                j, size = edge_of(kept.numbers, strip, k)
                if size > 0:
                    write_quotient(x.data, froms, kept, slot + j, high, low, out.data, places, j, size)


@inline
def write_log_share(x, froms, kept, slot, out, places, j, count, scale, scale_low, lowest, past_caches):
    """Write a vector of each of four rows of elements over the temperature less the logarithms of their sums."""
    log, log_low = recall(kept, FIRST, slot), recall(kept, SECOND, slot)
    held, top = recall(kept, HELD, slot), recall(kept, TOP, slot)
    from_a, from_b, from_c, from_d = froms
    a, b, c, d = places
    value_a = log_share(load_columns(x, from_a + j, count), held, top, lowest, scale, scale_low, log, log_low)
    value_b = log_share(load_columns(x, from_b + j, count), held, top, lowest, scale, scale_low, log, log_low)
    value_c = log_share(load_columns(x, from_c + j, count), held, top, lowest, scale, scale_low, log, log_low)
    value_d = log_share(load_columns(x, from_d + j, count), held, top, lowest, scale, scale_low, log, log_low)
    store_columns(out, a + j, value_a, count, past_caches)
    store_columns(out, b + j, value_b, count, past_caches)
    store_columns(out, c + j, value_c, count, past_caches)
    store_columns(out, d + j, value_d, count, past_caches)


@inline
def subtract_logs(x, out, n, strip, temperature, kept, past_caches):
    """Write x over the temperature less the logarithms of the sums, past the caches if that is wanted (or None)."""
    numbers, count = kept.numbers, strip.count
    scale, scale_low = one_over(numbers, temperature)
    scale, scale_low, lowest = splat(numbers, scale), splat(numbers, scale_low), splat(numbers, lowest_of(numbers))
    head, whole = head_of_strip(numbers, strip), whole_end(numbers, strip)
    for p in range(strip.planes):
        slot = p * count
        for i in range((n - 1) // 4 * 4, -1, -4):
            froms, places = four_rows(x, p, i, n), four_rows(out, p, i, n)
            for j in range(head, whole, lanes(numbers)):
                write_log_share(
                    x.data, froms, kept, slot + j, out.data, places, j, None, scale, scale_low, lowest, past_caches
                )
            for k in range(2):
                j, size = edge_of(numbers, strip, k)
                if size > 0:
                    write_log_share(
                        x.data, froms, kept, slot + j, out.data, places, j, size, scale, scale_low, lowest, past_caches
                    )


# --- columns that the fast way cannot do ----------------------------------------------------------------------------


@inline
def count_odd(kept, strip, has_odd):
    """Return how many columns the fast way cannot do."""
    odd = 0
    for slot in range(strip.planes * strip.count if has_odd else 0):
        odd += math.isnan(kept.numbers[FIRST * kept.room + slot])
    return odd


@inline
def copy_odd_columns(x, n, strip, odd, kept, rows):
    """Copy them into rows.

    A pitch may be negative, and Numba takes a negative index for one from the end: so no x[i] here.
    """
    to = 0
    for slot in range(strip.planes * strip.count * min(odd, 1)):
        if math.isnan(kept.numbers[FIRST * kept.room + slot]):
            column = x.start + slot // strip.count * x.outer + slot % strip.count
            for i in range(n):
                copy_one(x.data, column + i * x.pitch, rows, to + i)
            to += n


@inline
def write_odd_columns(rows, out, n, strip, odd, kept):
    """Write their results, in rows, to their places."""
    row = 0
    for slot in range(strip.planes * strip.count * min(odd, 1)):
        if math.isnan(kept.numbers[FIRST * kept.room + slot]):
            column = out.start + slot // strip.count * out.outer + slot % strip.count
            for i in range(n):
                copy_one(rows, row + i, out.data, column + i * out.pitch)
            row += n
