"""Sums of columns: with a guessed pivot, or with the right one.

Each vector of columns goes down a chunk of rows with its sums in registers, and its terms e^x · 2^-pivot may be kept.
Where a chunk turns out to have an element too large for its pivot (`column_pivots.py`), it is summed again. What has
been summed before is scaled by a power of two, which is exact. So results have the same bits however columns are read,
and whatever is beside them.

For log_softmax the largest element of each column is held out: an element that is larger takes its place, and what was
there is summed. So the logarithm of the sum can be had as that element plus log(1 + others), be they ever so small.

A sum starts from the *bias*, which is larger than any term, so that three operations give what an addition has rounded
off.
"""

import math

from fastsoftmax.jit import inline
from fastsoftmax.kernels.column_pivots import (
    FIRST,
    FLOOR,
    HELD,
    LARGEST,
    MAGIC,
    PART,
    PART_LOST,
    PART_REST,
    SECOND,
    SEEN,
    TOP,
    bias,
    clear,
    guess_largest,
    is_within,
    keep,
    keep_sums,
    look_for_largest,
    note_largest,
    raise_pivots,
    recall,
    recall_wide,
    sums_of,
)
from fastsoftmax.kernels.columns_along_rows import sum_all_along_rows
from fastsoftmax.kernels.exponential import add_exactly, add_smaller, factored_exponential
from fastsoftmax.kernels.pivot import add_group, hold_out, sum_of_four, sum_of_products
from fastsoftmax.kernels.strips import (
    bring,
    chunk_of,
    chunks_of,
    column_of,
    last_column,
    load_rows,
    part_of,
    rows_from,
    slots_of,
    store_rows,
)
from fastsoftmax.kernels.wanted_soon import chunk_after, fetch_four, line_of, soon_wanted
from fastsoftmax.simd import (
    WIDE,
    fma,
    in_a_line,
    join,
    lanes,
    larger,
    largest_of_four,
    load_wide,
    prefetch_nearest,
    select,
    splat,
    splat_group,
    store,
)


@inline
def sum_down(source, slot, j, rows, terms, holds, held, floor, magic, high, low, soon):
    """Return sums of a vector of columns: of terms plus the bias, of what was lost, of small parts; two elements.

    These are the largest that was summed, and what is held out.

    The terms are written to `terms` unless that is None. Unless `holds` is None, `held` is held out until there is a
    larger element. The matrices in `soon` are fetched meanwhile.
    """
    x = source.data
    group_magic, group_floor = join(magic, magic, magic, magic), join(floor, floor, floor, floor)
    high, low = splat_group(x, high), splat_group(x, low)
    total, largest = splat(x, bias(x)), splat(x, -math.inf)
    lost, rest = splat(x, 0.0), splat(x, 0.0)
    pitch = source.pitch
    x_soon, out_soon = soon
    number = slot // lanes(x) * rows
    x_line, x_left = line_of(x_soon, number)
    out_line, out_left = line_of(out_soon, number)
    at = source.start + j
    to, to_pitch = (0, 0) if terms is None else (terms.start + j, terms.pitch)
    for rest_of_rows in range(rows, 0, -4):
        x_line, x_left = fetch_four(x_soon, x_line, x_left)
        out_line, out_left = fetch_four(out_soon, out_line, out_left)
        v = load_rows(x, at, pitch, rest_of_rows)
        if lanes(x) == in_a_line(x):  # as a part of its own this is worth nothing: it is compiled to another order
            for k in range(4):
                prefetch_nearest(x, at + (k + 4) * pitch)
        if holds is not None:
            held, v = hold_out(held, v)
        large, a, b, _ = factored_exponential(larger(group_floor, v), high, low, group_magic)
        if terms is not None:
            store_rows(terms.data, to, to_pitch, rest_of_rows, fma(a, b, large))
        largest = larger(largest_of_four(v), largest)
        total, lost_here = add_group(total, large)
        lost = lost + sum_of_four(lost_here)
        rest = rest + sum_of_products(a, b)  # at once: one after the other, equal ones would be rounded the same way
        at += 4 * pitch
        to += 4 * to_pitch
    return total, lost, rest, largest, held


@inline
def add_parts(kept, slots):
    """Add the sums of a chunk, which began at the bias, to those of all chunks: each exactly."""
    for k in range(0, slots, WIDE):
        whole, whole_lost = sums_of(kept, k)
        whole, whole_lost = add_exactly(whole, whole_lost, recall_wide(kept, PART, k) - bias(kept.numbers))
        whole, whole_lost = add_exactly(whole, whole_lost, recall_wide(kept, PART_LOST, k))
        whole, whole_lost = add_exactly(whole, whole_lost, recall_wide(kept, PART_REST, k))
        keep_sums(kept, k, whole, whole_lost)


