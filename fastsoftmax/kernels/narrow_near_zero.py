"""logsumexp of narrow rows where it is near 0, so that the last place of the sum is not enough.

That takes longer by far, and where it happens it happens to some rows among others. So these are set aside, until there
are as many as a vector has lanes.
"""

from fastsoftmax.jit import inline
from fastsoftmax.kernels.careful import log_near_zero, plain_exponential, plain_exponential_of_single
from fastsoftmax.kernels.exponential import add_exactly, add_smaller
from fastsoftmax.kernels.pivot import add_four_exactly, sum_of_four
from fastsoftmax.simd import (
    GROUP,
    WIDE,
    choose,
    copy_one,
    count_set,
    join,
    lane_numbers,
    lanes,
    load,
    load_wide,
    packed,
    select,
    splat_wide,
    store,
    widened,
)


@inline
def logsumexp_of_waiting(x, aside, column, n):
    """Return logsumexp of WIDE rows that wait, in float64, so exactly that what cancels does not matter."""
    total, lost, pitch = splat_wide(0.0), splat_wide(0.0), 2 * lanes(x)
    in_groups = choose(x, 0, n - n % GROUP)
    for j in range(0, in_groups, GROUP):
        a, b = load_wide(aside, column + pitch * j), load_wide(aside, column + pitch * (j + 1))
        c, d = load_wide(aside, column + pitch * (j + 2)), load_wide(aside, column + pitch * (j + 3))
        e, e_low = plain_exponential(join(a, b, c, d))
        total, lost = add_four_exactly(total, lost + sum_of_four(e_low), e)
    for j in range(in_groups, n):
        v = load_wide(aside, column + pitch * j)
        if choose(x, 1, 0):
            total = total + plain_exponential_of_single(v)
        else:
            e, e_low = plain_exponential(v)
            total, lost = add_exactly(total, lost + e_low, e)
    return log_near_zero(x, *add_smaller(total, lost))


@inline
def set_aside(x, is_wanted, tile, n, first, rows, aside, numbers, waiting):
    """Put those rows of a tile that are wanted behind the others that wait; return how many wait now.

    The tile has `rows` rows, with the numbers from `first` on. Fewer than a vector has lanes may wait before: `aside`
    is room for two tiles beside each other, and `numbers` for those of their rows.
    """
    width, lane = lanes(x), lane_numbers(x)
    for j in range(n):
        store(aside, 2 * width * j + waiting, packed(is_wanted, load(tile, width * j)))
    store(numbers, waiting, widened(packed(is_wanted, lane)) + float(first))
    return waiting + count_set(select(is_wanted, lane, float(rows)) < float(rows))


@inline
def place_of(number, inner, outer):
    """Return where the number stands of an array of rows of `inner` elements, `outer` apart."""
    return number // inner * outer + number % inner


@inline
def write_near_zero(x, aside, n, numbers, waiting, results, out, start, inner, outer):
    """Write the results of rows that were set aside, a vector's width at most; return how many are left.

    They go to `out`, from out[start] on, in rows of `inner`, `outer` apart.
    """
    width = lanes(x)
    for column in range(0, width, WIDE):
        store(results, column, logsumexp_of_waiting(x, aside, column, n))
    for k in range(min(waiting, width)):
        copy_one(results, k, out, start + place_of(int(numbers[k]), inner, outer))
    if waiting > width:
        for j in range(n):
            store(aside, 2 * width * j, load(aside, 2 * width * j + width))
        for k in range(0, width, WIDE):
            store(numbers, k, load_wide(numbers, width + k))
    return max(waiting - width, 0)
