"""`auto` on tall matrices of few columns, which are folded: as many rows as make some vectors count as one row.

So all lanes of a vector have elements, be there ever so few columns, and none of them is copied. Each column is then
some columns of the folded matrix, a *share* in each: these are summed as any columns are, and united
(`folded_sums.py`). What is left of the last row comes as a chunk of its own, filled up with -inf.

Large matrices are cut into pieces of rows, which depend on the shape alone. Threads share these: then a kernel is
called stage by stage, to guess pivots, to sum pieces, to unite them, and to write.

Error bounds, in units in the last place: softmax 2, log_softmax 2, logsumexp 1 (one ulp of 1.0 near 0).
"""

from fastsoftmax.jit import kernel
from fastsoftmax.kernels.careful_rows import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX
from fastsoftmax.kernels.column_logs import keep_logs
from fastsoftmax.kernels.column_results import (
    count_odd,
    keep_inverses,
    subtract_logs,
    write_odd_columns,
    write_quotients,
    write_shares,
)
from fastsoftmax.kernels.columns import PARAMETERS, always_the_first, is_far, results_of_odd, write_logs_of_sums
from fastsoftmax.kernels.exponential import log2e_over
from fastsoftmax.kernels.folded_sums import guess_for_all, share_results, sum_piece, unite_pieces
from fastsoftmax.kernels.folds import (
    ALL,
    GUESS,
    SUM,
    UNITE,
    WRITE,
    folded,
    only_at,
    pieces_of,
    planes_of,
    room_for_folds,
    rows_of,
    unfolded,
)
from fastsoftmax.kernels.strips import CHUNK, Strip, can_be_read, last_column, rows_from, slots_of
from fastsoftmax.simd import (
    empty_like,
    flush_small,
    keep_alive,
    lanes,
    pointer_to,
    restore,
    to_aligned,
    wait_for_stores,
)


