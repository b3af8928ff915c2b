"""Vectors for Numba: a SIMD type, so that a kernel says what each lane does.

LLVM vectorises plain loops when its heuristics like them. A kernel whose arithmetic must keep its order (error-free
sums, rounding by magic numbers) and whose speed is the point cannot leave that to luck. `load` gives a `Vector` of
64 bytes with AVX-512, else of 32: `WIDE` lanes of float64 or twice as many of float32. ``+ - * <`` and the functions
below work on it lane by lane, a scalar operand being repeated. LLVM maps a vector to whatever registers the machine has
(a 256-bit one or two 128-bit ones). Only `lookup_table` and `packed` know instruction sets, and processors whose
vectors have one width compute the same bits. `load_group` gives a vector of four times the lanes: LLVM splits it, and
so works on four vectors in turn, as a processor needs that waits four cycles for each result.

Arrays of float16 and bfloat16, which Numba does not know, come as their bits in ``uint16`` and ``int16`` arrays; they
are widened to float32 on `load` and rounded on `store`.

Indices are element offsets and are not checked.
"""

from fastsoftmax.simd.across import (
    alternate,
    any_set,
    count_set,
    join,
    keep_first,
    keep_last,
    largest,
    largest_of_four,
    packed,
    quarters,
    repeated,
    sum_lanes,
)
from fastsoftmax.simd.anew import anew
from fastsoftmax.simd.arithmetic import absolute, fma, larger, narrowed, select, smaller, widened
from fastsoftmax.simd.bits import (
    NODE_SHIFT,
    NODES,
    add_node,
    all_in_range,
    ldexp_small,
    note_steps,
    shift_exponent,
    split_at_node,
    split_exponent,
)
from fastsoftmax.simd.blocks import load_columns, load_two_columns, store_columns
from fastsoftmax.simd.constants import choose, constant, lane_numbers, lanes, rounded, splat, splat_group, splat_wide
from fastsoftmax.simd.flush import FLUSHES, flush_small, restore
from fastsoftmax.simd.memory import (
    WRITES_WHOLE_LINES,
    address_of,
    copy_one,
    in_a_line,
    keep_alive,
    load,
    load_first,
    load_first_wide,
    load_group,
    load_group_wide,
    load_two,
    load_wide,
    numbers_at,
    pointer_behind,
    pointer_to,
    prefetch,
    prefetch_nearest,
    prefetch_to_write,
    scratch,
    scratch_wide,
    store,
    store_first,
    store_one,
    to_aligned,
    wide_at,
)
from fastsoftmax.simd.past_caches import store_past_caches, wait_for_stores
from fastsoftmax.simd.polynomial import polynomial
from fastsoftmax.simd.room import empty, empty_like, empty_wide, is_native, terms_in
from fastsoftmax.simd.table import lookup_table
from fastsoftmax.simd.vector import GROUP, READS_FLOAT16, WIDE, Vector, vector_of

__all__ = [
    "FLUSHES",
    "GROUP",
    "NODES",
    "NODE_SHIFT",
    "READS_FLOAT16",
    "WIDE",
    "WRITES_WHOLE_LINES",
    "Vector",
    "absolute",
    "add_node",
    "address_of",
    "all_in_range",
    "alternate",
    "anew",
    "any_set",
    "choose",
    "constant",
    "copy_one",
    "count_set",
    "empty",
    "empty_like",
    "empty_wide",
    "flush_small",
    "fma",
    "in_a_line",
    "is_native",
    "join",
    "keep_alive",
    "keep_first",
    "keep_last",
    "lane_numbers",
    "lanes",
    "larger",
    "largest",
    "largest_of_four",
    "ldexp_small",
    "load",
    "load_columns",
    "load_first",
    "load_first_wide",
    "load_group",
    "load_group_wide",
    "load_two",
    "load_two_columns",
    "load_wide",
    "lookup_table",
    "narrowed",
    "note_steps",
    "numbers_at",
    "packed",
    "pointer_behind",
    "pointer_to",
    "polynomial",
    "prefetch",
    "prefetch_nearest",
    "prefetch_to_write",
    "quarters",
    "repeated",
    "restore",
    "rounded",
    "scratch",
    "scratch_wide",
    "select",
    "shift_exponent",
    "smaller",
    "splat",
    "splat_group",
    "splat_wide",
    "split_at_node",
    "split_exponent",
    "store",
    "store_columns",
    "store_first",
    "store_one",
    "store_past_caches",
    "sum_lanes",
    "terms_in",
    "to_aligned",
    "vector_of",
    "wait_for_stores",
    "wide_at",
    "widened",
]