@inline
def sum_chunk(source, rows, strip, last, is_first, looks, terms, holds, kept, high, low, soon, along_rows=None):
    """Add the terms of a chunk, which are kept unless `terms` is None, to the sums of its columns.

    No vector begins behind the column `last`: the last one may overlap the one before. Unless `holds` is None, the
    largest element is held out. Returns whether columns vary much, or pivots had to be raised. Where that was so in the
    chunk before, `looks` has the largest elements looked for first, or much would be summed twice; in the first chunk
    the rows that the guess is made from tell.
    """
    x, slots = kept.numbers, slots_of(kept.numbers, strip)
    varies = is_first and guess_largest(source, rows, strip, last, holds, kept, high)
    looks = looks or varies
    if looks:
        look_for_largest(source, rows, strip, last, holds, kept)
    for slot in range(0, slots, lanes(x)):
        if looks:
            raise_pivots(kept, slot, high, not is_first)
            varies |= note_largest(kept, slot, recall(kept, SEEN, slot))
        raise_pivots(kept, slot, high, not is_first)
    if along_rows is not None:  # noqa: SIM102 - as one condition it would be compiled in any case
        if along_rows:
            varies |= sum_all_along_rows(source, rows, strip, last, is_first, terms, kept, high, low)
            add_parts(kept, slots)
            return varies
    for slot in range(0, slots, lanes(x)):
        while True:  # twice at most: the second time what was seen is what the pivots are for
            magic, floor, held = recall(kept, MAGIC, slot), recall(kept, FLOOR, slot), recall(kept, HELD, slot)
            total, lost, rest, seen, held = sum_down(
                source, slot, column_of(slot, strip, last), rows, terms, holds, held, floor, magic, high, low, soon
            )
            if not note_largest(kept, slot, seen):
                break
            varies = True
            raise_pivots(kept, slot, high, not is_first)
        keep(kept, LARGEST, slot, larger(seen, recall(kept, LARGEST, slot)))
        keep(kept, HELD, slot, held)
        keep(kept, PART, slot, total)
        keep(kept, PART_LOST, slot, lost)
        keep(kept, PART_REST, slot, rest)
    add_parts(kept, slots)
    return varies


@inline
def sum_strip(all_x, block, last, all_planes, n, inner, width, head, strip, tile, holds, kept, high, low, out):
    """Sum the columns of a strip, of which no terms are kept; return where its slots end, and its last vector begins.

    Unless `holds` is None, the largest elements are held out. Unless it is None, the matrix `out` is fetched meanwhile.
    """
    x = part_of(all_x, strip)
    slots, column = slots_of(kept.numbers, strip), last_column(x, strip)
    clear(kept, slots)
    varies = False
    for c in range(chunks_of(n)):
        i, rows = chunk_of(c, n)
        source = bring(rows_from(x, i), rows, strip, tile)
        x_soon = soon_wanted(chunk_after(all_x, block, c, last, all_planes, n, inner, width, head), strip, slots)
        soon = x_soon, None if out is None else soon_wanted(rows_from(out, i), strip, slots)
        varies = sum_chunk(source, rows, strip, column, c == 0, varies, None, holds, kept, high, low, soon)
    return slots, column


@inline
def sum_of(kept, j, high):
    """Return the sums of WIDE columns in two parts, NaN where there is a NaN or no pivot."""
    total, lost = sums_of(kept, j)
    return add_smaller(select(is_within(kept.numbers, recall_wide(kept, LARGEST, j), high), total, math.nan), lost)


@inline
def settle(array, place, strip, last, x):
    """Move to the places of their columns what is kept in slots: vectors may overlap the one before."""
    width, twice = lanes(x), strip.twice
    behind = slots_of(x, strip) - width - twice  # the column of the last slots, if its vector did not overlap another
    for k in range(width, behind + width if twice > 0 else 0, WIDE):
        store(array, place + k, load_wide(array, place + k + twice))
    if last < behind < strip.count:
        for k in range(behind, behind + width, WIDE):
            store(array, place + k, load_wide(array, place + k + (behind - last)))


@inline
def settle_all(kept, strip, last):
    """Settle what the second pass needs."""
    for what in (FIRST, SECOND, MAGIC, FLOOR, HELD, TOP):
        settle(kept.numbers, what * kept.room, strip, last, kept.numbers)