@kernel(*PARAMETERS, later=SOFTMAX)
def softmax_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch,
    first, last, stage, n, inner, width, notes, in_out, temperature, careful,
):  # fmt: skip
    """Write softmax of the planes first to last, as in `columns.py`, folded to rows of `width`.

    Terms are kept in `out` where that is possible and `in_out` is 1, or e^x is computed twice. Rows of the matrices lie
    behind one another, a multiple of them makes `width`; `x_pitch` and `out_pitch` do nothing.

    At another stage than ALL, it is done for the pieces first to last of the plane at `x_start`; `notes` is the address
    of room for what is kept. UNITE returns how many columns the fast way cannot do, and then the plane is to be done
    anew, at ALL.
    """
    high, low = log2e_over(x, temperature)
    fold, own_notes, tile_room, kept, magics, tile = room_for_folds(x, n, inner, width, notes, in_out, 2)
    slots, left = slots_of(kept.numbers, fold.strip), 0
    begin, end = pieces_of(stage, first, last, fold)
    for p in range(*planes_of(stage, first, last)):
        x_here = folded(pointer_to(x), x_start + p * x_outer, fold)
        out_here = folded(pointer_to(out), out_start + p * out_outer, fold)
        keeps = can_be_read(x_here, fold.strip) and in_out == 1
        soon = out_here if keeps and is_far(out, n * inner) else always_the_first(out_here)
        if stage & GUESS:
            guess_for_all(x_here, fold, tile, None, kept)
        for k in range(*only_at(SUM, stage, begin, end)):
            sum_piece(k, x_here, fold, tile, out_here, keeps, soon, magics, None, kept, high, low)
        of_x, has_odd, does_odd = unfolded(x_here, fold), False, stage == ALL
        if stage & UNITE:
            unite_pieces(kept, fold, None, high, low)
            has_odd = keep_inverses(kept, slots, high)
        odd, rows_of_odd, left_here = results_of_odd(
            careful, of_x, n, fold.plane, has_odd and does_odd, kept, temperature
        )
        left += left_here if does_odd else count_odd(kept, fold.plane, has_odd)
        mode = flush_small()
        from_piece, to_piece = only_at(WRITE, stage, begin, end)
        for k in range(to_piece - 1, from_piece - 1, -1):
            row, rows, rest = rows_of(k, fold)
            x_piece, out_piece, here = rows_from(x_here, row), rows_from(out_here, row), share_results(kept, k, fold)
            if keeps:
                column, of_piece = last_column(x_here, fold.strip), rows_from(magics, row // CHUNK)
                write_shares(out_piece, out_piece, rows, fold.strip, column, of_piece, here)
            for is_rest in range(keeps, 1 + min(rest, 1)):
                strip, count, behind = (Strip(0, 1, 0, rest, 0), 1, rows) if is_rest else (fold.strip, rows, 0)
                write_quotients(rows_from(x_piece, behind), rows_from(out_piece, behind), count, strip, high, low, here)
        restore(mode)
        write_odd_columns(rows_of_odd, unfolded(out_here, fold), n, fold.plane, odd, kept)
    keep_alive(own_notes)
    keep_alive(tile_room)
    return left


@kernel(*PARAMETERS, later=LOG_SOFTMAX)
def log_softmax_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch,
    first, last, stage, n, inner, width, notes, is_large, temperature, careful,
):  # fmt: skip
    """Write log_softmax of the planes first to last, folded as in `softmax_columns`.

    Past the caches if it `is_large`, but for the rest, where `out` is aligned and the width is one of whole vectors.
    """
    high, low = log2e_over(x, temperature)
    fold, own_notes, tile_room, kept, _, tile = room_for_folds(x, n, inner, width, notes, 0, 1)
    slots, left = slots_of(kept.numbers, fold.strip), 0
    begin, end = pieces_of(stage, first, last, fold)
    for p in range(*planes_of(stage, first, last)):
        x_here = folded(pointer_to(x), x_start + p * x_outer, fold)
        out_here = folded(pointer_to(out), out_start + p * out_outer, fold)
        past_caches = is_large == 1 and to_aligned(out_here.data, out_here.start) == 0 and width % lanes(x) == 0
        if stage & GUESS:
            guess_for_all(x_here, fold, tile, True, kept)
        for k in range(*only_at(SUM, stage, begin, end)):
            sum_piece(k, x_here, fold, tile, None, False, None, None, True, kept, high, low)
        of_x, has_odd, does_odd = unfolded(x_here, fold), False, stage == ALL
        if stage & UNITE:
            unite_pieces(kept, fold, True, high, low)
            has_odd = keep_logs(kept, slots, high, temperature)
        odd, rows_of_odd, left_here = results_of_odd(
            careful, of_x, n, fold.plane, has_odd and does_odd, kept, temperature
        )
        left += left_here if does_odd else count_odd(kept, fold.plane, has_odd)
        from_piece, to_piece = only_at(WRITE, stage, begin, end)
        for k in range(to_piece - 1, from_piece - 1, -1):
            row, rows, rest = rows_of(k, fold)
            x_piece, out_piece, here = rows_from(x_here, row), rows_from(out_here, row), share_results(kept, k, fold)
            for is_rest in range(1 + min(rest, 1)):
                strip, count, behind = (Strip(0, 1, 0, rest, 0), 1, rows) if is_rest else (fold.strip, rows, 0)
                of_x_here, of_out_here = rows_from(x_piece, behind), rows_from(out_piece, behind)
                subtract_logs(of_x_here, of_out_here, count, strip, temperature, here, past_caches and is_rest == 0)
        write_odd_columns(rows_of_odd, unfolded(out_here, fold), n, fold.plane, odd, kept)
    wait_for_stores()
    keep_alive(own_notes)
    keep_alive(tile_room)
    return left


@kernel(*PARAMETERS, later=LOGSUMEXP)
def logsumexp_columns(
    x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch,
    first, last, stage, n, inner, width, notes, in_out, temperature, careful,
):  # fmt: skip
    """Write logsumexp of the planes first to last to out[out_start + p * out_outer + column].

    At the stage UNITE the results are written, and what `careful` is wanted for and left undone is counted. There is
    nothing to write then. `in_out` and the temperature do nothing.
    """
    high, low = log2e_over(x, 1.0)
    fold, own_notes, tile_room, kept, _, tile = room_for_folds(x, n, inner, width, notes, 0, 1)
    row, left = empty_like(x, n if stage & UNITE else 0), 0
    begin, end = pieces_of(stage, first, last, fold)
    for p in range(*planes_of(stage, first, last)):
        x_here = folded(pointer_to(x), x_start + p * x_outer, fold)
        if stage & GUESS:
            guess_for_all(x_here, fold, tile, None, kept)
        for k in range(*only_at(SUM, stage, begin, end)):
            sum_piece(k, x_here, fold, tile, None, False, None, None, None, kept, high, low)
        if stage & UNITE:
            unite_pieces(kept, fold, None, high, low)
            of_x, to = unfolded(x_here, fold), out_start + p * out_outer
            left += write_logs_of_sums(careful, of_x, n, fold.plane, inner, kept, high, pointer_to(row), out, to, 0)
    keep_alive(row)
    keep_alive(own_notes)
    keep_alive(tile_room)
    return left
