"""Sums of folded columns: piece by piece, and united.

A column is some columns of the folded matrix, a *share* in each, and of each share there are some pieces. All are
summed with pivots of their own (`column_sums.py`), from a common guess. To unite them is to bring their sums to one
pivot, and to release what they hold out but for the largest of all.
"""

import math

from fastsoftmax.jit import inline
from fastsoftmax.kernels.column_pivots import (
    FIRST,
    FLOOR,
    HELD,
    HELD_OUT,
    LARGEST,
    LOST,
    MAGIC,
    PART,
    PART_LOST,
    PART_REST,
    SECOND,
    SEEN,
    TOP,
    TOTAL,
    clear,
    keep,
    keep_sums,
    look_for_largest,
    raise_pivots,
    recall,
    recall_wide,
    sums_of,
)
from fastsoftmax.kernels.column_results import keep_magics
from fastsoftmax.kernels.column_sums import settle, sum_chunk
from fastsoftmax.kernels.exponential import add_exactly, factored_exponential
from fastsoftmax.kernels.folds import kept_of, rows_of
from fastsoftmax.kernels.strips import CHUNK, bring, chunk_of, chunks_of, either, last_column, rows_from, slots_of
from fastsoftmax.kernels.wanted_soon import soon_wanted
from fastsoftmax.simd import WIDE, lanes, larger, load_first, select, splat, store

SAMPLED_CHUNKS = 4  # from which the pivots of all pieces are guessed, or each would lose time until it knows them


@inline
def bring_chunk(x, c, rows, rest, strip, tile):
    """Return where vectors of a chunk can be read, and its rows; behind those of all rows comes the rest, in one."""
    first, count = chunk_of(c, rows)
    if count > 0:
        return bring(rows_from(x, first), count, strip, tile), count
    for j in range(0, strip.count, lanes(tile.data)):
        left = min(lanes(tile.data), max(rest - j, 0))
        store(tile.data, tile.start + j, load_first(x.data, x.start + rows * x.pitch + j, left))
    return either(x, tile, False), 1


@inline
def settle_sums(kept, strip, last):
    """Settle what uniting needs."""
    for what in (LARGEST, HELD, MAGIC, FLOOR):
        settle(kept.numbers, what * kept.room, strip, last, kept.numbers)
    for what in (TOTAL, LOST):
        settle(kept.sums, what * kept.room, strip, last, kept.numbers)


@inline
def terms_of_chunk(terms, tile, c, rows, keeps):
    """Return where the terms of a chunk go, unless `terms` is None: what is not kept, as of the rest, no one reads."""
    if terms is None:
        return None
    return either(rows_from(terms, c * CHUNK), rows_from(tile, CHUNK), keeps and c < chunks_of(rows))


@inline
def column_in(slot, fold, last, width):
    """Return the column of a plane that a slot is for; the last vector may overlap the one before."""
    whole = fold.strip.count - fold.strip.count % width
    return (slot if slot < whole else min(slot, slot - whole + last)) % fold.plane.count


