"""Sums of columns whose elements a cache has the same few places for: four rows at a time, along the rows.

Down a chunk of rows (`column_sums.py`) a vector of such columns wants lines a multiple of 2048 bytes apart. They push
each other out, and a processor foresees nothing. Along the rows they are read in the order of memory, and what has been
summed stays in memory, too, in the nearest cache. To the last bit it is what the other way gives.
"""

import math

from fastsoftmax.jit import inline
from fastsoftmax.kernels.column_pivots import (
    FLOOR,
    LARGEST,
    MAGIC,
    PART,
    PART_LOST,
    PART_REST,
    SEEN,
    bias,
    keep,
    note_largest,
    raise_pivots,
    recall,
)
from fastsoftmax.kernels.exponential import factored_exponential
from fastsoftmax.kernels.pivot import add_group, sum_of_four, sum_of_products
from fastsoftmax.kernels.strips import column_of, load_rows, slots_of, store_rows
from fastsoftmax.simd import fma, lanes, larger, largest_of_four, prefetch_nearest, repeated, splat, splat_group


@inline
def sum_along_rows(source, slots, strip, last, rows, terms, kept, high, low):
    """Keep of each vector of columns what `column_sums.sum_down` returns; the terms are written to `terms`."""
    x = source.data
    high, low = splat_group(x, high), splat_group(x, low)
    for slot in range(0, slots, lanes(x)):
        keep(kept, PART, slot, splat(x, bias(x)))
        keep(kept, PART_LOST, slot, splat(x, 0.0))
        keep(kept, PART_REST, slot, splat(x, 0.0))
        keep(kept, SEEN, slot, splat(x, -math.inf))
    for i in range(0, rows, 4):
        at, to = source.start + i * source.pitch, terms.start + i * terms.pitch
        for slot in range(0, slots, lanes(x)):
            j = column_of(slot, strip, last)
            magic, floor = repeated(recall(kept, MAGIC, slot)), repeated(recall(kept, FLOOR, slot))
            v = load_rows(x, at + j, source.pitch, rows - i)
            for k in range(4, 8):
                prefetch_nearest(x, at + j + k * source.pitch)
            large, a, b, _ = factored_exponential(larger(floor, v), high, low, magic)
            store_rows(terms.data, to + j, terms.pitch, rows - i, fma(a, b, large))
            keep(kept, SEEN, slot, larger(largest_of_four(v), recall(kept, SEEN, slot)))
            total, lost_here = add_group(recall(kept, PART, slot), large)
            keep(kept, PART, slot, total)
            keep(kept, PART_LOST, slot, recall(kept, PART_LOST, slot) + sum_of_four(lost_here))
            keep(kept, PART_REST, slot, recall(kept, PART_REST, slot) + sum_of_products(a, b))


@inline
def sum_all_along_rows(source, rows, strip, last, is_first, terms, kept, high, low):
    """Keep the sums of a chunk of the columns of a strip; return whether pivots had to be raised.

    Then all are summed again: at most once, since what was seen is what the pivots are for.
    """
    x, slots, varies = kept.numbers, slots_of(kept.numbers, strip), False
    while True:
        sum_along_rows(source, slots, strip, last, rows, terms, kept, high, low)
        suits = True
        for slot in range(0, slots, lanes(x)):
            if note_largest(kept, slot, recall(kept, SEEN, slot)):
                varies, suits = True, False
        if suits:
            break
        for slot in range(0, slots, lanes(x)):
            raise_pivots(kept, slot, high, not is_first)
    for slot in range(0, slots, lanes(x)):
        keep(kept, LARGEST, slot, larger(recall(kept, SEEN, slot), recall(kept, LARGEST, slot)))
    return varies