@inline
def guess_for_all(x, fold, tile, holds, all_kept):
    """Keep the largest elements in some chunks, or the largest beside what is held out: the pivots of all pieces.

    A single one has its own guess.
    """
    if fold.pieces == 1:
        return
    kept, columns = kept_of(all_kept, fold.pieces, fold), fold.plane.count
    numbers, room = kept.numbers, kept.room
    slots, last = slots_of(numbers, fold.strip), last_column(x, fold.strip)
    clear(kept, slots)
    for c in range(SAMPLED_CHUNKS):
        chunk = rows_from(x, c * chunks_of(fold.rows - CHUNK) // SAMPLED_CHUNKS * CHUNK)
        look_for_largest(bring(chunk, CHUNK, fold.strip, tile), CHUNK, fold.strip, last, holds, kept)
        for j in range(0, slots, lanes(numbers)):
            keep(kept, LARGEST, j, larger(recall(kept, SEEN, j), recall(kept, LARGEST, j)))
            if holds is not None:
                keep(kept, HELD, j, recall(kept, HELD_OUT, j))
    for j in range(columns):
        numbers[SEEN * room + j] = -math.inf
    used = slots if last < fold.strip.count else fold.strip.count  # where no vectors overlap, zeros fill the last one
    for j in range(used):
        column = SEEN * room + column_in(j, fold, last, lanes(numbers))
        numbers[column] = max(numbers[column], numbers[LARGEST * room + j])
    for j in range(used):
        numbers[LARGEST * room + j] = numbers[SEEN * room + column_in(j, fold, last, lanes(numbers))]


@inline
def sum_piece(piece, x, fold, tile, terms, keeps, out, magics, holds, all_kept, high, low):
    """Sum the columns of a piece of a folded matrix; `out` is fetched meanwhile.

    Unless `terms` is None, that is where terms of rows are kept if it `keeps` them, and `magics` where then the pivots
    of each chunk are.
    """
    begin, rows, rest = rows_of(piece, fold)
    x, kept, strip = rows_from(x, begin), kept_of(all_kept, piece, fold), fold.strip
    terms = None if terms is None else rows_from(terms, begin)
    out = None if out is None else rows_from(out, begin)
    slots, last, is_only = slots_of(kept.numbers, strip), last_column(x, strip), fold.pieces == 1
    clear(kept, slots)
    for j in range(0, 0 if is_only else slots, lanes(kept.numbers)):
        keep(kept, LARGEST, j, recall(kept_of(all_kept, fold.pieces, fold), LARGEST, j))
    varies = False
    for c in range(chunks_of(rows) + min(rest, 1)):
        source, count = bring_chunk(x, c, rows, rest, strip, tile)
        x_soon = soon_wanted(rows_from(x, (c + 1) * CHUNK), strip, slots)
        soon = x_soon, None if out is None else soon_wanted(rows_from(out, (c + 1) * CHUNK), strip, slots)
        terms_here = terms_of_chunk(terms, tile, c, rows, keeps)
        is_first = is_only and c == 0
        varies = sum_chunk(source, count, strip, last, is_first, varies, terms_here, holds, kept, high, low, soon)
        if terms is not None and keeps:
            keep_magics(kept, slots, rows_from(magics, begin // CHUNK + c))
    settle_sums(kept, strip, last)


@inline
def number_of(kept, what, j):
    """Return a number of one column."""
    return kept.numbers[what * kept.room + j]


@inline
def unite_largest(kept, columns, width, holds):
    """Give the shares of each column its largest element. Unless `holds` is None, only the largest of all is held out.

    What else was held out by a share is kept as HELD_OUT, -inf by the one that holds it still.
    """
    for j in range(columns):
        largest, holder = number_of(kept, LARGEST, j), j
        for k in range(j + columns, width, columns):
            largest = max(largest, number_of(kept, LARGEST, k))
            if holds is not None and number_of(kept, HELD, k) > number_of(kept, HELD, holder):
                holder = k
        held = number_of(kept, HELD, holder)
        for k in range(j, width, columns):
            if holds is not None:
                released = number_of(kept, HELD, k) if k != holder else -math.inf
                kept.numbers[HELD_OUT * kept.room + k] = released
                largest = max(largest, released)
        for k in range(j, width, columns):
            kept.numbers[LARGEST * kept.room + k] = largest
            kept.numbers[HELD * kept.room + k] = held


@inline
def add_released(kept, j, high, low):
    """Add the terms of what is not held out any more, of a vector of columns."""
    v = larger(recall(kept, FLOOR, j), recall(kept, HELD_OUT, j))
    large, a, b, _ = factored_exponential(v, splat(v, high), splat(v, low), recall(kept, MAGIC, j))
    keep(kept, PART, j, large)
    keep(kept, PART_LOST, j, a)
    keep(kept, PART_REST, j, b)
    for k in range(j, j + lanes(kept.numbers), WIDE):
        total, lost = add_exactly(*sums_of(kept, k), recall_wide(kept, PART, k))
        small = recall_wide(kept, PART_LOST, k) * recall_wide(kept, PART_REST, k)
        keep_sums(kept, k, *add_exactly(total, lost, small))


@inline
def unite(kept, columns, width, holds, high, low):
    """Give the shares of each column, which are `columns` apart, its sum, its pivot and its largest element."""
    unite_largest(kept, columns, width, holds)
    for j in range(0, width, lanes(kept.numbers)):
        raise_pivots(kept, j, high, True)
        if holds is not None:
            add_released(kept, j, high, low)
    totals, losts = TOTAL * kept.room, LOST * kept.room
    for j in range(columns):
        total, lost = 0.0, 0.0
        for k in range(j, width, columns):
            total, lost = add_exactly(total, lost + kept.sums[losts + k], kept.sums[totals + k])
        for k in range(j, width, columns):
            kept.sums[totals + k], kept.sums[losts + k] = total, lost


@inline
def release(kept, j, held, is_held):
    """Let a piece release what it holds out of a vector of columns, but where that is what `held` has and no one else.

    Returns who has it now, 1 for someone.
    """
    mine = recall(kept, HELD, j)
    is_mine = select(mine == held, 1.0 - is_held, is_held - is_held)
    keep(kept, HELD_OUT, j, select(is_mine == 1.0, -math.inf, mine))
    return is_held + is_mine


@inline
def unite_pieces(all_kept, fold, holds, high, low):
    """Give what is kept of the first piece what is kept of all, column by column, and unite the shares of each."""
    x = all_kept.numbers
    for j in range(0, fold.strip.count if fold.pieces > 1 else 0, lanes(x)):
        largest, held, is_held = splat(x, -math.inf), splat(x, -math.inf), splat(x, 0.0)
        for piece in range(fold.pieces):
            kept = kept_of(all_kept, piece, fold)
            largest, held = larger(recall(kept, LARGEST, j), largest), larger(recall(kept, HELD, j), held)
        for piece in range(fold.pieces if holds is not None else 0):
            kept = kept_of(all_kept, piece, fold)
            is_held = release(kept, j, held, is_held)
            largest = larger(recall(kept, HELD_OUT, j), largest)
        for piece in range(fold.pieces):
            kept = kept_of(all_kept, piece, fold)
            keep(kept, LARGEST, j, largest)
            raise_pivots(kept, j, high, True)
            if holds is not None:
                add_released(kept, j, high, low)
            for k in range(j, j + lanes(x) if piece > 0 else j, WIDE):
                total, lost = sums_of(all_kept, k)
                more, more_lost = sums_of(kept, k)
                keep_sums(all_kept, k, *add_exactly(total, lost + more_lost, more))
        keep(all_kept, HELD, j, held)
    unite(all_kept, fold.plane.count, fold.strip.count, holds, high, low)


@inline
def share_results(all_kept, piece, fold):
    """Return what is kept of a piece with the results that the first one has."""
    kept = kept_of(all_kept, piece, fold)
    if piece > 0:
        for what in (FIRST, SECOND, HELD, TOP, MAGIC, FLOOR):
            for j in range(0, fold.strip.count, lanes(kept.numbers)):
                keep(kept, what, j, recall(all_kept, what, j))
    return kept
